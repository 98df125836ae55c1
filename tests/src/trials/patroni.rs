//! Patroni's failovers under load, as in production: it switches over on request, when PostgreSQL
//! is killed and when a node is lost. Callers see a pause, and no acknowledged write is missing.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::steady::{Kind, Seen, Steady};
use crate::{
    Engine, TestServer,
    postgres::patroni::{Patroni, TIMEOUT},
    until,
};

/// How long eventually consistent reads may be without an answer, on a small machine.
const READS: Duration = Duration::from_secs(5);

/// Runs all three, `scale` times, on one cluster. `DATABASE_FAILOVER_WAIT` is the service's.
pub(super) async fn patroni(scale: u32) {
    let mut drill = Drill::start().await;
    drill.seen("nothing at all", Instant::now()).await;
    for _ in 0..scale {
        let leader = drill.patroni.healthy().await;
        let began = Instant::now();
        drill.patroni.switch_over(leader).await;
        drill.seen("a switchover", began).await;

        let leader = drill.patroni.healthy().await;
        let began = Instant::now();
        drill.patroni.kill_postgres(leader);
        drill.seen("the primary's PostgreSQL killed", began).await;

        let leader = drill.patroni.healthy().await;
        let began = Instant::now();
        drill.patroni.lose(leader);
        drill.seen("the primary's node lost", began).await;

        let began = Instant::now();
        drill.patroni.start_again(leader);
        drill.patroni.healthy().await;
        drill.seen("the node back as a replica", began).await;
    }
    drill.end().await;
}

struct Drill {
    patroni: Patroni,
    server: TestServer,
    callers: Steady,
    acknowledged: Vec<String>,
}

impl Drill {
    async fn start() -> Self {
        let patroni = Patroni::start().await;
        let server = TestServer::builder(Engine::Postgres).url(&patroni.urls("bookstore_app"));
        let wait = std::env::var("DATABASE_FAILOVER_WAIT").unwrap_or_else(|_| "10s".to_owned());
        let server = server.env("DATABASE_FAILOVER_WAIT", &wait).env("LOG_LEVEL", "warn");
        let server = server.start().await;
        let callers = Steady::start(&format!("http://{}", server.address()));
        Self { patroni, server, callers, acknowledged: Vec::new() }
    }

    /// Prints what callers saw of the last failure, once all of them succeed again.
    async fn seen(&mut self, what: &str, began: Instant) {
        let seen = self.callers.until_running(TIMEOUT).await;
        let took = began.elapsed();
        let missing = self.missing(&seen).await;
        let summary = |kind: &Kind| {
            let failed: Vec<_> =
                kind.failed.iter().map(|(it, times)| format!("{times} {it}")).collect();
            let failed =
                if failed.is_empty() { "none failed".to_owned() } else { failed.join(", ") };
            format!("{:.1?}, {failed}", kind.gap)
        };
        eprintln!(
            "{what}, {took:.1?}: {missing} of {} acknowledged writes missing\n  longest time without a \
             write {}\n  eventual read {}\n  session read {}",
            self.acknowledged.len(),
            summary(&seen.writes),
            summary(&seen.eventual),
            summary(&seen.session),
        );
        assert_eq!(missing, 0, "acknowledged writes are missing after {what}");
        let Kind { failed, gap, .. } = &seen.eventual;
        assert!(
            failed.is_empty() && *gap < READS,
            "replicas could have answered: {failed:?} {gap:?}"
        );
        // A call with a key may be retried; any other error means that the failover is visible to
        // callers.
        let again = ["DATABASE_UNAVAILABLE", "COMMIT_OUTCOME_UNKNOWN", "KEY_IN_USE"];
        let strange = seen.writes.failed.keys().find(|reason| !again.contains(&reason.as_str()));
        assert_eq!(strange, None, "{what}");
    }

    /// The number of acknowledged writes that the primary lacks.
    async fn missing(&mut self, seen: &Seen) -> usize {
        self.acknowledged.extend(seen.acknowledged.iter().cloned());
        let leader = self.leader().await;
        let there = self.patroni.rows(leader, "SELECT id::text FROM books").await;
        let there: HashSet<_> = there.into_iter().collect();
        self.acknowledged.iter().filter(|id| !there.contains(*id)).count()
    }

    async fn leader(&self) -> usize {
        let mut leader = None;
        until("Patroni has a leader", TIMEOUT, async || {
            leader = self.patroni.leader().await;
            leader.is_some()
        })
        .await;
        leader.expect("a leader")
    }

    /// Stops the callers, and asserts that no write is there twice.
    async fn end(self) {
        let leader = self.patroni.healthy().await;
        self.callers.stop().await;
        let twice = "SELECT title FROM books GROUP BY title HAVING count(*) > 1";
        let twice = self.patroni.rows(leader, twice).await;
        assert!(twice.is_empty(), "written twice: {twice:?}");
        drop(self.server);
    }
}
