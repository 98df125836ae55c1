//! From a broken constraint to the fields of the request that broke it.
//!
//! SQLite doesn't name the foreign key that was broken, and no engine names the row of a statement
//! with many rows. So the store looks the values up after the rollback, on the same connection.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ConnectionTrait, DbErr, QueryResult, Value,
    sea_query::{Alias, Asterisk, Expr, ExprTrait, Query, SelectStatement, UnionType},
};
use uuid::Uuid;

use crate::{
    cause::ConstraintKind, error::StoreError, session::connection::Connection,
    violation::FieldViolation,
};

/// How many constraint checks one statement looks up: SQLite takes no more than 500 selects in a
/// union.
const LOOKED_UP: usize = 200;

/// A constraint of a table and the field of the resource that it is about.
#[derive(Debug)]
pub struct Constraint {
    /// Its name in the database. SQLite reports its columns instead, as `table.column`.
    pub name: &'static str,
    /// The rule that values must meet.
    pub rule: ConstraintRule,
    /// The table that has the constraint.
    pub table: &'static str,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// The field of the resource that an error names, such as `category_id`.
    pub field: &'static str,
}

/// The rule of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintRule {
    /// No other row has the same values.
    Unique,
    /// A foreign key: this table has a row with the value as its id. The second text names the
    /// resource.
    Exists(&'static str, &'static str),
    /// A foreign key seen from the table that it refers to: no row of the constraint's table has
    /// the id in its column.
    Unused {
        /// The referring resource with its article: `a post`.
        by: &'static str,
        /// Whether a deletion with `force` deletes the referring rows.
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

    /// Whether an error names this constraint, or names none.
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
    /// The row that is changed. It may have the values already.
    pub own: Option<Uuid>,
    /// Whether the values are written only if the row `own` doesn't exist. So it is for fields
    /// outside the mask of an upsert.
    pub only_new: bool,
}

/// Turns a broken constraint into an error that names every field that violates it. Returns other
/// errors as they are.
pub(crate) async fn explain(
    connection: &Connection,
    mut checks: Vec<ConstraintCheck>,
    error: StoreError,
) -> StoreError {
    let StoreError::Constraint { kind, constraint, .. } = &error else { return error };
    if !checks.iter().any(|check| check.constraint.is_named(*kind, constraint)) {
        return error;
    }
    // The database reports the first violation. The caller gets all.
    checks.retain(|check| check.constraint.kind() == *kind);
    let is_removal = matches!(checks[0].constraint.rule, ConstraintRule::Unused { .. });
    match violations(connection, &checks).await {
        // The conflicting row is gone, so another attempt may succeed.
        Ok(violations) if violations.is_empty() => {
            StoreError::Conflict(DbErr::Custom("a constraint was broken and holds again".into()))
        }
        Ok(violations) if *kind == ConstraintKind::Unique => StoreError::AlreadyExists(violations),
        Ok(violations) if is_removal => StoreError::InUse(violations),
        Ok(violations) => StoreError::ReferenceNotFound(violations),
        Err(lookup) => {
            tracing::warn!(error = lookup.report(), "explaining a broken constraint failed");
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
                // Two entries of one request may have the same values.
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

/// Values of a table, as text. All values of a column have one type.
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
        let Some(types) = tuples.first() else { continue };
        let query = holding(table, columns, &tuples);
        for row in connection.query_all(&query).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            let values = types.iter().enumerate().map(|(index, of)| of_type(of, &row, index + 1));
            let values: Vec<Value> = values.collect::<Result<_, _>>()?;
            holders.insert(key(table, &values), id);
        }
    }
    Ok(())
}

/// Reads a value of a row in the type of `of`, a value of the same column. The bytes don't tell the
/// type: SQLite's driver reads a text of 16 bytes as an id too.
fn of_type(of: &Value, row: &QueryResult, index: usize) -> Result<Value, DbErr> {
    Ok(match of {
        Value::Uuid(_) => row.try_get_by_index::<Uuid>(index)?.into(),
        Value::String(_) => row.try_get_by_index::<String>(index)?.into(),
        // Callers can break constraints on ids and texts only.
        other => return Err(DbErr::Type(format!("{other:?} under a constraint"))),
    })
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
