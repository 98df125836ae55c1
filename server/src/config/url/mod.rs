//! The URL of a database: the engine that it names, and its form without secrets.

mod postgres;
mod sqlite;
mod text;

use std::fmt;

pub use bookstore_migration::revision::Engine;

pub(super) use self::postgres::SSL_MODES;
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
    encryption: Vec<NodeEncryption>,
}

/// How the connections to a node are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEncryption {
    /// The node's address.
    pub node: String,
    /// The `sslmode` of its connections (PostgreSQL, 34.19. SSL Support).
    pub ssl_mode: &'static str,
    /// What is warned about at the start: the mode is weaker than `database_tls`.
    pub warning: Option<String>,
}

impl DatabaseUrl {
    /// Takes `sqlite:...`, `postgres://...` and `postgresql://...`.
    ///
    /// # Errors
    /// A sentence without secrets: another engine, or a URL of PostgreSQL that is ambiguous, so
    /// that a password could appear in the log.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, None)
    }

    /// The same. `tls` is the `sslmode` of a URL that has none; without one it is `verify-full`,
    /// and `prefer` for a node on this machine.
    ///
    /// # Errors
    /// Those of [`DatabaseUrl::parse`].
    pub fn parse_with(text: &str, tls: Option<&'static str>) -> Result<Self, String> {
        let engine = if text.starts_with("sqlite:") {
            Engine::Sqlite
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Engine::Postgres
        } else {
            let scheme = text.split(':').next().unwrap_or_default();
            if let Some(hint) = driver_hint(scheme) {
                return Err(hint);
            }
            // Without the driver, which URLs of SQLAlchemy name behind the engine.
            let engine = split(scheme, '+').0;
            let other = OTHERS.into_iter().find(|other| *other == engine);
            let other = other.map(|other| format!("{other} is not supported, the URL "));
            return Err(format!("{}{FORMS}", other.unwrap_or_default()));
        };
        if text.chars().any(|character| character.is_control() || character == ' ') {
            return Err("must not contain spaces or control characters".to_owned());
        }
        let mut encryption = Vec::new();
        let nodes = match engine {
            Engine::Postgres => {
                let nodes = postgres::read(text, tls)?;
                encryption.extend(nodes.iter().map(NodeEncryption::of));
                nodes.into_iter().map(|node| (node.name, node.url)).collect()
            }
            Engine::Sqlite => {
                sqlite::check(text)?;
                let file = split(text, '?').0;
                let file = file.trim_start_matches("sqlite:").trim_start_matches("//");
                vec![(file.to_owned(), text.to_owned())]
            }
        };
        Ok(Self { text: text.to_owned(), engine, nodes, encryption })
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
    pub fn parse_replicas(text: &str, tls: Option<&'static str>) -> Result<Vec<Self>, String> {
        // A comma may also separate the hosts of one URL.
        let spaced = text.replace(",postgres://", " postgres://");
        let spaced = spaced.replace(",postgresql://", " postgresql://");
        let urls = spaced.split_whitespace().map(|text| {
            let url = Self::parse_with(text, tls)?;
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

    /// How the connections to each node are encrypted; empty on SQLite.
    #[must_use]
    pub fn encryption(&self) -> &[NodeEncryption] {
        &self.encryption
    }

    /// The whole URL, secrets included.
    #[cfg(test)]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// What to write in place of a scheme of SQLAlchemy that names a driver, such as
/// `postgresql+asyncpg`.
fn driver_hint(scheme: &str) -> Option<String> {
    let (engine, driver) = scheme.split_once('+')?;
    // Only known names are repeated: the rest may be a part of a password.
    let (url, drivers, relative) = match engine {
        "postgresql" | "postgres" => ("postgresql://", &POSTGRES_DRIVERS[..], ""),
        "sqlite" => (
            "sqlite://",
            &SQLITE_DRIVERS[..],
            ", and two slashes stand before a relative path: sqlite://bookstore.db?mode=rwc",
        ),
        _ => return None,
    };
    let driver = drivers.iter().find(|known| **known == driver);
    let part = driver.map_or_else(|| "the driver".to_owned(), |driver| format!("+{driver}"));
    Some(format!("must leave out {part}: the URL begins with {url}{relative}"))
}

/// The drivers of PostgreSQL and of SQLite in URLs of SQLAlchemy.
const POSTGRES_DRIVERS: [&str; 6] =
    ["asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async"];
const SQLITE_DRIVERS: [&str; 4] = ["aiosqlite", "pysqlcipher", "pysqlite", "pysqlite_numeric"];

impl NodeEncryption {
    fn of(node: &postgres::UrlNode) -> Self {
        let postgres::UrlNode { name, ssl_mode, expected, .. } = node;
        let rank = |mode: &str| postgres::SSL_MODES.iter().position(|known| *known == mode);
        // A socket has no TLS and needs none.
        let is_weak = !name.starts_with('/') && rank(ssl_mode) < rank(expected);
        let warning = is_weak.then(|| {
            let lack = match *ssl_mode {
                "disable" => "nothing is encrypted",
                "prefer" => {
                    "the server's certificate is not verified, and a server without TLS \
                             is taken"
                }
                "require" => "the server's certificate is not verified",
                _ => "the host in the server's certificate is not verified",
            };
            format!("connections to {name} have sslmode={ssl_mode}, not {expected}: {lack}")
        });
        Self { node: name.clone(), ssl_mode, warning }
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
