//! Telemetry of each statement: a span, a metric, an optional log line, a warning if it was slow.
//!
//! Log lines and spans hold the statement's text, in which values are placeholders. They never
//! hold the values.

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
    session::command_tag::command_tag,
    telemetry::{instrument::BoundHistogram, meters, traces},
};

/// The log target of statements and of slow-statement warnings.
pub const TARGET: &str = "bookstore::sql";

/// How long an answer may arrive after the statement's timeout.
const GRACE: Duration = Duration::from_secs(5);

/// Which statements are logged.
#[derive(Clone, Debug, Default)]
pub struct StatementLog {
    /// Whether to log every statement, at INFO. Default false.
    pub echo: bool,
    /// The duration from which on a statement is slow and logged at WARN. Default `None`: never.
    pub slow: Option<Duration>,
}

/// The attributes of a database, by OpenTelemetry's semantic conventions for database clients.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseAttributes {
    /// `db.system.name`.
    pub(crate) system: &'static str,
    /// `server.address`.
    pub(crate) address: Option<Arc<str>>,
    /// `db.namespace`.
    pub(crate) namespace: Option<Arc<str>>,
}

impl DatabaseAttributes {
    /// The attributes of a statement's span.
    fn of_statement(&self, command: &'static str, sql: &str) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("db.system.name", self.system));
        attributes.push(KeyValue::new("db.operation.name", command));
        attributes.push(KeyValue::new("db.query.text", sql.to_owned()));
        let named = [("db.namespace", &self.namespace), ("server.address", &self.address)];
        for (key, value) in named {
            let value = value.clone().map(|value| KeyValue::new(key, StringValue::from(value)));
            attributes.extend(value);
        }
        attributes
    }
}

/// Records the statements of one node.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) log: StatementLog,
    pub(crate) database: DatabaseAttributes,
    /// For the statements that read, which are most.
    selects: BoundHistogram,
}

impl Statements {
    pub(crate) fn new(log: StatementLog, database: DatabaseAttributes) -> Self {
        Self { log, database, selects: meters::STATEMENTS.bind() }
    }

    /// Runs an exchange with the database and records it. The database ends a statement after
    /// `limit`. If no answer comes 5 s later either, the connection counts as lost. After `end`
    /// the statement is abandoned ([`is_late`]).
    pub(crate) async fn around<T>(
        &self,
        sql: &str,
        limit: Duration,
        end: Deadline,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let command = command_tag(sql);
        let span = traces::statement(command, || self.database.of_statement(command, sql));
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
        let attributes = || {
            [
                KeyValue::new("db.system.name", self.database.system),
                KeyValue::new("db.operation.name", command),
            ]
        };
        match command {
            "SELECT" => self.selects.record(elapsed.as_secs_f64(), attributes),
            _ => meters::STATEMENTS.record(elapsed.as_secs_f64(), &attributes()),
        }
        if self.log.slow.is_some_and(|slow| elapsed >= slow) {
            tracing::warn!(target: TARGET, elapsed_ms, sql, "slow statement");
        } else if self.log.echo && tracing::enabled!(target: TARGET, Level::INFO) {
            tracing::info!(target: TARGET, elapsed_ms, failed = result.is_err(), sql, "statement");
        }
        result
    }
}

/// A statement ran past the end of its read.
#[derive(Debug, Error)]
#[error("the read took longer than database_read_timeout")]
struct Late;

/// Whether a statement was abandoned because its read took too long. It may still run.
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else { return false };
    error.get_ref().is_some_and(|error| error.is::<Late>())
}
