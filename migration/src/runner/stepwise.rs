//! A revision with steps outside transactions: each is recorded by itself, and an interrupted run
//! resumes at the first that isn't done.

use super::{Event, Runner, index, question, settings, whole::rolled_back};
use crate::{
    bookkeeping::{self, step_hash},
    error::{MigrationError, is_lock_timeout},
    revision::{Action, Direction, Revision, Step},
    sql::facts,
};

impl Runner<'_> {
    /// Applies a revision step by step.
    pub(super) async fn apply_stepwise(
        &mut self,
        revision: &Revision,
    ) -> Result<(), MigrationError> {
        let steps = revision.steps(self.engine, Direction::Up);
        let recorded = self.state.half_of(&revision.name).unwrap_or_default().to_vec();
        let mut done = 0;
        for (at, step) in steps.iter().enumerate() {
            let Some(row) = recorded.iter().find(|row| row.step == at + 1) else { continue };
            if row.is_done {
                if row.hash != step_hash(step, self.engine) {
                    let revision = revision.name.clone();
                    return Err(MigrationError::HalfChanged { revision, step: row.step });
                }
                done = row.step;
            }
        }
        if !recorded.is_empty() {
            let (revision, steps) = (revision.name.clone(), steps.len());
            (self.report)(Event::Resumed { revision, step: (done + 1).min(steps), steps });
        }
        for (at, step) in steps.iter().enumerate().skip(done) {
            let number = at + 1;
            let was_started = recorded.iter().any(|row| row.step == number);
            let done = if step.in_transaction {
                let row = bookkeeping::step_done(&revision.name, number, step, self.engine);
                self.in_transaction(revision, &[(number, step)], &row).await
            } else {
                self.apply_outside(revision, number, step, was_started).await
            };
            let outcome =
                format!("; steps 1 to {at} are done and stand: `up` goes on with step {number}");
            done.map_err(|error| rolled_back(error, &outcome))?;
        }
        let rows = bookkeeping::record(revision, self.engine, None);
        Ok(self.transaction(&rows).await?)
    }

    async fn apply_outside(
        &mut self,
        revision: &Revision,
        number: usize,
        step: &Step,
        was_started: bool,
    ) -> Result<(), MigrationError> {
        question::ask(&self.session, &revision.name, step).await?;
        let built = match &step.action {
            Action::Sql(text) => facts::concurrent_index(text, self.engine),
            _ => None,
        };
        if let Some(built) = &built {
            let wait = self.options.wait;
            let state = index::clean_up(&self.session, built, wait, self.report).await?;
            if state == index::IndexState::Valid && was_started {
                // It was built, and only the record of it is missing.
                let rows = bookkeeping::step_done(&revision.name, number, step, self.engine);
                return Ok(self.transaction(&rows).await?);
            }
        }
        let rows = bookkeeping::step_started(&revision.name, number, step, self.engine);
        self.transaction(&rows).await?;
        let done = self.run_outside(revision, number, step).await;
        if let (Err(MigrationError::Step { .. }), Some(built)) = (&done, &built) {
            // The invalid index of a failed build would block the next build. If the session has
            // ended, the next run drops it.
            let wait = self.options.wait;
            let _ = index::clean_up(&self.session, built, wait, self.report).await;
        }
        done?;
        let rows = bookkeeping::step_done(&revision.name, number, step, self.engine);
        Ok(self.transaction(&rows).await?)
    }

    /// Runs a step outside a transaction. A CONCURRENTLY statement has no lock timeout:
    /// interrupted, it would leave an invalid index.
    pub(super) async fn run_outside(
        &mut self,
        revision: &Revision,
        number: usize,
        step: &Step,
    ) -> Result<(), MigrationError> {
        let is_concurrent = match &step.action {
            Action::Sql(text) => facts::is_concurrent(text, self.engine),
            _ => false,
        };
        let limit = (!is_concurrent).then_some(self.options.lock_timeout);
        settings::set_lock_timeout(&self.session, limit).await?;
        let tries = self.options.lock_tries.max(1);
        for failed in 1..=tries {
            let done = self.run_step(revision, number, step).await;
            let is_late = matches!(&done, Err(MigrationError::Step { source, .. }) if is_lock_timeout(source));
            if !is_late || failed == tries {
                return done;
            }
            let (revision, blockers) = (revision.name.clone(), self.watch.blockers());
            (self.report)(Event::Retry { revision, failed, tries, blockers });
            tokio::time::sleep(self.options.lock_pause).await;
        }
        Ok(())
    }
}
