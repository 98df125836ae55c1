//! The settings as command-line flags, made from the table.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::settings::{DATABASE_URL, Meaning, NAMES, Name};

const CONFIG: &str = "config";

/// The settings that were given as flags: `#[command(flatten)]` it at the root of the command line.
/// The flags are global, so they may also stand after a subcommand. [`super::Config::load`] checks
/// them.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags {
    pub(super) file: Option<PathBuf>,
    pub(super) given: Vec<(&'static Name, String)>,
}

impl SettingFlags {
    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.given.is_empty()
    }

    /// Whether the database's URL was given, itself or the file that holds it.
    #[must_use]
    pub fn has_database_url(&self) -> bool {
        self.given.iter().any(|(name, _)| name.setting().key == DATABASE_URL.key)
    }

    /// The same flags with the database's URL.
    #[must_use]
    pub fn with_database_url(mut self, url: String) -> Self {
        self.given.retain(|(name, _)| name.setting().key != DATABASE_URL.key);
        let name = NAMES.iter().find(|name| name.key == DATABASE_URL.key);
        self.given.extend(name.map(|name| (name, url)));
        self
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("A TOML file with settings [env: BOOKSTORE_CONFIG]");
        NAMES
            .iter()
            .map(flag)
            .fold(command.arg(config.global(true).help_heading("Settings")), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &'static Name| {
            let text = matches.get_one::<String>(&name.key)?;
            Some((name, text.clone()))
        };
        Ok(Self {
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            given: NAMES.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let newer = Self::from_arg_matches(matches)?;
        self.file = newer.file.or(self.file.take());
        self.given.retain(|(old, _)| newer.given.iter().all(|(new, _)| new.key != old.key));
        self.given.extend(newer.given);
        Ok(())
    }
}

fn flag(name: &'static Name) -> Arg {
    let arg = Arg::new(name.key.as_str())
        .long(name.flag.as_str())
        // A wrong value such as -1 is refused by the setting, not parsed as a flag.
        .allow_hyphen_values(true)
        .global(true)
        .help_heading("Settings");
    match name.meaning {
        Meaning::Value(setting) => arg.value_name("VALUE").help(format!(
            "{} [default: {}] [env: {}]",
            setting.doc, setting.default, name.variable
        )),
        Meaning::SecretFile(setting) => arg
            .value_name("PATH")
            .help(format!("A file that holds {} [env: {}]", setting.key, name.variable)),
    }
}
