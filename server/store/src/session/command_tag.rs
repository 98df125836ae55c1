//! The command of a statement, for spans and metrics.

/// The commands that metrics tell apart: few, so that the number of series stays small.
const COMMANDS: [&str; 12] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "WITH",
    "EXPLAIN",
    "SET",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
];

/// A statement's first word, if it is one of [`COMMANDS`]; `OTHER` otherwise.
pub(crate) fn command_tag(sql: &str) -> &'static str {
    let sql = sql.trim_start();
    let word = sql.split(|it: char| !it.is_ascii_alphabetic()).next().unwrap_or_default();
    let mut commands = COMMANDS.into_iter();
    commands.find(|command| command.eq_ignore_ascii_case(word)).unwrap_or("OTHER")
}
