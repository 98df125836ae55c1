//! Checks the conditions of steps.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::{
    error::{MigrationError, code},
    revision::{Engine, Question, Step},
    session::MigrationSession,
};

/// How many rows are shown.
const EXAMPLES: u32 = 3;

/// Checks those conditions of a step that can be checked now; returns whether all could be.
pub(super) async fn ask(
    session: &MigrationSession,
    revision: &str,
    step: &Step,
) -> Result<bool, MigrationError> {
    let mut all = true;
    for question in &step.questions {
        match self::one(session, question).await {
            Ok(None) => {}
            Ok(Some((rows, examples))) => {
                let (revision, claim) = (revision.to_owned(), question.claim.clone());
                return Err(MigrationError::Question { revision, claim, rows, examples });
            }
            // It concerns an object that an earlier step creates.
            Err(error) if is_not_there_yet(&error) => all = false,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// How many rows break a claim, and some of them; none if it holds.
async fn one(
    session: &MigrationSession,
    question: &Question,
) -> Result<Option<(i64, String)>, DbErr> {
    let backend = session.get_database_backend();
    let count = Statement::from_string(backend, question.count.as_str());
    let count: Option<i64> =
        session.query_one_raw(count).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    let Some(count) = count.filter(|count| *count > 0) else { return Ok(None) };
    let examples = &question.examples;
    let sql = match session.engine() {
        Engine::Postgres => format!(
            "SELECT row_to_json(examples)::text FROM ({examples} LIMIT {EXAMPLES}) AS examples"
        ),
        Engine::Sqlite => format!("SELECT * FROM ({examples} LIMIT {EXAMPLES})"),
    };
    let rows = session.query_all_raw(Statement::from_string(backend, sql)).await?;
    let texts: Vec<String> = match session.engine() {
        Engine::Postgres => rows.iter().filter_map(|row| row.try_get_by_index(0).ok()).collect(),
        Engine::Sqlite => rows.iter().map(sqlite_row).collect(),
    };
    Ok(Some((count, texts.join(", "))))
}

/// A row of SQLite as text, as far as its values have one.
fn sqlite_row(row: &QueryResult) -> String {
    let cell = |column: &String| {
        let value = row
            .try_get::<Option<String>>("", column)
            .map(|text| text.map_or_else(|| "null".to_owned(), |text| format!("{text:?}")))
            .or_else(|_| row.try_get::<i64>("", column).map(|number| number.to_string()))
            .or_else(|_| row.try_get::<f64>("", column).map(|number| number.to_string()))
            .or_else(|_| row.try_get::<Vec<u8>>("", column).map(|bytes| blob(&bytes)));
        format!("{column:?}:{}", value.unwrap_or_else(|_| "?".to_owned()))
    };
    let cells: Vec<String> = row.column_names().iter().map(cell).collect();
    format!("{{{}}}", cells.join(","))
}

/// Bytes as an SQL literal, so that the row can be found by it.
fn blob(bytes: &[u8]) -> String {
    format!("X'{}'", crate::revision::hex(bytes))
}

/// Whether a table or a column is missing. SQLite has no code of its own for it.
fn is_not_there_yet(error: &DbErr) -> bool {
    let missing = code(error).is_some_and(|code| ["42703", "42P01"].contains(&&*code));
    let message = error.to_string();
    missing || message.contains("no such column") || message.contains("no such table")
}
