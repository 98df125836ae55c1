//! Finds out a pooler that gives the server's sessions to each transaction, as PgBouncer does in
//! transaction mode: prepared statements and settings would be those of other clients.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::session::settings::{Refusal, shared_session};

/// How long each step of the check may take.
const STEP: Duration = Duration::from_secs(1);

/// Opens a second session, asks both for the server's process at the same time, and checks that each
/// keeps one for itself. Does nothing if no second session can be opened.
///
/// # Errors
/// If sessions are shared, or the first one doesn't answer.
pub(crate) async fn refuse_shared_sessions<O>(
    session: &mut PgConnection,
    process: i32,
    open: impl FnOnce() -> O,
) -> Result<(), Refusal>
where
    O: Future<Output = Result<PgConnection, sqlx::Error>>,
{
    // The server or a pooler in session mode may have no connection left.
    let Ok(Ok(mut other)) = timeout(STEP, open()).await else { return Ok(()) };
    // The sleep keeps the second session busy, or a pooler may answer both by one process in turn.
    let busy = "SELECT pg_backend_pid()::text, pg_sleep(0.005)::text";
    let asked = async {
        let own = own_process(session, "SELECT pg_backend_pid()::text");
        tokio::join!(own_process(&mut other, busy), own)
    };
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let (others, again) = timeout(STEP, asked).await.map_err(|_| late())?;
    let again = again?;
    let _ = timeout(STEP, other.close()).await;
    let sign = match others {
        Ok(others) if others == process || others == again => {
            format!("two sessions share the server's process {others}")
        }
        _ if again != process => {
            format!("a session went from the server's process {process} to {again}")
        }
        _ => return Ok(()),
    };
    Err(Refusal::Unsuitable(shared_session(&sign)))
}

/// The process of the server that answers a session.
async fn own_process(session: &mut PgConnection, sql: &'static str) -> Result<i32, sqlx::Error> {
    let row = sqlx::raw_sql(sql).fetch_one(session).await?;
    let text: String = row.try_get(0)?;
    text.parse().map_err(|_| sqlx::Error::Protocol("a number was expected".into()))
}
