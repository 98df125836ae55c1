//! Steps in one transaction, together with the rows that record them, retried after a lock timeout.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Event, Runner, question, settings};
use crate::{
    bookkeeping,
    error::{MigrationError, is_lock_timeout},
    revision::{Action, Direction, Engine, Revision, Step},
};

/// How many rows with broken references are shown.
const EXAMPLES: usize = 3;

impl Runner<'_> {
    /// Applies a revision in one transaction.
    pub(super) async fn apply_whole(&mut self, revision: &Revision) -> Result<(), MigrationError> {
        let steps = revision.steps(self.engine, Direction::Up);
        let steps: Vec<(usize, &Step)> =
            steps.iter().enumerate().map(|(at, one)| (at + 1, one)).collect();
        let rows = bookkeeping::record(revision, self.engine, None);
        self.in_transaction(revision, &steps, &rows).await
    }

    /// Runs numbered steps in one transaction with rows of the bookkeeping. Conditions are checked
    /// before it begins; those that can't be checked by then are checked before their step.
    pub(super) async fn in_transaction(
        &mut self,
        revision: &Revision,
        steps: &[(usize, &Step)],
        rows: &[String],
    ) -> Result<(), MigrationError> {
        let mut later = Vec::new();
        for (number, step) in steps {
            let asked = question::ask(&self.session, &revision.name, step).await?;
            // SQLite takes a quoted name that doesn't exist yet for a text.
            if !asked || self.engine == Engine::Sqlite && *number > 1 {
                later.push(*number);
            }
        }
        let limit = Some(self.options.lock_timeout);
        settings::set_lock_timeout(&self.session, limit).await?;
        let tries = self.options.lock_tries.max(1);
        for failed in 1.. {
            let error = match self.try_transaction(revision, steps, &later, rows).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let MigrationError::Step { source, .. } = &error else { return Err(error) };
            let blockers = self.watch.blockers();
            if !is_lock_timeout(source) {
                return Err(rolled_back(error, "; the revision was rolled back"));
            }
            if failed >= tries {
                let blockers = blockers.join("; ");
                let outcome = format!(
                    "; it was rolled back, {failed} times, since a lock didn't come. In the way: {}",
                    if blockers.is_empty() { "sessions that can't be seen" } else { &blockers }
                );
                return Err(rolled_back(error, &outcome));
            }
            let revision = revision.name.clone();
            (self.report)(Event::Retry { revision, failed, tries, blockers });
            tokio::time::sleep(self.options.lock_pause).await;
        }
        Ok(())
    }

    /// One try. After an error the session is as before.
    async fn try_transaction(
        &mut self,
        revision: &Revision,
        steps: &[(usize, &Step)],
        later: &[usize],
        rows: &[String],
    ) -> Result<(), MigrationError> {
        // It does nothing inside a transaction.
        let rebuilds = steps.iter().any(|(_, step)| matches!(step.action, Action::Rebuild(_)));
        if rebuilds {
            self.session.execute_unprepared("PRAGMA foreign_keys = OFF").await?;
        }
        let done = self.transaction_of(revision, steps, later, rows, rebuilds).await;
        if done.is_err() {
            // If the session ended, there is nothing to roll back.
            let _ = self.session.execute_unprepared("ROLLBACK").await;
        }
        if rebuilds {
            self.session.execute_unprepared("PRAGMA legacy_alter_table = OFF").await?;
            self.session.execute_unprepared("PRAGMA foreign_keys = ON").await?;
        }
        done
    }

    async fn transaction_of(
        &mut self,
        revision: &Revision,
        steps: &[(usize, &Step)],
        later: &[usize],
        rows: &[String],
        rebuilds: bool,
    ) -> Result<(), MigrationError> {
        let last = steps.last().map_or(0, |(number, _)| *number);
        let named = |summary: &str| {
            let (revision, summary) = (revision.name.clone(), summary.to_owned());
            move |source| {
                let outcome = String::new();
                MigrationError::Step { revision, step: last, summary, outcome, source }
            }
        };
        let begin = match self.engine {
            Engine::Postgres => "BEGIN",
            Engine::Sqlite => "BEGIN IMMEDIATE",
        };
        self.session.execute_unprepared(begin).await.map_err(named("BEGIN"))?;
        for (number, step) in steps {
            if later.contains(number) {
                question::ask(&self.session, &revision.name, step).await?;
            }
            self.run_step(revision, *number, step).await?;
        }
        for row in rows {
            self.session.execute_unprepared(row).await.map_err(named("recording it"))?;
        }
        if rebuilds {
            self.check_foreign_keys(revision).await?;
        }
        self.session.execute_unprepared("COMMIT").await.map_err(named("COMMIT"))?;
        Ok(())
    }

    /// Checks for rows with broken references, since foreign keys were off.
    async fn check_foreign_keys(&self, revision: &Revision) -> Result<(), MigrationError> {
        let check = Statement::from_string(DbBackend::Sqlite, "PRAGMA foreign_key_check");
        let rows = self.session.query_all_raw(check).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let text = |row: &sea_orm::QueryResult| {
            let table: String = row.try_get_by_index(0).unwrap_or_default();
            let rowid: Option<i64> = row.try_get_by_index(1).unwrap_or_default();
            let parent: String = row.try_get_by_index(2).unwrap_or_default();
            let rowid = rowid.map(|rowid| format!(" (rowid {rowid})")).unwrap_or_default();
            format!("{table}{rowid} to {parent}")
        };
        let shown: Vec<String> = rows.iter().take(EXAMPLES).map(text).collect();
        let (revision, shown) = (revision.name.clone(), shown.join(", "));
        let rows = format!("{} rows, as {shown}", rows.len());
        Err(MigrationError::ForeignKeys { revision, rows })
    }
}

/// Adds the outcome to a failed revision's error.
pub(super) fn rolled_back(error: MigrationError, outcome: &str) -> MigrationError {
    match error {
        MigrationError::Step { revision, step, summary, source, .. } => {
            MigrationError::Step { revision, step, summary, outcome: outcome.to_owned(), source }
        }
        error => error,
    }
}
