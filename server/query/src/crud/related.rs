//! The texts of statements that read rows together with related ones, in one round trip.
//!
//! Two SELECTs are joined by UNION ALL: one for the rows themselves, and one for their related rows.
//! Each has NULL for the columns of the other one.

use sea_orm::{DbBackend, EntityTrait, IdenStatic, Iterable};

use crate::crud::{
    columns::{Columns, empty_literal},
    resource::Resource,
};

/// A column of a SELECT: its expression, and its name in the answer.
pub type Selected = (String, String);

/// The columns of a resource's table, whose name in the statement is `table`. Each is named as in
/// the table, behind `prefix`.
pub fn columns_of<R: Resource>(
    backend: DbBackend,
    columns: Columns,
    table: &str,
    prefix: &str,
) -> Vec<Selected> {
    let all = <R::Entity as EntityTrait>::Column::iter();
    let selected = all.map(|column| {
        let name = column.as_str();
        let is_left_out = columns == Columns::Narrow && R::LARGE.contains(&name);
        let expression = match is_left_out {
            true => empty_literal(&column, backend),
            false => format!(r#"{table}."{name}""#),
        };
        (expression, format!("{prefix}{name}"))
    });
    selected.collect()
}

/// A SELECT of these columns.
pub fn select_of(columns: &[Selected], from: &str) -> String {
    let list = columns.iter().map(|(expression, name)| format!(r#"{expression} AS "{name}""#));
    format!("SELECT {} FROM {from}", list.collect::<Vec<_>>().join(", "))
}

/// A statement that returns rows and their related rows. `key` is the expression of the id that a
/// related row belongs to, which it has as its `id`.
pub fn with_related(
    (own, from): (&[Selected], &str),
    (related, key, from_related): (&[Selected], &str, &str),
) -> String {
    let null = |(_, name): &Selected| ("NULL".to_owned(), name.clone());
    let first: Vec<_> = own.iter().cloned().chain(related.iter().map(null)).collect();
    let keyed = |column: &Selected| match column.1.as_str() {
        "id" => (key.to_owned(), column.1.clone()),
        _ => null(column),
    };
    let second: Vec<_> = own.iter().map(keyed).chain(related.iter().cloned()).collect();
    format!("{} UNION ALL {}", select_of(&first, from), select_of(&second, from_related))
}

/// The condition that a column of ids has the one that a statement is for, or one of those.
pub fn is_asked_for(backend: DbBackend, column: &str, many: bool) -> String {
    match (many, backend) {
        (false, _) => format!("{column} = $1"),
        (true, DbBackend::Postgres) => format!("{column} = ANY($1)"),
        (true, _) => format!("{column} IN (SELECT unhex(value) FROM json_each($1))"),
    }
}
