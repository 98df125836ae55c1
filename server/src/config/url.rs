//! The URL of a database: the engine that it names, and its form without secrets.

use std::fmt;

pub use bookstore_migration::revision::Engine;

const FORMS: &str = "must begin with sqlite:, postgres:// or postgresql://";

/// The text shown instead of a secret.
pub(super) const HIDDEN: &str = "***";

/// Other engines, named in the refusal. Nothing else of the URL is repeated, since what looks like
/// a scheme can be part of a password.
const OTHERS: [&str; 7] =
    ["mysql", "mariadb", "mssql", "sqlserver", "oracle", "mongodb", "cockroachdb"];

/// Parameters that hold no secret; the values of all others are hidden.
const OPEN: [&str; 17] = [
    "application_name",
    "cache",
    "dbname",
    "host",
    "hostaddr",
    "immutable",
    "mode",
    "options",
    "port",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The parameters of PostgreSQL URLs that may be secrets.
const HIDDEN_PARAMETERS: [&str; 1] = ["password"];

/// Where the database is. `Debug` and `Display` hide the password and every
/// parameter that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    engine: Engine,
}

impl DatabaseUrl {
    /// Takes `sqlite:...`, `postgres://...` and `postgresql://...`.
    ///
    /// # Errors
    /// A sentence without secrets: another engine, or a URL of PostgreSQL that is ambiguous, so
    /// that a password could appear in the log.
    pub fn parse(text: &str) -> Result<Self, String> {
        let engine = if text.starts_with("sqlite:") {
            Engine::Sqlite
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Engine::Postgres
        } else {
            let scheme = text.split(':').next().unwrap_or_default();
            let other = OTHERS.into_iter().find(|other| *other == scheme);
            let other = other.map(|other| format!("{other} is not supported, the URL "));
            return Err(format!("{}{FORMS}", other.unwrap_or_default()));
        };
        if text.chars().any(|character| character.is_control() || character == ' ') {
            return Err("must not contain spaces or control characters".to_owned());
        }
        match engine {
            Engine::Postgres => {
                check_postgres(text)?;
                check_parameters(text)?;
            }
            Engine::Sqlite => check_sqlite(text)?,
        }
        Ok(Self { text: text.to_owned(), engine })
    }

