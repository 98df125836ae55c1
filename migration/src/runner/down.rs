//! Reverts revisions, the newest first. Reports first which data would be lost.

use std::time::Instant;

use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{Event, Runner, index, settings, whole::rolled_back};
use crate::{
    bookkeeping::{self, BookkeepingState},
    chain::Chain,
    error::MigrationError,
    rebuild,
    revision::{Action, Direction, Engine, Revision, Step},
    sql::{
        facts::{self, ConcurrentIndex, DroppedObject},
        quoted,
    },
};

/// What `down` would undo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownPlan {
    /// The revisions, in the order in which they are reverted.
    pub revisions: Vec<String>,
    /// The tables and columns with rows that would be lost.
    pub losses: Vec<String>,
}

/// What `down` to a position would revert, and which data would be lost.
///
/// # Errors
/// If a revision that this program doesn't know is in the way, or what the database answers.
pub(super) async fn plan<C: ConnectionTrait>(
    connection: &C,
    chain: &Chain,
    state: &BookkeepingState,
    to: usize,
) -> Result<DownPlan, MigrationError> {
    let engine = Engine::of(connection);
    let place = state.place(chain)?;
    let mut plan = DownPlan::default();
    let half = chain.revisions().get(place).filter(|next| state.half_of(&next.name).is_some());
    let applied = chain.revisions()[..place].iter().skip(to).rev();
    let revisions: Vec<&Revision> = half.into_iter().chain(applied).collect();
    if let (Some(unknown), false) = (state.unknown(chain).last(), revisions.is_empty()) {
        return Err(MigrationError::Unknown(unknown.name.clone()));
    }
    for revision in revisions {
        for step in revision.steps(engine, Direction::Down) {
            for loss in losses(connection, &step).await? {
                plan.losses.extend(rows_of(connection, &loss).await?);
            }
        }
        plan.revisions.push(revision.name.clone());
    }
    plan.losses.dedup();
    Ok(plan)
}

async fn losses<C: ConnectionTrait>(
    connection: &C,
    step: &Step,
) -> Result<Vec<DroppedObject>, DbErr> {
    Ok(match &step.action {
        _ if step.is_derived => Vec::new(),
        Action::Sql(text) => facts::losses(text, Engine::of(connection)),
        Action::Rebuild(change) => {
            let columns = rebuild::lost_columns(connection, change).await?.into_iter();
            let table = &change.table;
            columns.map(|column| DroppedObject::Column { table: table.clone(), column }).collect()
        }
        Action::Backfill(_) | Action::Code(_) => Vec::new(),
    })
}

/// How many rows would lose data, as text; none if there are none, or no such table.
async fn rows_of<C: ConnectionTrait>(
    connection: &C,
    loss: &DroppedObject,
) -> Result<Option<String>, MigrationError> {
    let manager = crate::manager::SchemaManager::new(connection);
    let (rows, what) = match loss {
        DroppedObject::Table(table) if manager.has_table(table).await? => {
            (quoted(table), format!("table {table}"))
        }
        DroppedObject::Column { table, column } if manager.has_column(table, column).await? => {
            let (from, value) = (quoted(table), quoted(column));
            (format!("{from} WHERE {value} IS NOT NULL"), format!("column {table}.{column}"))
        }
        _ => return Ok(None),
    };
    let backend = connection.get_database_backend();
    let count = Statement::from_string(backend, format!("SELECT count(*) FROM {rows}"));
    let count: Option<i64> =
        connection.query_one_raw(count).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    let count = count.filter(|count| *count > 0);
    Ok(count.map(|count| format!("{what} ({count} rows)")))
}

