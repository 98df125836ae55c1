//! The check itself.

use sea_orm::ConnectionTrait;

use super::{CheckError, ReplayPolicy, SchemaOrigin, applied, expected, inside::Inside, rows};
use crate::{
    catalog::Catalog,
    chain::Chain,
    drift::{Finding, Loss, Repair, Severity, compare},
};

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Report {
    /// The differences, errors first.
    pub findings: Vec<Finding>,
    /// Where the expected schema comes from; none if no revision is applied and so no schema was
    /// compared.
    pub origin: Option<SchemaOrigin>,
    /// The last revision that is applied; none if none is.
    pub revision: Option<String>,
    /// The actual schema.
    pub found: Catalog,
}

impl Report {
    /// Whether the schema differs from what the migrations make. Notes don't count.
    pub fn is_drift(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Severity::Error)
    }
}

/// Compares the schema of `connection` with what the revisions make that are applied to it.
/// `scratch` is an empty database in memory, which SQLite's migrations are replayed in.
///
/// On PostgreSQL all of it is one transaction of the isolation level REPEATABLE READ, which is
/// rolled back. It takes no lock above ACCESS SHARE on anything that was there before.
///
/// # Errors
/// [`CheckError`].
pub async fn check<C: ConnectionTrait>(
    connection: &C,
    scratch: Option<&C>,
    replay: ReplayPolicy,
    chain: &Chain,
) -> Result<Report, CheckError> {
    let inside = Inside::begin(connection).await?;
    let result = inside.examine(scratch, replay, chain).await;
    inside.end().await?;
    result
}

impl<C: ConnectionTrait> Inside<'_, C> {
    async fn examine(
        &self,
        scratch: Option<&C>,
        replay: ReplayPolicy,
        chain: &Chain,
    ) -> Result<Report, CheckError> {
        let known = chain.names();
        let found = Catalog::read(self.connection).await?;
        let applied = applied::read(self.connection).await?;
        let pending: Vec<&String> = known.iter().filter(|name| !applied.contains(name)).collect();
        let unknown: Vec<&String> = applied.iter().filter(|name| !known.contains(name)).collect();
        let revisions: Vec<_> =
            chain.revisions().iter().filter(|one| applied.contains(&one.name)).cloned().collect();
        let mut origin = None;
        let mut findings: Vec<Finding> = Vec::new();
        if !applied.is_empty() {
            let (expected, source) = expected::schema(self, scratch, replay, &revisions).await?;
            let comparison = compare(&expected, &found);
            findings = comparison.findings();
            rows::weigh(self, &mut findings).await?;
            origin = Some(source);
        }
        if !unknown.is_empty() {
            // What a newer program's revisions make can't be distinguished from drift.
            findings.iter_mut().for_each(|finding| finding.level = Severity::Note);
        }
        findings.extend(pending.into_iter().map(|name| revision("pending", name, Severity::Error)));
        findings.extend(unknown.into_iter().map(|name| revision("unknown", name, Severity::Note)));
        findings.sort_by_key(|finding| finding.level);
        Ok(Report { findings, origin, revision: applied.last().cloned(), found })
    }
}

/// A revision that the program and the database don't both know.
fn revision(what: &str, name: &str, level: Severity) -> Finding {
    let (expected, found) = match what {
        "pending" => (Some("applied".to_owned()), None),
        _ => (None, Some("applied by another program".to_owned())),
    };
    Finding {
        kind: format!("revision.{what}"),
        object: name.to_owned(),
        table: None,
        level,
        expected,
        found,
        along: Vec::new(),
        repair: Repair::No,
        repair_loses: Loss::No,
    }
}