    /// The engine that the URL names.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The same for `database_replica_urls`: any number of URLs of PostgreSQL with spaces between
    /// them, or commas where the next one begins.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn parse_replicas(text: &str) -> Result<Vec<Self>, String> {
        // A comma may also separate the hosts of one URL.
        let spaced = text.replace(",postgres://", " postgres://");
        let spaced = spaced.replace(",postgresql://", " postgresql://");
        let urls = spaced.split_whitespace().map(|text| {
            let url = Self::parse(text)?;
            match url.engine {
                Engine::Postgres => Ok(url),
                Engine::Sqlite => Err("must begin with postgres:// or postgresql://".to_owned()),
            }
        });
        urls.collect()
    }

    /// The nodes that the URL names, each with its name and a URL of its own: PostgreSQL takes
    /// several hosts with commas between them (PostgreSQL, 34.1.1.3. Specifying Multiple Hosts).
    #[must_use]
    pub fn nodes(&self) -> Vec<(String, String)> {
        let (place, parameters) = split(&self.text, '?');
        let (Engine::Postgres, Some((scheme, rest))) = (self.engine, place.split_once("://"))
        else {
            let file = place.trim_start_matches("sqlite:").trim_start_matches("//");
            return vec![(file.to_owned(), self.text.clone())];
        };
        let (authority, path) = split(rest, '/');
        let (person, hosts) = match authority.rsplit_once('@') {
            Some((person, hosts)) => (format!("{person}@"), hosts),
            None => (String::new(), authority),
        };
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        let parameters = parameters.map(|all| format!("?{all}")).unwrap_or_default();
        let node = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let name = match host {
                "" => "local".to_owned(),
                host if has_port => host.to_owned(),
                host => format!("{host}:5432"),
            };
            (name, format!("{scheme}://{person}{host}{path}{parameters}"))
        };
        hosts.split(',').map(node).collect()
    }

    /// The whole URL, secrets included: for connecting, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, parameters) = split(&self.text, '?');
        match (self.engine, place.split_once("://")) {
            (Engine::Postgres, Some((scheme, rest))) => {
                write!(formatter, "{scheme}://")?;
                let (person, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                match person.split_once(':') {
                    Some((user, _)) => write!(formatter, "{user}:{HIDDEN}@")?,
                    None if rest.contains('@') => write!(formatter, "{person}@")?,
                    None => {}
                }
                write!(formatter, "{host}")?;
            }
            _ => write!(formatter, "{place}")?,
        }
        for (index, parameter) in parameters.iter().flat_map(|all| all.split('&')).enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            match parameter.split_once('=') {
                Some((name, _)) if OPEN.contains(&name) => write!(formatter, "{mark}{parameter}")?,
                Some((name, _)) => write!(formatter, "{mark}{name}={HIDDEN}")?,
                None => write!(formatter, "{mark}{HIDDEN}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

/// Refuses parameters that are unknown to the driver: it would log them with their values.
fn check_parameters(text: &str) -> Result<(), String> {
    let (_, parameters) = split(text, '?');
    for parameter in parameters.iter().flat_map(|all| all.split('&')) {
        let name = parameter.split('=').next().unwrap_or_default();
        let known = OPEN.contains(&name) || HIDDEN_PARAMETERS.contains(&name);
        if !known && !name.starts_with("options[") {
            // Not repeated: it may be the end of a password.
            let (open, hidden) = (OPEN.join(", "), HIDDEN_PARAMETERS.join(", "));
            return Err(format!("has a parameter that isn't known; there are {open}, {hidden}"));
        }
    }
    Ok(())
}

/// Refuses databases that the service can't use: in memory, or not writable.
fn check_sqlite(text: &str) -> Result<(), String> {
    if text.contains(":memory:") || text.contains("mode=memory") {
        return Err("must name a file: a database in memory has one connection only".to_owned());
    }
    if text.contains("mode=ro") || text.contains("immutable=") {
        return Err("must be open for writing: mode=rw, or mode=rwc to create the file".to_owned());
    }
    Ok(())
}

/// Refuses URLs that may hold a password with an unescaped `/`, `?`, `#` or `@`.
fn check_postgres(text: &str) -> Result<(), String> {
    let escape = "a user or password with special characters must be percent-encoded";
    let (place, parameters) = split(text, '?');
    let rest = place.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = split(rest, '/');
    let (person, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = |host: &str| match host.rsplit_once(':') {
        // In `[::1]` the last colon belongs to the address.
        Some((_, port)) if !port.ends_with(']') => port.to_owned(),
        _ => String::new(),
    };
    let unclear = text.contains('#')
        || person.contains('@')
        || path.is_some_and(|path| path.contains('@'))
        || parameters.is_some_and(|all| all.contains('@'))
        || !host.split(',').all(|host| port(host).bytes().all(|byte| byte.is_ascii_digit()));
    if unclear {
        return Err(format!("can't be read for certain: {escape}, the port a number"));
    }
    Ok(())
}

/// The text before the first `mark` and the text after it.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_secret() {
        let table = [
            ("sqlite://bookstore.db?mode=rwc", "sqlite://bookstore.db?mode=rwc"),
            ("sqlite://a@b.db?key=s3cret", "sqlite://a@b.db?key=***"),
            ("postgres://host/db", "postgres://host/db"),
            ("postgres://app@host:5432/db", "postgres://app@host:5432/db"),
            ("postgres://app:s3cret@host:5432/db", "postgres://app:***@host:5432/db"),
            ("postgresql://app:s3c:ret@[::1]/db", "postgresql://app:***@[::1]/db"),
            ("postgres://:s3cret@host", "postgres://:***@host"),
            (
                "postgres:///db?host=/run/pg&password=s3cret&sslmode=require",
                "postgres:///db?host=/run/pg&password=***&sslmode=require",
            ),
        ];
        for (given, shown) in table {
            let url = DatabaseUrl::parse(given).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
            assert_eq!(url.expose(), given);
        }
        assert_eq!(DatabaseUrl::parse("sqlite:x").unwrap().engine(), Engine::Sqlite);
        assert_eq!(DatabaseUrl::parse("postgresql://h").unwrap().engine(), Engine::Postgres);
    }

    #[test]
    fn a_url_of_several_hosts_names_a_node_each() {
        let nodes = |text: &str| DatabaseUrl::parse(text).unwrap().nodes();
        let own = |name: &str, url: &str| (name.to_owned(), url.to_owned());
        assert_eq!(
            nodes("postgres://app:s@a:1,b,[::1]:3/db?sslmode=require"),
            [
                own("a:1", "postgres://app:s@a:1/db?sslmode=require"),
                own("b:5432", "postgres://app:s@b/db?sslmode=require"),
                own("[::1]:3", "postgres://app:s@[::1]:3/db?sslmode=require"),
            ]
        );
        assert_eq!(nodes("postgres://h"), [own("h:5432", "postgres://h")]);
        assert_eq!(nodes("sqlite://b.db?mode=rwc"), [own("b.db", "sqlite://b.db?mode=rwc")]);
        let replicas =
            DatabaseUrl::parse_replicas("postgres://a,b/db postgres://c/db,postgres://d");
        assert_eq!(replicas.unwrap().len(), 3);
        assert!(DatabaseUrl::parse_replicas("sqlite:x").is_err());
        assert_eq!(DatabaseUrl::parse_replicas("").unwrap(), []);
    }

    #[test]
    fn a_refusal_repeats_no_secret() {
        for (given, part) in [
            ("mysql://app:s3cret@host/db", "mysql is not supported"),
            ("s3cret://host", FORMS),
            ("", FORMS),
            ("SQLITE:x", FORMS),
            ("postgres://app:s3c/ret@host/db", "percent-encoded"),
            ("postgres://app:12/s3cret@host/db", "percent-encoded"),
            ("postgres://app:12?s3cret@host/db", "percent-encoded"),
            ("postgres://app:s3c#ret@host/db", "percent-encoded"),
            ("postgres://app:s3@cret@host/db", "percent-encoded"),
            ("postgres://host:port/db", "the port a number"),
            ("postgres://host/db?sslpasswd=s3cret", "parameter that isn't known"),
            ("postgres://host/db?p%61ssword=s3cret", "parameter that isn't known"),
            ("postgres://host/db?s3cret", "parameter that isn't known"),
            ("sqlite::memory:", "must name a file"),
            ("sqlite://x.db?mode=ro", "open for writing"),
            ("postgres://app:s3cret@host/db\n", "control"),
        ] {
            let problem = DatabaseUrl::parse(given).unwrap_err();
            assert!(problem.contains(part), "{given}: {problem}");
            assert!(!problem.contains("s3") && !problem.contains("ret@"), "{problem}");
        }
    }
}
