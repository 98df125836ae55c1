//! The reader of SQLite: the texts of sqlite_schema, the only source of CHECKs, collations, partial
//! indexes and triggers. No PRAGMA shows a CHECK.

mod columns;
mod constraint;
mod cursor;
mod index;
mod table;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Catalog, ObjectKey};
use crate::{bookkeeping, expression::Engine};

/// Every object with its text, but those of SQLite itself, those that a key makes, and the
/// tables that a virtual table keeps for itself.
const OBJECTS: &str = "\
    SELECT type, name, tbl_name, sql FROM sqlite_schema \
    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') \
    ORDER BY type DESC, name";

/// Reads the schema `main`.
///
/// # Errors
/// What the database answers.
pub(super) async fn read<C: ConnectionTrait>(connection: &C) -> Result<Catalog, DbErr> {
    let rows = connection.query_all_raw(Statement::from_string(DbBackend::Sqlite, OBJECTS)).await?;
    let mut catalog = Catalog::new(Engine::Sqlite);
    for row in rows {
        let cell = |at: usize| row.try_get_by_index::<String>(at);
        let (kind, name, owner, sql) = (cell(0)?, cell(1)?, cell(2)?, cell(3)?);
        if !bookkeeping::TABLES.contains(&owner.as_str()) {
            add(&mut catalog, &kind, &name, &owner, &sql);
        }
    }
    Ok(catalog)
}

/// Parses the text of one object.
pub(super) fn add(catalog: &mut Catalog, kind: &str, name: &str, owner: &str, sql: &str) {
    let (name, owner) = (name.to_lowercase(), owner.to_lowercase());
    match kind {
        "table" => table::add(catalog, &name, sql),
        "index" => index::add(catalog, &owner, &name, sql),
        "trigger" => code(catalog, &ObjectKey::new("trigger", &owner, &name), sql),
        _ => code(catalog, &ObjectKey::new(kind, "", &name), sql),
    }
}

/// An object whose text is all that is known of it.
fn code(catalog: &mut Catalog, key: &ObjectKey, sql: &str) {
    catalog.set(key, "definition", sql);
    catalog.set(key, "sql", sql);
}