impl Runner<'_> {
    /// What `down` to a position would revert, read under the lock.
    ///
    /// # Errors
    /// If a revision that this program doesn't know is in the way, or what the database answers.
    pub async fn plan_down(&self, to: usize) -> Result<DownPlan, MigrationError> {
        plan(&self.session, self.chain, &self.state, to).await
    }

    /// Reverts the applied revisions above a position of the chain; returns their names.
    ///
    /// # Errors
    /// [`MigrationError::DataLoss`] unless it is allowed, or why a revision can't be reverted.
    /// Revisions that were reverted before it stay reverted.
    pub async fn down(
        &mut self,
        to: usize,
        allow_data_loss: bool,
    ) -> Result<Vec<String>, MigrationError> {
        let plan = self.plan_down(to).await?;
        if plan.revisions.is_empty() {
            return Ok(Vec::new());
        }
        self.state.check_hashes(self.chain, self.engine)?;
        if !allow_data_loss && !plan.losses.is_empty() {
            return Err(MigrationError::DataLoss { what: plan.losses.join(", ") });
        }
        if let Some(error) = self.not_installed.take() {
            return Err(error.into());
        }
        let chain = self.chain;
        let mut reverted = Vec::new();
        for name in plan.revisions {
            let Some(revision) = chain.get(&name) else { continue };
            let began = Instant::now();
            settings::check_session(&self.session, self.lock.backend).await?;
            self.lock.name(&self.session, &name).await?;
            let done = match revision.is_transactional(self.engine) {
                true => self.revert_whole(revision).await,
                false => self.revert_stepwise(revision).await,
            };
            self.explain(revision, done).await?;
            let direction = Direction::Down;
            let elapsed = began.elapsed();
            (self.report)(Event::Done { revision: name.clone(), direction, elapsed });
            reverted.push(name);
        }
        self.state = bookkeeping::read(&self.session).await?;
        Ok(reverted)
    }

    async fn revert_whole(&mut self, revision: &Revision) -> Result<(), MigrationError> {
        let steps = revision.steps(self.engine, Direction::Down);
        let steps: Vec<(usize, &Step)> =
            steps.iter().enumerate().map(|(at, step)| (at + 1, step)).collect();
        self.in_transaction(revision, &steps, &bookkeeping::unrecord(&revision.name)).await
    }

    /// Reverts step by step, the last that was done first.
    async fn revert_stepwise(&mut self, revision: &Revision) -> Result<(), MigrationError> {
        let name = revision.name.as_str();
        let ups = revision.steps(self.engine, Direction::Up);
        let downs = revision.steps(self.engine, Direction::Down);
        if self.state.is_applied(name) {
            let mut rows = bookkeeping::unrecord(name);
            for (at, step) in ups.iter().enumerate() {
                rows.extend(bookkeeping::step_done(name, at + 1, step, self.engine));
            }
            self.transaction(&rows).await?;
            self.state = bookkeeping::read(&self.session).await?;
        }
        let recorded = self.state.half_of(name).unwrap_or_default().to_vec();
        for row in recorded.iter().rev() {
            let number = row.step;
            let at = ups.len().checked_sub(number);
            let (Some(up), Some(down)) =
                (ups.get(number.wrapping_sub(1)), at.and_then(|at| downs.get(at)))
            else {
                continue;
            };
            let undone = bookkeeping::step_undone(name, number);
            let done = if self.is_undone(up, down, row.is_done).await? {
                self.transaction(&undone).await.map_err(MigrationError::from)
            } else if down.in_transaction {
                self.in_transaction(revision, &[(number, down)], &undone).await
            } else {
                self.revert_outside(revision, (number, up, down), &undone).await
            };
            let outcome = format!("; steps after {number} are undone: `down` goes on with it");
            done.map_err(|error| rolled_back(error, &outcome))?;
        }
        Ok(self.transaction(&bookkeeping::unrecord(name)).await?)
    }

    /// Reverts a step outside a transaction. From here on the step counts as one that was begun, so
    /// that `up` runs it again if this run is cut before it has recorded what it undid.
    async fn revert_outside(
        &mut self,
        revision: &Revision,
        (number, up, down): (usize, &Step, &Step),
        undone: &[String],
    ) -> Result<(), MigrationError> {
        let begun = bookkeeping::step_started(&revision.name, number, up, self.engine);
        self.transaction(&begun).await?;
        self.run_outside(revision, number, down).await?;
        Ok(self.transaction(undone).await?)
    }

    /// Whether there is nothing left of a step to undo: an index that a cut build left was
    /// dropped, or a run that was cut has undone it without recording that.
    async fn is_undone(
        &mut self,
        up: &Step,
        down: &Step,
        was_done: bool,
    ) -> Result<bool, MigrationError> {
        if let Action::Sql(text) = &up.action
            && let Some(built) = facts::concurrent_index(text, self.engine)
        {
            let wait = self.options.wait;
            let state = index::clean_up(&self.session, &built, wait, self.report).await?;
            return Ok(state == index::IndexState::Absent);
        }
        if let Action::Sql(text) = &down.action
            && let Some(name) = facts::concurrently_dropped(text, self.engine)
        {
            let built = ConcurrentIndex { name, table: String::new() };
            let state = index::state(&self.session, &built.name).await?;
            return Ok(state == index::IndexState::Absent);
        }
        // A backfill that was cut has nothing of its own to undo. One whose undoing was cut has, and
        // only what runs outside a transaction can be cut so.
        Ok(!was_done && down.in_transaction && matches!(up.action, Action::Backfill(_)))
    }
}
