//! Runs revisions on a database: one at a time, in one session, so that a kill at any moment leaves
//! whole revisions, or steps that the next run resumes.

// Applying: `whole` in one transaction, `stepwise` with each step recorded, `step` one of them.
// `down` says what would be lost, and reverts; `stamp` changes the bookkeeping alone.
// `lock`, `settings`, `watch`: one at a time, in a session of its own, seen from another.
mod backfill;
mod down;
mod event;
mod index;
mod lock;
mod options;
mod question;
mod settings;
mod stamp;
mod step;
mod stepwise;
mod watch;
mod whole;

use std::{path::PathBuf, time::Instant};

use sea_orm::{ConnectionTrait, DbErr};

pub use self::{
    down::DownPlan,
    event::{Event, EventReport},
    options::Options,
};
use self::{lock::Lock, watch::Watch};
use crate::{
    bookkeeping::{self, BookkeepingState},
    chain::Chain,
    error::{MigrationError, is_not_permitted, is_session_lost},
    revision::{Direction, Engine, Revision},
    session::{MigrationSession, Opener},
};

/// The file whose lock a migrator of a SQLite database holds.
pub fn lock_file(database: &std::path::Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-migrate.lock");
    PathBuf::from(name)
}

/// The exclusive runner of a database, until it is finished or dropped.
pub struct Runner<'a> {
    opener: &'a dyn Opener,
    chain: &'a Chain,
    options: Options,
    engine: Engine,
    session: MigrationSession,
    lock: Lock,
    watch: Watch<'a>,
    state: BookkeepingState,
    /// Why the bookkeeping's tables couldn't be made; needed only once something is to be done.
    not_installed: Option<DbErr>,
    report: EventReport<'a>,
}

impl<'a> Runner<'a> {
    /// Opens a session, waits for other migrations to finish and takes the lock. Revisions that
    /// were applied before details were recorded are adopted.
    ///
    /// # Errors
    /// [`MigrationError::Locked`], [`MigrationError::Pooler`], or what the database answers.
    pub async fn start(
        opener: &'a dyn Opener,
        chain: &'a Chain,
        options: Options,
        report: EventReport<'a>,
    ) -> Result<Self, MigrationError> {
        let session = opener.open().await?;
        settings::force(&session, &options).await?;
        settings::refuse_shared_sessions(opener, &session).await?;
        let file = opener.file().map(|database| lock_file(&database));
        let lock = Lock::take(&session, file.as_deref(), options.wait, report).await?;
        let (engine, watch) = (opener.engine(), Watch::new(opener, lock.backend));
        let state = BookkeepingState::default();
        let mut runner = Self {
            opener,
            chain,
            options,
            engine,
            session,
            lock,
            watch,
            state,
            not_installed: None,
            report,
        };
        match runner.prepare().await {
            Ok(()) => Ok(runner),
            Err(error) => {
                runner.finish().await;
                Err(error)
            }
        }
    }

