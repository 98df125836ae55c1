//! From a broken constraint to the fields of the request that broke it.
//!
//! SQLite names no constraint of a foreign key, and a statement of many rows names no row:
//! after the rollback the values are looked up on the same connection.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ConnectionTrait, DbErr, Value,
    sea_query::{Alias, Asterisk, Expr, ExprTrait, Query, SelectStatement, UnionType},
};
use uuid::Uuid;

use crate::{
    error::{ConstraintKind, StoreError},
    session::connection::Connection,
    violation::FieldViolation,
};

/// How many constraint checks one statement looks up: SQLite takes no more than 500 selects in a
/// union.
const LOOKED_UP: usize = 200;

/// A constraint of a table and the field of the resource that it is about.
#[derive(Debug)]
pub struct Constraint {
    /// Its name in the database. SQLite tells its columns instead, as `table.column`.
    pub name: &'static str,
    /// What it asks of the values.
    pub rule: ConstraintRule,
    /// The table that it is on.
    pub table: &'static str,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// The field of the resource to blame, such as `category_id`.
    pub field: &'static str,
}

/// What a constraint asks of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintRule {
    /// No other row has them.
    Unique,
    /// This table has a row with the value as its id; the second text is its resource.
    Exists(&'static str, &'static str),
    /// Of a resource that others refer to: no row of the constraint's table, which holds the
    /// resource that is named, has the id in its column.
    Unused {
        /// The resource that refers, as a sentence has it: `a post`.
        by: &'static str,
        /// Whether a deletion with `force` deletes what refers.
        forced: bool,
    },
}

impl Constraint {
    fn kind(&self) -> ConstraintKind {
        match self.rule {
            ConstraintRule::Unique => ConstraintKind::Unique,
            ConstraintRule::Exists(..) | ConstraintRule::Unused { .. } => ConstraintKind::Reference,
        }
    }

    /// Whether an error names this constraint, or could mean it.
    fn is_named(&self, kind: ConstraintKind, name: &str) -> bool {
        let columns = self.columns.iter().map(|column| format!("{}.{column}", self.table));
        let columns = columns.collect::<Vec<_>>().join(", ");
        self.kind() == kind && (name.is_empty() || name == self.name || name == columns)
    }
}

/// Values of a request that a constraint is about.
#[derive(Clone, Debug)]
pub struct ConstraintCheck {
    /// The constraint.
    pub constraint: &'static Constraint,
    /// Where the request has the values, such as `requests[3].book.category_id`.
    pub field: String,
    /// The values, one for each column of the constraint.
    pub values: Vec<Value>,
    /// The row that may have them already: the one that is changed.
    pub own: Option<Uuid>,
    /// Whether they are written only if the row `own` isn't there: an upsert's, for a field
    /// that its mask passes over.
    pub only_new: bool,
}

/// Makes of a broken constraint an error that names every value at fault. Other errors stay.
pub(crate) async fn explain(
    connection: &Connection,
    mut checks: Vec<ConstraintCheck>,
    error: StoreError,
) -> StoreError {
    let StoreError::Constraint { kind, constraint, .. } = &error else { return error };
    if !checks.iter().any(|check| check.constraint.is_named(*kind, constraint)) {
        return error;
    }
    // The database stops at the first one; the caller learns of all.
    checks.retain(|check| check.constraint.kind() == *kind);
    let is_removal = matches!(checks[0].constraint.rule, ConstraintRule::Unused { .. });
    match violations(connection, &checks).await {
        // The row that was in the way is gone: another try may succeed.
        Ok(violations) if violations.is_empty() => {
            StoreError::Conflict(DbErr::Custom("a constraint was broken and holds again".into()))
        }
        Ok(violations) if *kind == ConstraintKind::Unique => StoreError::AlreadyExists(violations),
        Ok(violations) if is_removal => StoreError::InUse(violations),
        Ok(violations) => StoreError::ReferenceNotFound(violations),
        Err(lookup) => {
            tracing::warn!(error = lookup.report(), "looking up the values at fault failed");
            error
        }
    }
}

