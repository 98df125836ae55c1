//! `bookstore settings` and `bookstore help settings`: every setting; and which of them the help of the
//! other commands shows.

use std::process::ExitCode;

use super::print;

/// The settings that the help of a command shows, by their ids.
pub(super) const SHOWN: &[(&str, &[&str])] = &[
    ("serve", &["config", "database_url", "listen_addr", "admin_addr"]),
    ("migrate", DATABASE),
    ("backup", DATABASE),
    ("restore", DATABASE),
    ("users", DATABASE),
    ("topology", &["config", "database_url", "database_replica_urls"]),
    ("explain", DATABASE),
    ("policy", &["config", "policy_file"]),
    ("config", &["config"]),
];

/// The settings of commands that need a database.
const DATABASE: &[&str] = &["config", "database_url", "database_url_file"];

/// Where a command's help shows the other settings.
pub(super) const MORE: &str = "Every setting is a flag too: see `bookstore help settings`.";

/// The command with [`MORE`] at the end of its help.
pub(super) fn pointed_to(command: clap::Command) -> clap::Command {
    let help = match command.get_after_help() {
        Some(own) => format!("{own}\n{MORE}"),
        None => MORE.to_owned(),
    };
    command.after_help(help)
}

/// Prints every setting, as the help of the command does.
pub(super) fn run(mut program: clap::Command) -> ExitCode {
    program.build();
    let help = program.find_subcommand_mut("settings").map(clap::Command::render_help);
    print::line(help.map(|help| help.to_string()).unwrap_or_default().trim_end());
    ExitCode::SUCCESS
}