    /// Creates the bookkeeping's tables. Without the right to do so there may still be nothing to
    /// do.
    async fn prepare(&mut self) -> Result<(), MigrationError> {
        self.state = bookkeeping::read(&self.session).await?;
        if !self.state.is_installed {
            match self.transaction(&bookkeeping::install(self.engine)).await {
                Ok(()) => self.state.is_installed = true,
                Err(error) if is_not_permitted(&error) => self.not_installed = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        self.adopt().await
    }

    /// Records the details of revisions that a program without them has applied.
    async fn adopt(&mut self) -> Result<(), MigrationError> {
        let adopted = self.chain.revisions().iter().filter(|revision| {
            self.state.get(&revision.name).is_some_and(|applied| applied.details.is_none())
        });
        let adopted: Vec<&Revision> = adopted.collect();
        if adopted.is_empty() || self.not_installed.is_some() {
            return Ok(());
        }
        let rows = adopted.iter().flat_map(|one| bookkeeping::adopt(one, self.engine));
        match self.transaction(&rows.collect::<Vec<_>>()).await {
            Ok(()) => (self.report)(Event::Adopted { count: adopted.len() }),
            Err(error) if is_not_permitted(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.state = bookkeeping::read(&self.session).await?;
        Ok(())
    }

    /// What the database says of its revisions, as this runner has read it.
    pub fn state(&self) -> &BookkeepingState {
        &self.state
    }

    /// How many of the chain's revisions are applied.
    ///
    /// # Errors
    /// If the database's revisions don't fit the chain.
    pub fn place(&self) -> Result<usize, MigrationError> {
        self.state.place(self.chain)
    }

    /// Applies the revisions that are missing, up to a place of the chain; answers their names.
    ///
    /// # Errors
    /// Why one of them can't be applied. Those before it stay applied.
    pub async fn up(&mut self, to: usize) -> Result<Vec<String>, MigrationError> {
        self.state.check_minimum_head(self.chain)?;
        self.state.check_hashes(self.chain, self.engine)?;
        let mut applied = Vec::new();
        let chain = self.chain;
        for revision in chain.revisions().iter().take(to).skip(self.place()?) {
            if let Some(error) = self.not_installed.take() {
                return Err(error.into());
            }
            let began = Instant::now();
            settings::check_session(&self.session, self.lock.backend).await?;
            self.lock.name(&self.session, &revision.name).await?;
            let done = match revision.is_transactional(self.engine) {
                true => self.apply_whole(revision).await,
                false => self.apply_stepwise(revision).await,
            };
            self.explain(revision, done).await?;
            applied.push(revision.name.clone());
            let (revision, direction) = (revision.name.clone(), Direction::Up);
            (self.report)(Event::Done { revision, direction, elapsed: began.elapsed() });
        }
        self.state = bookkeeping::read(&self.session).await?;
        Ok(applied)
    }

    /// Releases the lock and ends the session.
    pub async fn finish(self) {
        self.lock.release(&self.session).await;
        self.session.close().await;
    }

    /// Runs statements of the bookkeeping in a transaction of their own.
    async fn transaction(&self, statements: &[String]) -> Result<(), DbErr> {
        let begin = match self.engine {
            Engine::Postgres => "BEGIN",
            Engine::Sqlite => "BEGIN IMMEDIATE",
        };
        self.session.execute_unprepared(begin).await?;
        for statement in statements {
            if let Err(error) = self.session.execute_unprepared(statement).await {
                // The first error is reported.
                let _ = self.session.execute_unprepared("ROLLBACK").await;
                return Err(error);
            }
        }
        self.session.execute_unprepared("COMMIT").await.map(drop)
    }

    /// If the session was lost, reads the state with another one.
    async fn explain(
        &self,
        revision: &Revision,
        done: Result<(), MigrationError>,
    ) -> Result<(), MigrationError> {
        let source = match done {
            Err(MigrationError::Step { source, .. } | MigrationError::Database(source))
                if is_session_lost(&source) =>
            {
                source
            }
            done => return done,
        };
        let stands = match self.opener.open().await {
            Ok(session) => match bookkeeping::read(&session).await {
                Ok(state) => stands(&state, revision),
                Err(_) => "what stands can't be read now".to_owned(),
            },
            Err(_) => "what stands can't be read now".to_owned(),
        };
        Err(MigrationError::Lost { revision: revision.name.clone(), stands, source })
    }
}

/// What stands of a revision, and before it.
fn stands(state: &BookkeepingState, revision: &Revision) -> String {
    let name = &revision.name;
    let done = |steps: &[bookkeeping::StepState]| steps.iter().filter(|one| one.is_done).count();
    match (state.is_applied(name), state.half_of(name).map(done)) {
        (true, _) => format!("{name} is applied"),
        (false, Some(steps)) => format!("{steps} steps of {name} are done and stand"),
        (false, None) => {
            let others = state.applied.len();
            format!("{name} was rolled back, {others} revisions are applied")
        }
    }
}