async fn violations(
    connection: &Connection,
    checks: &[ConstraintCheck],
) -> Result<Vec<FieldViolation>, StoreError> {
    let mut holders = HashMap::new();
    for checks in checks.chunks(LOOKED_UP) {
        look_up(connection, checks, &mut holders).await?;
    }
    let mut seen = HashSet::new();
    let violations = checks.iter().filter_map(|check| {
        let holder = |table, values: &[Value]| holders.get(&key(table, values));
        let own = check.own.map(Value::from);
        let table = check.constraint.table;
        if check.only_new
            && own.as_ref().is_some_and(|own| holder(table, std::slice::from_ref(own)).is_some())
        {
            return None;
        }
        let description = match check.constraint.rule {
            ConstraintRule::Unique => {
                // Two entries of one request may collide with each other alone.
                let duplicate = !seen.insert((check.constraint.name, key(table, &check.values)));
                let other = holder(table, &check.values).is_some_and(|id| Some(*id) != check.own);
                (duplicate || other).then(|| "is already taken".to_owned())
            }
            ConstraintRule::Unused { by, .. } => {
                let used = holder(table, &check.values).is_some();
                used.then(|| format!("is still referred to by {by}"))
            }
            ConstraintRule::Exists(table, resource) => {
                let missing = holder(table, &check.values).is_none();
                missing.then(|| format!("names no {resource} that exists"))
            }
        };
        description.map(|description| FieldViolation::new(&*check.field, description))
    });
    Ok(violations.collect())
}

/// Values of a table, as text: those of unlike types never meet in one column.
type Key = (&'static str, String);

fn key(table: &'static str, values: &[Value]) -> Key {
    (table, format!("{values:?}"))
}

/// Notes which row has the values of each check: one statement for each table
/// and set of columns.
async fn look_up(
    connection: &Connection,
    checks: &[ConstraintCheck],
    holders: &mut HashMap<Key, Uuid>,
) -> Result<(), StoreError> {
    let mut wanted: HashMap<(&'static str, &'static [&'static str]), Vec<Vec<Value>>> =
        HashMap::new();
    for check in checks {
        let constraint = check.constraint;
        let columns = match constraint.rule {
            ConstraintRule::Unique | ConstraintRule::Unused { .. } => {
                (constraint.table, constraint.columns)
            }
            ConstraintRule::Exists(table, _) => (table, &["id"][..]),
        };
        wanted.entry(columns).or_default().push(check.values.clone());
        if let (true, Some(own)) = (check.only_new, check.own) {
            wanted.entry((constraint.table, &["id"])).or_default().push(vec![own.into()]);
        }
    }
    for ((table, columns), tuples) in wanted {
        let query = holding(table, columns, &tuples);
        for row in connection.query_all(&query).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            let mut values = Vec::new();
            for index in 0..columns.len() {
                // Columns under constraints that callers can break hold ids or texts.
                values.push(match row.try_get_by_index::<Uuid>(index + 1) {
                    Ok(id) => Value::from(id),
                    Err(_) => Value::from(row.try_get_by_index::<String>(index + 1)?),
                });
            }
            holders.insert(key(table, &values), id);
        }
    }
    Ok(())
}

/// The rows that hold these values, one for each: what refers to a row may be millions.
fn holding(
    table: &'static str,
    columns: &'static [&'static str],
    tuples: &[Vec<Value>],
) -> SelectStatement {
    let mut holders = tuples.iter().map(|tuple| {
        let mut one = Query::select();
        one.column(Alias::new("id")).columns(columns.iter().map(|column| Alias::new(*column)));
        one.from(Alias::new(table)).limit(1);
        for (column, value) in columns.iter().zip(tuple) {
            one.and_where(Expr::col(Alias::new(*column)).eq(value.clone()));
        }
        // SQLite takes a limit within a union only this way.
        Query::select().column(Asterisk).from_subquery(one, Alias::new("holder")).take()
    });
    let mut query = holders.next().unwrap_or_default();
    for holder in holders {
        query.union(UnionType::All, holder);
    }
    query
}
