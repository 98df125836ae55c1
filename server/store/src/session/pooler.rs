//! Finds out a pooler that gives the server's sessions to each transaction, as PgBouncer does in
//! transaction mode: prepared statements and settings would be those of other clients.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::session::settings::{Refusal, shared_session};

/// How long each step of the check may take.
const STEP: Duration = Duration::from_secs(1);

/// Opens a second session and asks both for the server's process, one after the other: a pooler that
/// shares its sessions answers with the one that is free. If it takes turns instead, one of two
/// questions in a row gets another process. Does nothing if no second session can be opened.
///
/// # Errors
/// If sessions are shared, or one doesn't answer.
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
    let asked = async {
        let mut own = Vec::new();
        let mut others = Vec::new();
        for _ in 0..2 {
            own.push(process_of(session).await?);
            own.push(process_of(session).await?);
            match timeout(STEP, process_of(&mut other)).await {
                Ok(process) => others.push(process?),
                // A pooler in session mode that has no session of the server left lets it wait.
                Err(_) => break,
            }
        }
        Ok((own, others))
    };
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let asked: Result<_, sqlx::Error> = timeout(2 * STEP, asked).await.map_err(|_| late())?;
    let _ = timeout(STEP, other.close()).await;
    let (own, others) = asked?;
    let sign = if let Some(shared) = others.iter().find(|it| **it == process || own.contains(*it)) {
        format!("two sessions share the server's process {shared}")
    } else if let Some(now) = own.iter().find(|now| **now != process) {
        format!("a session went from the server's process {process} to {now}")
    } else {
        return Ok(());
    };
    Err(Refusal::Unsuitable(shared_session(&sign)))
}

/// The process of the server that answers a session.
async fn process_of(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()::text").fetch_one(session).await?;
    let text: String = row.try_get(0)?;
    text.parse().map_err(|_| sqlx::Error::Protocol("a number was expected".into()))
}
