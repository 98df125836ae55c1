//! What is told of each statement: a span, an echo if asked for, a warning if it was slow.
//!
//! Statements are told by their text, in which values are placeholders; values never.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::{Instrument, Level};

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

impl StatementLog {
    /// Runs an exchange with the database and tells of it. The database ends what takes
    /// longer than `limit`; one that is silent even then is taken for lost.
    pub(super) async fn around<T>(
        &self,
        sql: &str,
        limit: Duration,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let span = tracing::debug_span!(target: TARGET, "statement", sql);
        let began = Instant::now();
        let silent = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let answer = timeout(limit.saturating_add(GRACE), exchange.instrument(span));
        let result = answer.await.unwrap_or_else(silent);
        let elapsed = began.elapsed();
        let elapsed_ms = elapsed.as_secs_f64() * 1e3;
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            tracing::warn!(target: TARGET, elapsed_ms, sql, "slow statement");
        } else if self.echo && tracing::enabled!(target: TARGET, Level::INFO) {
            tracing::info!(target: TARGET, elapsed_ms, failed = result.is_err(), sql, "statement");
        }
        result
    }
}
