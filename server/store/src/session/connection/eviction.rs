//! Whose connection it is, and that its pool gives it up: its node is another one now, or has
//! gone.

use std::{io, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{deadline::Deadline, session::connection::Connection};

/// What a connection of a pool knows of it.
#[derive(Debug)]
pub(crate) struct PoolMembership {
    generation: u64,
    current: watch::Receiver<u64>,
    end: Deadline,
}

impl Connection {
    /// The same connection as one of a pool, of the generation in which it began to open.
    /// It is to be replaced once it is older than `lifetime`.
    pub(crate) fn of_generation(
        self,
        generation: u64,
        current: watch::Receiver<u64>,
        lifetime: Duration,
    ) -> Self {
        let end = Deadline::after(lifetime);
        Self { membership: Some(PoolMembership { generation, current, end }), ..self }
    }

    /// Whether it is to be replaced.
    pub(crate) fn is_old(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.end.has_passed())
    }

    /// Whether its pool has evicted the connections of its generation.
    pub(crate) fn is_evicted(&self) -> bool {
        self.membership
            .as_ref()
            .is_some_and(|membership| *membership.current.borrow() != membership.generation)
    }

    /// Waits until that happens.
    pub(crate) async fn evicted(&self) {
        let Some(membership) = &self.membership else { return std::future::pending().await };
        let mut current = membership.current.clone();
        // A pool that is gone has no connection in use.
        if current.wait_for(|current| *current != membership.generation).await.is_err() {
            std::future::pending().await
        }
    }

    /// Carries an exchange out, and takes its session for lost if the connection is evicted and
    /// no answer comes within `grace` after that: a node that stands still closes nothing.
    ///
    /// # Errors
    /// What the database answers.
    pub(crate) async fn unless_evicted<T>(
        &self,
        grace: Duration,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let evicted = async {
            self.evicted().await;
            sleep(grace).await;
        };
        tokio::select! {
            biased;
            result = exchange => result,
            () = evicted => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}
