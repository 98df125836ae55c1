//! What is told of each statement: a span, an echo if asked for, a warning if it was slow.
//!
//! Statements are told by their text, in which values are placeholders; values never.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, StringValue};
use thiserror::Error;
use tokio::time::timeout;
use tracing::Level;

use crate::{
    deadline::Deadline,
    telemetry::{meters, traces},
    transaction::COMMANDS,
};

/// The target of the echo and of slow-query warnings.
pub const TARGET: &str = "bookstore::sql";

/// How long past a statement's timeout its answer may take to arrive.
const GRACE: Duration = Duration::from_secs(5);

/// How statements are told of.
#[derive(Clone, Debug, Default)]
pub struct StatementLog {
    /// Whether to tell of every statement, at INFO.
    pub echo: bool,
    /// From which duration on a statement is slow and told of at WARN; none means never.
    pub slow: Option<Duration>,
}

/// Which database statements go to.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseAttributes {
    pub(crate) system: &'static str,
    pub(crate) address: Option<Arc<str>>,
    pub(crate) namespace: Option<Arc<str>>,
}

impl DatabaseAttributes {
    /// What a statement's span says of it.
    fn attributes(&self, operation: &'static str, sql: &str) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("db.system.name", self.system));
        attributes.push(KeyValue::new("db.operation.name", operation));
        attributes.push(KeyValue::new("db.query.text", sql.to_owned()));
        let named = [("db.namespace", &self.namespace), ("server.address", &self.address)];
        for (key, value) in named {
            attributes
                .extend(value.clone().map(|value| KeyValue::new(key, StringValue::from(value))));
        }
        attributes
    }
}

/// Tells of the statements of one node.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) log: StatementLog,
    pub(crate) database: DatabaseAttributes,
}

impl Statements {
    /// Runs an exchange with the database and tells of it. The database ends what takes
    /// longer than `limit`; one that is silent even then is taken for lost. What goes on past
    /// `end` is left ([`is_late`]).
    pub(crate) async fn around<T>(
        &self,
        sql: &str,
        limit: Duration,
        end: Deadline,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let operation = operation(sql);
        let span = traces::statement(operation, || self.database.attributes(operation, sql));
        let began = Instant::now();
        let silent = |_| match end.has_passed() {
            true => Err(std::io::Error::other(Late).into()),
            false => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        let wait = end.remaining(limit.saturating_add(GRACE));
        let result = timeout(wait, exchange).await.unwrap_or_else(silent);
        drop(span);
        let elapsed = began.elapsed();
        let elapsed_ms = elapsed.as_secs_f64() * 1e3;
        let attributes = [
            KeyValue::new("db.system.name", self.database.system),
            KeyValue::new("db.operation.name", operation),
        ];
        meters::STATEMENTS.record(elapsed.as_secs_f64(), &attributes);
        if self.log.slow.is_some_and(|slow| elapsed >= slow) {
            tracing::warn!(target: TARGET, elapsed_ms, sql, "slow statement");
        } else if self.log.echo && tracing::enabled!(target: TARGET, Level::INFO) {
            tracing::info!(target: TARGET, elapsed_ms, failed = result.is_err(), sql, "statement");
        }
        result
    }
}

/// A statement went on past the end of its read.
#[derive(Debug, Error)]
#[error("the read took longer than database_read_timeout")]
struct Late;

/// Whether a statement was left because its read took too long; it may still run.
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else { return false };
    error.get_ref().is_some_and(|error| error.is::<Late>())
}

/// What a statement does, by its first word: metrics need few names.
fn operation(sql: &str) -> &'static str {
    const WORDS: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "EXPLAIN", "SET"];
    let sql = sql.trim_start();
    let word = sql.split(|it: char| !it.is_ascii_alphabetic()).next().unwrap_or_default();
    let mut known = WORDS.into_iter().chain(COMMANDS);
    known.find(|known| known.eq_ignore_ascii_case(word)).unwrap_or("OTHER")
}
