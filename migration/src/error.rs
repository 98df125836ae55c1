//! Why migrations could not be run, and the exit code of each reason.

use std::path::PathBuf;

use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;

use crate::{chain::ChainError, target::TargetError};

/// The exit codes of `bookstore migrate`. 2 is a wrong command line, 64 a wrong setting.
pub mod exit {
    /// The database refused something, or any reason without a code of its own.
    pub const FAILED: u8 = 1;
    /// Another migration holds the lock.
    pub const LOCKED: u8 = 3;
    /// Rows break what a step asks for.
    pub const QUESTION: u8 = 4;
    /// It wasn't confirmed, or rows would be lost and `--allow-data-loss` isn't given.
    pub const REFUSED: u8 = 5;
    /// The revisions of the program and those of the database don't agree.
    pub const MISMATCH: u8 = 6;
    /// The session ended. The schema is consistent: run it again.
    pub const LOST: u8 = 7;
}

/// Why migrations could not be run.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// An error of the database, outside of any revision.
    #[error("{}", sentence(.0))]
    Database(#[from] DbErr),
    /// A step failed.
    #[error("{revision}, step {step} ({summary}): {source}{outcome}")]
    Step {
        /// The revision.
        revision: String,
        /// The step, from 1.
        step: usize,
        /// What the step does.
        summary: String,
        /// The state now, after "; ".
        outcome: String,
        /// What the database answers.
        source: DbErr,
    },
    /// The session ended.
    #[error("the session ended during {revision}: {source}; {stands}; run it again")]
    Lost {
        /// The revision.
        revision: String,
        /// The state now.
        stands: String,
        /// The driver's error.
        source: DbErr,
    },
    /// A file of the lock can't be opened or locked.
    #[error("{path}: {source}", path = .path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// Another migration didn't finish in time.
    #[error("another migration is running and didn't finish within {waited} s: {holder}")]
    Locked {
        /// How long it was waited for, in seconds.
        waited: u64,
        /// The other one.
        holder: String,
    },
    /// A pooler changes the server's session between statements.
    #[error(
        "the connection goes through a pooler that shares sessions between transactions ({0}): \
         locks and settings wouldn't hold. Give migrations the server's own address, or a pooler \
         in session mode"
    )]
    Pooler(String),
    /// Rows break what a step asks for. Nothing was locked or changed.
    #[error("{revision} needs {claim}, and {rows} rows break it: {examples}")]
    Question {
        /// The revision.
        revision: String,
        /// What has to hold.
        claim: String,
        /// How many rows break it.
        rows: i64,
        /// Some of them.
        examples: String,
    },
    /// References of rows would be broken.
    #[error("{revision} would leave references that point nowhere: {rows}; it was rolled back")]
    ForeignKeys {
        /// The revision.
        revision: String,
        /// Some of the rows.
        rows: String,
    },
    /// Rows would be lost.
    #[error("{what} would be lost; --allow-data-loss allows it")]
    DataLoss {
        /// What would be lost.
        what: String,
    },
    /// The user didn't confirm it.
    #[error("not confirmed: nothing was changed (--yes confirms)")]
    NotConfirmed,
    /// A revision was edited after it was applied.
    #[error(
        "{revision} was changed after it was applied: its hash is {own} in this program and \
         {recorded} in the database. `bookstore migrate show {revision}` prints both texts. A \
         released revision is never edited: take the change back and write the next one, or, if \
         both do the same, `bookstore migrate repair {revision} --reason TEXT`"
    )]
    Changed {
        /// The revision.
        revision: String,
        /// The hash of this program.
        own: String,
        /// The hash in the database.
        recorded: String,
    },
    /// The part of a half applied revision that is done was edited.
    #[error(
        "{revision} is half applied, and step {step}, which is done, was edited since: take the \
         edit back, or revert the half with the program that began it"
    )]
    HalfChanged {
        /// The revision.
        revision: String,
        /// The step, from 1.
        step: usize,
    },
    /// A revision of a newer program prevents it.
    #[error("{0} is unknown to this program: a newer one applied it, and can revert it")]
    Unknown(String),
    /// A newer revision refuses this program.
    #[error(
        "{revision} shuts out programs that don't know {minimum_head}, and this one doesn't: use \
         a newer program"
    )]
    ShutOut {
        /// The revision.
        revision: String,
        /// The newest revision that a program must know.
        minimum_head: String,
    },
    /// A revision isn't applied while a later one is.
    #[error(
        "{missing} isn't applied, but {applied}, which comes after it, is: the bookkeeping is \
         wrong, or another branch's program was here; see `bookstore migrate status` and `stamp`"
    )]
    Gap {
        /// The revision that isn't applied.
        missing: String,
        /// The one that is.
        applied: String,
    },
    /// A target that can't be reached.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// The revisions are no chain.
    #[error("{0}")]
    Chain(#[from] ChainError),
    /// A revision can't be written as SQL.
    #[error(
        "{revision} can't be written as SQL: step {step} runs code ({name}), which asks the \
         database. Choose a range without it, or run `bookstore migrate up`"
    )]
    Offline {
        /// The revision.
        revision: String,
        /// The step, from 1.
        step: usize,
        /// The code's name.
        name: String,
    },
}

impl MigrationError {
    /// The exit code of `bookstore migrate`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked { .. } => exit::LOCKED,
            Self::Question { .. } => exit::QUESTION,
            Self::DataLoss { .. } | Self::NotConfirmed => exit::REFUSED,
            Self::Changed { .. }
            | Self::HalfChanged { .. }
            | Self::Unknown(_)
            | Self::ShutOut { .. }
            | Self::Gap { .. }
            | Self::Target(_)
            | Self::Chain(_) => exit::MISMATCH,
            Self::Lost { .. } => exit::LOST,
            _ => exit::FAILED,
        }
    }
}

/// The error as text. A sentence for operators stands alone, without SeaORM's name of its kind.
fn sentence(error: &DbErr) -> String {
    match error {
        DbErr::Custom(sentence) => sentence.clone(),
        other => other.to_string(),
    }
}

/// The SQLSTATE of an error, or SQLite's code.
pub(crate) fn code(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Query(RuntimeErr::SqlxError(error)) | DbErr::Exec(RuntimeErr::SqlxError(error)) => {
            Some(error.as_database_error()?.code()?.into_owned())
        }
        _ => None,
    }
}

/// Whether the session is over (PostgreSQL, appendix A: classes 08 and 57P).
pub(crate) fn is_session_lost(error: &DbErr) -> bool {
    match error {
        DbErr::Conn(_) => true,
        DbErr::Query(RuntimeErr::SqlxError(sqlx_error)) => match &**sqlx_error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
            _ => code(error).is_some_and(|code| {
                code.starts_with("08") || ["57P01", "57P02", "57P03", "57P05"].contains(&&*code)
            }),
        },
        _ => false,
    }
}

/// Whether it is a lock timeout or a deadlock.
pub(crate) fn is_lock_timeout(error: &DbErr) -> bool {
    // 5 is SQLITE_BUSY.
    code(error).is_some_and(|code| ["55P03", "40P01", "5"].contains(&&*code))
}

/// Whether the role may not do it, or the file is read-only.
pub(crate) fn is_not_permitted(error: &DbErr) -> bool {
    // 8 is SQLITE_READONLY; 25006 is a read-only transaction, as on a replica.
    code(error).is_some_and(|code| ["42501", "25006", "8"].contains(&&*code))
}
