//! One step, run on the session and watched from another.

use sea_orm::{ConnectionTrait, DbErr};

use super::{Runner, backfill};
use crate::{
    error::MigrationError,
    manager::SchemaManager,
    rebuild,
    revision::{Action, Revision, Step},
};

impl Runner<'_> {
    /// Runs a step's action. Steps count from 1.
    pub(super) async fn run_step(
        &mut self,
        revision: &Revision,
        number: usize,
        step: &Step,
    ) -> Result<(), MigrationError> {
        let summary = step.summary();
        let name = revision.name.as_str();
        let done: Result<(), DbErr> = match &step.action {
            Action::Backfill(fill) => backfill::run(&self.session, name, fill, self.report).await,
            Action::Sql(text) => {
                let work = async { self.session.execute_unprepared(text).await.map(drop) };
                self.watch.over((name, &summary), self.report, work).await
            }
            Action::Rebuild(table) => {
                let work = rebuild::perform(&self.session, table);
                self.watch.over((name, &summary), self.report, work).await
            }
            Action::Code(code) => {
                let manager = SchemaManager::new(&self.session);
                let work = (code.run)(&manager);
                self.watch.over((name, &summary), self.report, work).await
            }
        };
        done.map_err(|source| {
            let (revision, outcome) = (name.to_owned(), String::new());
            MigrationError::Step { revision, step: number, summary, outcome, source }
        })
    }
}
