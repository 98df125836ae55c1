//! The URL of a database: the engine that it names, and its form without secrets.

mod postgres;
mod sqlite;
mod text;

use std::fmt;

pub use bookstore_migration::revision::Engine;

use self::text::split;

const FORMS: &str = "must begin with sqlite:, postgres:// or postgresql://";

/// The text shown instead of a secret.
pub(super) const HIDDEN: &str = "***";

/// Other engines, named in the refusal. Nothing else of the URL is repeated, since what looks like
/// a scheme can be part of a password.
const OTHERS: [&str; 7] =
    ["mysql", "mariadb", "mssql", "sqlserver", "oracle", "mongodb", "cockroachdb"];

/// Parameters that hold no secret; the values of all others are hidden.
const OPEN: [&str; 15] = [
    "application_name",
    "cache",
    "dbname",
    "host",
    "hostaddr",
    "mode",
    "options",
    "port",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Where the database is. `Debug` and `Display` hide the password and every
/// parameter that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    engine: Engine,
    nodes: Vec<(String, String)>,
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
        let nodes = match engine {
            Engine::Postgres => postgres::read(text)?,
            Engine::Sqlite => {
                sqlite::check(text)?;
                let file = split(text, '?').0;
                let file = file.trim_start_matches("sqlite:").trim_start_matches("//");
                vec![(file.to_owned(), text.to_owned())]
            }
        };
        Ok(Self { text: text.to_owned(), engine, nodes })
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

    /// The nodes that the URL names, each with its address and a URL of its own for the driver:
    /// PostgreSQL takes several hosts (PostgreSQL, 34.1.1.3. Specifying Multiple Hosts).
    #[must_use]
    pub fn nodes(&self) -> &[(String, String)] {
        &self.nodes
    }

    /// The whole URL, secrets included.
    #[cfg(test)]
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

#[cfg(test)]
mod tests;
