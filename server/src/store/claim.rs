//! From a broken constraint to the fields of the request that broke it.
//!
//! SQLite names no constraint of a foreign key, and a statement of many rows names no row:
//! after the rollback every value is looked up on the same connection.

use std::collections::HashSet;

use sea_orm::{
    ConnectionTrait, DbErr, Value,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use uuid::Uuid;

use super::{
    connection::Connection,
    error::{ConstraintKind, Fault, StoreError},
};

/// A constraint of a table and the field of the resource that it is about.
#[derive(Debug)]
pub struct Constraint {
    /// Its name in the database. SQLite tells its columns instead, as `table.column`.
    pub name: &'static str,
    /// What it asks of a value.
    pub rule: Rule,
    /// The table and the column that it is on.
    pub column: (&'static str, &'static str),
    /// The field of the resource, such as `category_id`.
    pub field: &'static str,
}

/// What a constraint asks of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No other row has it.
    Unique,
    /// This table has a row with it as its id; the second text is its resource.
    Exists(&'static str, &'static str),
}

impl Constraint {
    fn kind(&self) -> ConstraintKind {
        match self.rule {
            Rule::Unique => ConstraintKind::Unique,
            Rule::Exists(..) => ConstraintKind::Reference,
        }
    }

    /// Whether an error names this constraint, or could mean it.
    fn is_named(&self, kind: ConstraintKind, name: &str) -> bool {
        let (table, column) = self.column;
        let column = format!("{table}.{column}");
        self.kind() == kind && (name.is_empty() || name == self.name || name == column)
    }
}

/// A value of a request that a constraint looks at.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The constraint.
    pub constraint: &'static Constraint,
    /// Where the request has the value, such as `requests[3].book.category_id`.
    pub field: String,
    /// The value.
    pub value: Value,
    /// The row that may have it already: the one that is changed.
    pub own: Option<Uuid>,
    /// Whether the value is written only if the row `own` isn't there: an upsert's, for a
    /// field that its mask passes over.
    pub only_new: bool,
}

/// Makes of a broken constraint an error that names every value at fault. Other errors stay.
pub(super) async fn explain(
    connection: &Connection,
    claims: Vec<Claim>,
    error: StoreError,
) -> StoreError {
    let StoreError::Constraint { kind, constraint, .. } = &error else { return error };
    let mut suspects = claims;
    suspects.retain(|claim| claim.constraint.is_named(*kind, constraint));
    if suspects.is_empty() {
        return error;
    }
    match faults(connection, suspects).await {
        // Whoever was in the way is gone already: another try may succeed.
        Ok(faults) if faults.is_empty() => {
            StoreError::Conflict(DbErr::Custom("a constraint was broken and holds again".into()))
        }
        Ok(faults) if *kind == ConstraintKind::Unique => StoreError::AlreadyExists(faults),
        Ok(faults) => StoreError::ReferenceNotFound(faults),
        Err(lookup) => {
            tracing::warn!(error = lookup.told(), "looking up the values at fault failed");
            error
        }
    }
}

async fn faults(connection: &Connection, claims: Vec<Claim>) -> Result<Vec<Fault>, StoreError> {
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    for claim in claims {
        if let (true, Some(own)) = (claim.only_new, claim.own)
            && exists(connection, claim.constraint.column.0, &own.into()).await?
        {
            continue;
        }
        let taken = match claim.constraint.rule {
            Rule::Unique => {
                // Two entries of one request may collide with each other alone.
                let twin = !seen.insert((claim.constraint.name, claim.value.to_string()));
                twin || holder(connection, &claim).await?
            }
            Rule::Exists(table, _) => !exists(connection, table, &claim.value).await?,
        };
        if taken {
            let description = match claim.constraint.rule {
                Rule::Unique => "is already taken".to_owned(),
                Rule::Exists(_, resource) => format!("names no {resource} that exists"),
            };
            faults.push(Fault::new(claim.field, description));
        }
    }
    Ok(faults)
}

/// Whether another row than the claim's own has the value.
async fn holder(connection: &Connection, claim: &Claim) -> Result<bool, StoreError> {
    let (table, column) = claim.constraint.column;
    let mut query = Query::select();
    query
        .expr(Expr::val(1))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new(column)).eq(claim.value.clone()));
    if let Some(own) = claim.own {
        query.and_where(Expr::col(Alias::new("id")).ne(own));
    }
    Ok(connection.query_one(&query).await?.is_some())
}

async fn exists(connection: &Connection, table: &str, id: &Value) -> Result<bool, StoreError> {
    let mut query = Query::select();
    query
        .expr(Expr::val(1))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new("id")).eq(id.clone()));
    Ok(connection.query_one(&query).await?.is_some())
}
