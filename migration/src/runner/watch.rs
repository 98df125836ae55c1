//! Watches a step from a second session: how long it takes, and which sessions block it.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Event, EventReport};
use crate::{
    revision::Engine,
    session::{MigrationSession, Opener},
};

/// After how long a running step is reported for the first time, and how often after that.
const PERIOD: Duration = Duration::from_secs(2);

/// A second session, opened for a long step.
pub(super) struct Watch<'a> {
    opener: &'a dyn Opener,
    backend: i32,
    session: Option<MigrationSession>,
    /// The sessions that were last seen in the way.
    blockers: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(opener: &'a dyn Opener, backend: i32) -> Self {
        Self { opener, backend, session: None, blockers: Vec::new() }
    }

    /// The sessions for which the last step waited.
    pub(super) fn blockers(&self) -> Vec<String> {
        self.blockers.clone()
    }

    /// Runs a future to its end and reports every few seconds.
    pub(super) async fn over<T>(
        &mut self,
        (revision, step): (&str, &str),
        report: EventReport<'_>,
        work: impl Future<Output = T>,
    ) -> T {
        self.blockers.clear();
        let began = Instant::now();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(PERIOD) => {}
            }
            // The work goes on during the other session's query.
            tokio::select! {
                done = &mut work => return done,
                () = self.ask_blockers() => {}
            }
            report(Event::Slow {
                revision: revision.to_owned(),
                step: step.to_owned(),
                elapsed: began.elapsed(),
                blockers: self.blockers.clone(),
            });
        }
    }

    async fn ask_blockers(&mut self) {
        if self.opener.engine() == Engine::Sqlite {
            return;
        }
        if self.session.is_none() {
            self.session = self.opener.open().await.ok();
        }
        let Some(session) = &self.session else { return };
        let sql = "SELECT format('process %s (%s, %s since %s): %s', pid, \
                       coalesce(nullif(application_name, ''), 'unnamed'), coalesce(state, 'unseen'), \
                       to_char(coalesce(xact_start, backend_start) AT TIME ZONE 'UTC', 'HH24:MI:SS'), \
                       left(regexp_replace(query, '\\s+', ' ', 'g'), 80)) \
                   FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1)) ORDER BY pid";
        let values = [self.backend.into()];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        match session.query_all_raw(statement).await {
            Ok(rows) => {
                let text = |row: &sea_orm::QueryResult| row.try_get_by_index(0).ok();
                let seen: Vec<String> = rows.iter().filter_map(text).collect();
                if !seen.is_empty() {
                    self.blockers = seen;
                }
            }
            Err(_) => self.session = None,
        }
    }
}
