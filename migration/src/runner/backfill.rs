//! Fills rows in batches along a key.

use std::time::Instant;

use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{Event, EventReport};
use crate::{
    revision::{Backfill, Engine},
    session::MigrationSession,
};

/// Changes the rows that need it, a batch at a time. Outside a transaction each batch commits.
pub(super) async fn run(
    session: &MigrationSession,
    revision: &str,
    backfill: &Backfill,
    report: EventReport<'_>,
) -> Result<(), DbErr> {
    let began = Instant::now();
    let Backfill { table, key, set, only, batch, pause } = backfill;
    let (table, key) = (format!("\"{table}\""), format!("\"{key}\""));
    // As a literal that fits the key's type, whatever that is.
    let literal = match session.engine() {
        Engine::Postgres => format!("quote_literal({key}::text)"),
        Engine::Sqlite => format!("quote({key})"),
    };
    let (mut rows, mut after) = (0, String::new());
    loop {
        let span = format!("({only}){after}");
        let last = format!(
            "SELECT {literal} FROM (SELECT {key} FROM {table} WHERE {span} ORDER BY {key} LIMIT {batch}) \
             AS \"batch\" ORDER BY {key} DESC LIMIT 1"
        );
        let last = Statement::from_string(session.get_database_backend(), last);
        let Some(row) = session.query_one_raw(last).await? else { return Ok(()) };
        let last: String = row.try_get_by_index(0)?;
        let update = format!("UPDATE {table} SET {set} WHERE {span} AND {key} <= {last}");
        rows += session.execute_unprepared(&update).await?.rows_affected();
        after = format!(" AND {key} > {last}");
        let revision = revision.to_owned();
        report(Event::Filled { revision, rows, elapsed: began.elapsed() });
        tokio::time::sleep(*pause).await;
    }
}
