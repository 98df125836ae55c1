//! The command line of `new`.

use std::path::PathBuf;

use clap::Args;

use crate::command::migrate::line::line;

/// The arguments of `new`.
#[derive(Args)]
pub(in crate::command::migrate) struct Arguments {
    /// What the revision is for, in one line; its name is made of it.
    #[arg(short, long, value_parser = line)]
    pub(super) message: String,
    /// Writes a revision without steps.
    #[arg(long, conflicts_with_all = ["from_drift", "rename", "fill", "drop", "yes"])]
    pub(super) empty: bool,
    /// Writes what mends the drift of the database, as `check` finds it, instead of what the
    /// entities have changed.
    #[arg(long)]
    pub(super) from_drift: bool,
    /// A column or a table has a new name: `posts.body:posts.content`, `posts:articles`.
    #[arg(long, value_name = "OLD:NEW")]
    pub(super) rename: Vec<String>,
    /// What rows that exist get in a new column: `books.isbn=EXPRESSION`.
    #[arg(long, value_name = "TABLE.COLUMN=SQL")]
    pub(super) fill: Vec<String>,
    /// Drops an index that the revisions make and no entity declares; kept otherwise.
    #[arg(long, value_name = "INDEX")]
    pub(super) drop: Vec<String>,
    /// Drops all of these indexes. It answers no other question: --rename says what was renamed, as
    /// that is never guessed, and --fill gives values. An open question is an error.
    #[arg(long)]
    pub(super) yes: bool,
    /// Who wrote it.
    #[arg(long)]
    pub(super) author: Option<String>,
    /// The folder of the revisions; found upwards of the working directory otherwise.
    #[arg(long)]
    pub(super) folder: Option<PathBuf>,
}
