//! Revisions as a script in SQL: what `migrate sql` prints.

use crate::{
    bookkeeping,
    chain::Chain,
    error::MigrationError,
    listing::terminated,
    rebuild, replay,
    revision::{Action, Direction, Engine, Revision, Step},
    session::Opener,
};

/// A script that takes a database from one position of the chain to another, for psql or the
/// sqlite3 shell, bookkeeping included. It stops at the first error.
///
/// # Errors
/// [`MigrationError::Offline`] before anything is written, or what a scratch database answers: a
/// table's rebuild depends on the table's current text, so it is replayed there.
pub async fn script(
    opener: &dyn Opener,
    chain: &Chain,
    engine: Engine,
    from: usize,
    to: usize,
) -> Result<String, MigrationError> {
    let direction = if to >= from { Direction::Up } else { Direction::Down };
    let span = &chain.revisions()[from.min(to)..from.max(to)];
    for revision in span {
        let steps = revision.steps(engine, direction);
        for (at, step) in steps.iter().enumerate() {
            if let Action::Code(code) = &step.action {
                let (revision, name) = (revision.name.clone(), code.name.clone());
                return Err(MigrationError::Offline { revision, step: at + 1, name });
            }
        }
    }
    let mut revisions: Vec<&Revision> = span.iter().collect();
    if direction == Direction::Down {
        revisions.reverse();
    }
    let mut writer =
        ScriptWriter { opener, chain, engine, direction, place: from, script: String::new() };
    writer.head(from, to);
    for revision in revisions {
        writer.revision(revision).await?;
    }
    Ok(writer.script)
}

struct ScriptWriter<'a> {
    opener: &'a dyn Opener,
    chain: &'a Chain,
    engine: Engine,
    direction: Direction,
    place: usize,
    script: String,
}

impl ScriptWriter<'_> {
    fn line(&mut self, text: &str) {
        self.script.push_str(text);
        self.script.push('\n');
    }

    fn statement(&mut self, sql: &str) {
        self.line(&terminated(sql));
    }

    fn head(&mut self, from: usize, to: usize) {
        let name = |place: usize| match place.checked_sub(1) {
            Some(at) => self.chain.revisions()[at].name.clone(),
            None => "base".to_owned(),
        };
        let title = format!(
            "-- {} for {}: {} to {}",
            bookkeeping::PROGRAM,
            self.engine,
            name(from),
            name(to)
        );
        self.line(&title);
        match self.engine {
            Engine::Postgres => {
                self.line("\\set ON_ERROR_STOP on");
                for setting in ["statement_timeout = 0", "TimeZone = 'UTC'"] {
                    self.statement(&format!("SET {setting}"));
                }
            }
            Engine::Sqlite => self.line(".bail on"),
        }
        if self.direction == Direction::Up {
            for statement in bookkeeping::install(self.engine) {
                self.statement(&statement);
            }
        }
    }

    async fn revision(&mut self, revision: &Revision) -> Result<(), MigrationError> {
        let steps = revision.steps(self.engine, self.direction);
        let rebuilds = steps.iter().any(|step| matches!(step.action, Action::Rebuild(_)));
        self.line(&format!("\n-- {}: {}", revision.name, revision.message));
        if rebuilds {
            self.statement("PRAGMA foreign_keys = OFF");
        }
        let is_whole = revision.is_transactional(self.engine);
        if is_whole {
            self.begin();
        }
        let mut texts = self.steps(revision, &steps, rebuilds).await?.into_iter();
        let total = steps.len();
        for (at, step) in steps.iter().enumerate() {
            let number = match self.direction {
                Direction::Up => at + 1,
                Direction::Down => total - at,
            };
            for question in &step.questions {
                self.line(&format!("-- asks first: {}: {}", question.claim, question.count));
            }
            if !is_whole && step.in_transaction {
                self.begin();
            }
            for text in texts.next().unwrap_or_default() {
                self.statement(&text);
            }
            if !is_whole {
                for text in match self.direction {
                    Direction::Up => {
                        bookkeeping::step_done(&revision.name, number, step, self.engine)
                    }
                    Direction::Down => bookkeeping::step_undone(&revision.name, number),
                } {
                    self.statement(&text);
                }
                if step.in_transaction {
                    self.statement("COMMIT");
                }
            }
        }
        if !is_whole {
            self.begin();
        }
        for text in match self.direction {
            Direction::Up => bookkeeping::record(revision, self.engine, None),
            Direction::Down => bookkeeping::unrecord(&revision.name),
        } {
            self.statement(&text);
        }
        self.statement("COMMIT");
        if rebuilds {
            self.statement("PRAGMA foreign_keys = ON");
        }
        self.place = match self.direction {
            Direction::Up => self.place + 1,
            Direction::Down => self.place - 1,
        };
        Ok(())
    }

    fn begin(&mut self) {
        match self.engine {
            Engine::Postgres => self.statement("BEGIN"),
            Engine::Sqlite => self.statement("BEGIN IMMEDIATE"),
        }
    }

    /// The statements of each step.
    async fn steps(
        &self,
        revision: &Revision,
        steps: &[Step],
        rebuilds: bool,
    ) -> Result<Vec<Vec<String>>, MigrationError> {
        // The text of a rebuilt table is read from a scratch database.
        let scratch = if rebuilds { Some(self.opener.open_scratch().await?) } else { None };
        if let Some(scratch) = &scratch {
            replay::replay(scratch, &self.chain.revisions()[..self.place]).await?;
        }
        let mut texts = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let own = match (&step.action, &scratch) {
                // As `up` sends it: SQLite keeps the text, blanks and all.
                (Action::Sql(sql), _) => vec![sql.trim().to_owned()],
                (Action::Backfill(backfill), _) => vec![backfill.statement()],
                (Action::Rebuild(rebuild), Some(scratch)) => {
                    rebuild::plan(scratch, rebuild).await?
                }
                _ => Vec::new(),
            };
            if let Some(scratch) = &scratch {
                replay::step(scratch, &revision.name, at, step).await?;
            }
            texts.push(own);
        }
        if let Some(scratch) = scratch {
            scratch.close().await;
        }
        Ok(texts)
    }
}
