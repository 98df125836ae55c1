//! Rebuilds a table of SQLite, in the order of SQLite's page "ALTER TABLE", section 7.
//!
//! Foreign keys have to be off, or dropping the old table deletes the rows that refer to it.
//! `PRAGMA foreign_keys` does nothing inside a transaction, so that is the runner's part.

mod table;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use self::table::TableDefinition;
use crate::{
    revision::Rebuild,
    sql::{literal, quoted},
};

/// Rebuilds the table.
///
/// # Errors
/// If it can't be read, a change doesn't fit it, or what the database answers.
pub async fn perform<C: ConnectionTrait>(connection: &C, rebuild: &Rebuild) -> Result<(), DbErr> {
    let on = Statement::from_string(DbBackend::Sqlite, "PRAGMA foreign_keys");
    let on = connection.query_one_raw(on).await?.map(|row| row.try_get_by_index::<i32>(0));
    if on.transpose()? != Some(0) {
        let message = "foreign keys are on: dropping the old table would change the rows that refer \
                    to it";
        return Err(DbErr::Custom(message.to_owned()));
    }
    for statement in plan(connection, rebuild).await? {
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// The statements that rebuild the table, from its state on the connection.
///
/// # Errors
/// If the table can't be read, or a change doesn't fit it.
pub async fn plan<C: ConnectionTrait>(
    connection: &C,
    rebuild: &Rebuild,
) -> Result<Vec<String>, DbErr> {
    let name = rebuild.table.as_str();
    let refuse = |message: String| DbErr::Custom(format!("rebuilding {name}: {message}"));
    let mut text = None;
    // Dropping the table drops its indexes and its triggers, so they are created again. Those that
    // SQLite makes for keys have no text.
    let mut companions = Vec::new();
    let schema = "SELECT type, sql FROM sqlite_schema WHERE tbl_name = $1 AND sql IS NOT NULL \
                  AND type IN ('table', 'index', 'trigger') ORDER BY rowid";
    let schema = Statement::from_sql_and_values(DbBackend::Sqlite, schema, [name.into()]);
    for row in connection.query_all_raw(schema).await? {
        let (kind, sql): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        match kind.as_str() {
            "table" => text = Some(sql),
            _ => companions.push(sql),
        }
    }
    let text = text.ok_or_else(|| refuse("there is no such table".to_owned()))?;
    let old = TableDefinition::parse(&text).map_err(refuse)?;
    let mut new = old.clone();
    for change in &rebuild.changes {
        new.apply(change).map_err(refuse)?;
    }
    let temporary = format!("new_{name}");
    let (from, to) = (quoted(name), quoted(&temporary));
    let mut columns: Vec<(String, String)> = new
        .columns()
        .iter()
        .filter_map(|column| Some((quoted(&column.name), column.value.clone()?)))
        .collect();
    let loses_rowids = new.has_word("without") && new.has_word("rowid");
    if !loses_rowids && keeps_rowids(connection, name, &old).await? {
        columns.insert(0, ("rowid".to_owned(), "rowid".to_owned()));
    }
    let (targets, values): (Vec<String>, Vec<String>) = columns.into_iter().unzip();
    let mut statements = vec![
        // Triggers and views that name the table aren't changed until the table exists again.
        "PRAGMA legacy_alter_table = ON".to_owned(),
        new.create(&temporary).map_err(refuse)?,
        format!(
            "INSERT INTO {to} ({}) SELECT {} FROM {from}",
            targets.join(", "),
            values.join(", ")
        ),
    ];
    if old.has_word("autoincrement") && new.has_word("autoincrement") {
        let (old, new) = (literal(name), literal(&temporary));
        statements.push(format!("DELETE FROM sqlite_sequence WHERE name = {new}"));
        statements.push(format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT {new}, seq FROM sqlite_sequence \
             WHERE name = {old}"
        ));
    }
    statements.push(format!("DROP TABLE {from}"));
    statements.push(format!("ALTER TABLE {to} RENAME TO {from}"));
    statements.extend(companions);
    statements.push("PRAGMA legacy_alter_table = OFF".to_owned());
    Ok(statements)
}

/// The columns whose values a rebuild of a table leaves behind, as the table stands on the
/// connection; none if there is no such table.
///
/// # Errors
/// What the database answers.
pub(crate) async fn lost_columns<C: ConnectionTrait>(
    connection: &C,
    rebuild: &Rebuild,
) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = $1";
    let values = [rebuild.table.as_str().into()];
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
    let text = connection.query_one_raw(statement).await?;
    let text: Option<String> = text.map(|row| row.try_get_by_index(0)).transpose()?;
    let Some(old) = text.and_then(|text| TableDefinition::parse(&text).ok()) else {
        return Ok(Vec::new());
    };
    let mut new = old.clone();
    for change in &rebuild.changes {
        // One that doesn't fit yet is about what an earlier step will have done.
        let _ = new.apply(change);
    }
    let is_kept = |name: &str| {
        let quoted = quoted(name);
        new.columns().iter().any(|column| {
            column.name.eq_ignore_ascii_case(name) || column.value.as_deref() == Some(&quoted)
        })
    };
    let names = old.columns().iter().map(|column| column.name.clone());
    Ok(names.filter(|name| !is_kept(name)).collect())
}

/// Whether rows have a rowid that no column is: it is copied, so that what refers to rows by it
/// (a full-text index) goes on doing so.
async fn keeps_rowids<C: ConnectionTrait>(
    connection: &C,
    name: &str,
    table: &TableDefinition,
) -> Result<bool, DbErr> {
    if table.has_word("without") && table.has_word("rowid") {
        return Ok(false);
    }
    let columns = "SELECT name, type, pk FROM pragma_table_xinfo($1)";
    let columns = Statement::from_sql_and_values(DbBackend::Sqlite, columns, [name.into()]);
    let (mut key, mut is_integer) = (0, false);
    for row in connection.query_all_raw(columns).await? {
        let (column, kind): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if column.eq_ignore_ascii_case("rowid") {
            return Ok(false);
        }
        if row.try_get_by_index::<i32>(2)? > 0 {
            key += 1;
            is_integer = kind.eq_ignore_ascii_case("integer");
        }
    }
    // A single key of type INTEGER is the rowid.
    Ok(key != 1 || !is_integer)
}
