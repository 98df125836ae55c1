//! The proof of a revision before it is shown: it is applied and reverted in a place that is
//! discarded.

use sea_orm::ConnectionTrait;
use thiserror::Error;

use crate::{
    catalog::Catalog,
    check::{CheckError, Scratch},
    drift::{Difference, DifferenceKind, Renames, compare_renamed},
    error::MigrationError,
    replay::{replay, replay_down},
    revision::{Engine, Revision},
    session::{MigrationSession, Opener},
    sql::quoted,
};

/// Why a revision is not shown.
#[derive(Debug, Error)]
pub enum ProofError {
    /// An error of the database, or nothing may be created.
    #[error("{0}")]
    Check(#[from] CheckError),
    /// A step failed.
    #[error("{0}")]
    Step(#[from] MigrationError),
    /// The steps ran, but the schema differs.
    #[error("the steps {direction} leave a difference: {findings}")]
    Difference {
        /// `up` or `down`.
        direction: &'static str,
        /// What differs.
        findings: String,
    },
}

impl From<sea_orm::DbErr> for ProofError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Check(error.into())
    }
}

/// A place where revisions run and nothing stays.
struct ProofSession {
    session: MigrationSession,
}

impl ProofSession {
    async fn open(opener: &dyn Opener) -> Result<Self, ProofError> {
        let session = opener.open_scratch().await?;
        if session.engine() == Engine::Postgres {
            session.execute_unprepared("BEGIN").await?;
            if let Err(reason) = Scratch::make(&session).await? {
                let error = sea_orm::DbErr::Custom(format!("nothing may be created: {reason}"));
                return Err(error.into());
            }
        }
        Ok(Self { session })
    }

    async fn read(&self) -> Result<Catalog, ProofError> {
        match self.session.engine() {
            // The schema is the only one on the path.
            Engine::Postgres => {
                let sql = "SELECT current_schema()::text";
                let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
                let row = self.session.query_one_raw(statement).await?;
                let missing = || sea_orm::DbErr::RecordNotFound("the schema's name".to_owned());
                let schema: String = row.ok_or_else(missing)?.try_get_by_index(0)?;
                Ok(Catalog::read_schema(&self.session, &schema).await?)
            }
            Engine::Sqlite => Ok(Catalog::read(&self.session).await?),
        }
    }

    /// Deletes the rows of all tables.
    async fn empty(&self, catalog: &Catalog) -> Result<(), ProofError> {
        let tables = catalog.objects.iter().filter(|(key, facets)| {
            key.kind == "table" && facets.get("form").is_some_and(|form| form == "table")
        });
        let names = tables.map(|(key, _)| quoted(&key.name));
        let names: Vec<String> = names.collect();
        let statements = match self.session.engine() {
            Engine::Postgres => vec![format!("TRUNCATE {}", names.join(", "))],
            Engine::Sqlite => names.iter().map(|name| format!("DELETE FROM {name}")).collect(),
        };
        for statement in statements {
            self.session.execute_unprepared(&statement).await?;
        }
        Ok(())
    }

    /// Ends the session, and with it everything that it made.
    async fn close(self) -> Result<(), ProofError> {
        if self.session.engine() == Engine::Postgres {
            self.session.execute_unprepared("ROLLBACK").await?;
        }
        self.session.close().await;
        Ok(())
    }
}

/// The schema that revisions and then SQL make, in a scratch schema or database.
///
/// # Errors
/// [`ProofError`].
pub async fn scratch_schema(
    opener: &dyn Opener,
    revisions: &[Revision],
    sql: &str,
) -> Result<Catalog, ProofError> {
    let place = ProofSession::open(opener).await?;
    replay(&place.session, revisions).await?;
    if !sql.is_empty() {
        place.session.execute_unprepared(sql).await?;
    }
    let catalog = place.read().await?;
    place.close().await?;
    Ok(catalog)
}

/// Applies a revision after the others and reverts it: the schema has to become `to`, and `from`
/// again.
///
/// # Errors
/// [`ProofError`].
pub async fn prove(
    opener: &dyn Opener,
    revisions: &[Revision],
    revision: &Revision,
    from: &Catalog,
    to: &Catalog,
) -> Result<(), ProofError> {
    let place = ProofSession::open(opener).await?;
    let own = std::slice::from_ref(revision);
    replay(&place.session, revisions).await?;
    replay(&place.session, own).await?;
    same("up", to, &place.read().await?)?;
    replay_down(&place.session, own).await?;
    same("down", from, &place.read().await?)?;
    place.close().await
}

/// The same for a revision that repairs drift: on a schema without it the steps up change nothing,
/// the steps down make the drift, and the steps up repair it.
///
/// # Errors
/// [`ProofError`].
pub async fn prove_repair(
    opener: &dyn Opener,
    revisions: &[Revision],
    revision: &Revision,
    drifted: &Catalog,
    expected: &Catalog,
) -> Result<(), ProofError> {
    let place = ProofSession::open(opener).await?;
    let own = std::slice::from_ref(revision);
    replay(&place.session, revisions).await?;
    // The rows that revisions insert say nothing of those that a drifted table has.
    place.empty(expected).await?;
    replay(&place.session, own).await?;
    same("up", expected, &place.read().await?)?;
    replay_down(&place.session, own).await?;
    same("down", drifted, &place.read().await?)?;
    replay(&place.session, own).await?;
    same("up", expected, &place.read().await?)?;
    place.close().await
}

/// Whether all that differs is that an index is valid. Going up builds an index that was left
/// invalid, and no step going down leaves one so again.
fn is_rebuilt(difference: &Difference) -> bool {
    let is_index = ["index", "primary key", "unique"].contains(&difference.key().kind.as_str());
    let mut facets = difference.facets.iter();
    is_index
        && difference.change == DifferenceKind::Changed
        && facets.all(|one| one.ends_with("validity"))
}

/// The order of columns is what no step changes.
fn same(direction: &'static str, wanted: &Catalog, found: &Catalog) -> Result<(), ProofError> {
    let mut comparison = compare_renamed(wanted, found, Renames::default());
    let is_left = |difference: &Difference| {
        difference.change == DifferenceKind::Order || direction == "down" && is_rebuilt(difference)
    };
    comparison.differences.retain(|difference| !is_left(difference));
    let findings = comparison.findings();
    if findings.is_empty() {
        return Ok(());
    }
    let findings = findings.iter().map(|finding| finding.to_line()).collect::<Vec<_>>().join("; ");
    Err(ProofError::Difference { direction, findings })
}
