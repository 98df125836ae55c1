//! Finds out a pooler that gives the server's sessions to each transaction, as PgBouncer does in
//! transaction mode: prepared statements and settings would be those of other clients.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::{sync::Mutex, time::timeout};

use crate::session::settings::{Refusal, shared_session};

/// How long each step of the check may take.
const STEP: Duration = Duration::from_secs(1);

/// How long sessions count as this program's alone before that is checked again.
const UNSHARED_FOR: Duration = Duration::from_secs(60);

/// When the sessions to a node were last found to be this program's alone.
#[derive(Default)]
pub(crate) struct UnsharedCheck {
    passed_at: Mutex<Option<Instant>>,
    /// Whether the last check has passed.
    has_passed: AtomicBool,
}

impl UnsharedCheck {
    /// Runs the check of a new session, if none has passed within the last minute. Openings wait for
    /// the first check. Once one has passed, they don't wait while a single one checks again.
    ///
    /// # Errors
    /// Those of the check.
    pub(crate) async fn pass(
        &self,
        check: impl Future<Output = Result<(), Refusal>>,
    ) -> Result<(), Refusal> {
        let mut passed_at = match self.passed_at.try_lock() {
            Ok(passed_at) => passed_at,
            Err(_) if self.has_passed.load(Ordering::Acquire) => return Ok(()),
            Err(_) => self.passed_at.lock().await,
        };
        if passed_at.is_some_and(|at| at.elapsed() < UNSHARED_FOR) {
            return Ok(());
        }
        let checked = check.await;
        match checked {
            Ok(()) => *passed_at = Some(Instant::now()),
            // No session is opened any more before one is found to be alone.
            Err(Refusal::Unsuitable(_)) => *passed_at = None,
            Err(Refusal::Failed(_)) => {}
        }
        self.has_passed.store(passed_at.is_some(), Ordering::Release);
        checked
    }
}

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

#[cfg(test)]
mod tests {
    use std::{future::ready, task::Poll};

    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    /// A check that waits for its result.
    fn check() -> (oneshot::Sender<bool>, impl Future<Output = Result<(), Refusal>>) {
        let (sender, receiver) = oneshot::channel();
        let shared = || Refusal::Unsuitable("shared".to_owned());
        let check = async move { receiver.await.unwrap_or(false).then_some(()).ok_or_else(shared) };
        (sender, check)
    }

    #[tokio::test]
    async fn only_the_first_check_keeps_openings_waiting() {
        let unshared = UnsharedCheck::default();
        let (ends, first) = check();
        let mut first = Box::pin(unshared.pass(first));
        assert!(poll!(&mut first).is_pending());
        let mut second = Box::pin(unshared.pass(ready(Ok(()))));
        assert!(poll!(&mut second).is_pending(), "no check has passed");
        ends.send(true).expect("it is waited for");
        assert!(first.await.is_ok() && second.await.is_ok());

        let long_ago = Instant::now().checked_sub(UNSHARED_FOR);
        assert!(long_ago.is_some());
        *unshared.passed_at.lock().await = long_ago;
        let (ends, again) = check();
        let mut again = Box::pin(unshared.pass(again));
        assert!(poll!(&mut again).is_pending());
        let mut other = Box::pin(unshared.pass(ready(Ok(()))));
        assert!(matches!(poll!(&mut other), Poll::Ready(Ok(()))), "one checks, others pass");
        ends.send(false).expect("it is waited for");
        assert!(again.await.is_err());

        let (_ends, next) = check();
        let mut next = Box::pin(unshared.pass(next));
        assert!(poll!(&mut next).is_pending(), "it is checked again");
        let mut other = Box::pin(unshared.pass(ready(Ok(()))));
        assert!(poll!(&mut other).is_pending(), "sessions were shared");
    }
}
