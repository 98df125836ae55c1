//! The settings of the program: read from the file, the environment and the
//! flags, checked all together, typed.

mod database;
mod dot_env;
mod flags;
mod layers;
mod log;
mod names;
mod passwords;
mod security;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod transactions;
mod url;
mod values;

use std::{
    fmt::{self, Write},
    path::Path,
};

pub use self::{
    database::{Database, ReadDefault},
    dot_env::{DOT_ENV, DotEnvLine, lines as dot_env_lines},
    flags::SettingFlags,
    log::{Log, LogFormat, level as log_level},
    passwords::Passwords,
    security::{ClientCertificates, Security, TlsFiles},
    server::{Address, Server},
    settings::{SETTINGS, Setting},
    transactions::Transactions,
    url::{DatabaseUrl, Engine, NodeEncryption},
    values::duration,
};
use self::{
    settings::{DATABASE_MIGRATE, DATABASE_REPLICA_URLS, DATABASE_URL},
    values::SettingValues,
};

/// All settings in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database and its connections.
    pub database: Database,
    /// Transactions and their keys.
    pub transactions: Transactions,
    /// How passwords are hashed.
    pub passwords: Passwords,
    /// The port and its end.
    pub server: Server,
    /// Who may call, and how that is proven.
    pub security: Security,
    /// The log.
    pub log: Log,
    /// Variables of the environment that resemble a setting and are none. They are logged once the
    /// log has started.
    pub warnings: Vec<String>,
    origins: Vec<InForce>,
}

/// One setting as `bookstore config` shows it.
#[derive(Clone, Debug)]
struct InForce {
    setting: &'static Setting,
    text: String,
    origin: String,
}

/// Everything that is wrong with what was given, a line each: the key, where it
/// came from and what it must be. Values of secret settings are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The lines.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problems.join("\n"))
    }
}

impl Config {
    /// Merges the settings: a flag overrides the environment, that overrides the file (`--config`
    /// or `BOOKSTORE_CONFIG`), and that overrides the default. If none of them gives the database's
    /// URL, DATABASE_URL in the file `.env` of the working directory counts.
    ///
    /// # Errors
    /// Everything that is wrong, together: an unreadable file, unknown keys,
    /// settings that this version doesn't have, and wrong values.
    pub fn load(
        flags: &SettingFlags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::load_in(Path::new(""), flags, environment)
    }

    /// The same with the file `.env` of another folder.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_in(
        folder: &Path,
        flags: &SettingFlags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = layers::collect(flags, environment, folder);
        let mut warnings = std::mem::take(&mut layers.warnings);
        let mut values = SettingValues::new(layers);
        let database = Database::read(&mut values);
        let transactions = Transactions::read(&mut values);
        let passwords = Passwords::read(&mut values);
        let server = Server::read(&mut values);
        let security = Security::read(&mut values, server.as_ref());
        let log = Log::read(&mut values);
        let (
            Some(database),
            Some(transactions),
            Some(passwords),
            Some(server),
            Some(security),
            Some(log),
            [],
        ) = (database, transactions, passwords, server, security, log, values.problems.as_slice())
        else {
            return Err(ConfigError { problems: values.problems });
        };
        warnings.extend(database.encryption().filter_map(|node| node.warning.clone()));
        let in_force = |given: layers::Given| InForce {
            text: match given.setting.key {
                // Its `Display` hides the secret parts.
                key if key == DATABASE_URL.key => database.url.to_string(),
                key if key == DATABASE_REPLICA_URLS.key => {
                    let urls = database.replica_urls.iter().map(ToString::to_string);
                    urls.collect::<Vec<_>>().join(" ")
                }
                // An empty one is none.
                _ if given.text.is_empty() => given.text,
                key if key == DATABASE_MIGRATE.key => database.migrate.to_string(),
                _ if given.setting.secret => url::HIDDEN.to_owned(),
                _ => given.text,
            },
            setting: given.setting,
            origin: given.origin.to_string(),
        };
        let origins = values.given.into_iter().map(in_force).collect();
        Ok(Self { database, transactions, passwords, server, security, log, warnings, origins })
    }

    /// The settings in force in the form of a file: each with its description and the origin of its
    /// value. Secrets are hidden.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for InForce { setting, text: value, origin } in &self.origins {
            let number = value.parse::<u64>().is_ok_and(|number| number.to_string() == *value);
            let bare = number || value == "true" || value == "false";
            // JSON's escapes are TOML's as well.
            let quoted = || serde_json::Value::from(value.as_str()).to_string();
            let value = if bare { value.clone() } else { quoted() };
            let key = setting.key;
            // Writing to a string can't fail.
            let _ = writeln!(text, "# {}\n# From {origin}.\n{key} = {value}\n", setting.doc);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// The environment of this process, for [`Config::load`]; nothing else reads it. Invalid Unicode
/// gets replacement characters, which the checks refuse.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, text)| {
        (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned())
    })
}
