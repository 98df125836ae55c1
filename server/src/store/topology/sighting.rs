//! What a node says of itself when it is looked at.

use std::time::Instant;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::store::{
    connection::Connection,
    error::StoreError,
    routing::{POSITION, Position, parse_lsn},
};

/// One look at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The cluster's system identifier.
    pub system: u64,
    /// When the server was started, in microseconds since 1970.
    pub started: i64,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// The branch of history that it is on, or on its way to.
    pub timeline: u32,
    /// What is flushed on a primary and replayed on a replica.
    pub number: u64,
    /// Whether a replica receives what is written at the moment. Without it, or without the right
    /// to know, nobody can say how far it lags.
    pub is_streaming: bool,
    /// When the question was put.
    pub at: Instant,
}

/// Looks at a node. Its control file is late after a promotion, so a primary's timeline is taken
/// from its log, and a replica's from what it receives where it receives anything.
///
/// # Errors
/// What the database answers.
pub(super) async fn look(connection: &Connection) -> Result<Sighting, StoreError> {
    let at = Instant::now();
    let sql = format!(
        "SELECT ({POSITION}), \
         coalesce((SELECT status = 'streaming' FROM pg_stat_get_wal_receiver()), false), \
         (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline) \
         FROM pg_control_checkpoint() AS c, pg_control_recovery() AS r)"
    );
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StoreError::internal("a node says nothing"))?;
    let position: String = row.try_get_by_index(0)?;
    let (is_streaming, control): (bool, i32) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let server = connection.server();
    let server = server.ok_or_else(|| StoreError::internal("a node without a server"))?;
    let strange = || StoreError::internal(format!("a node's position is {position:?}"));
    let control = u32::try_from(control).map_err(|_| strange())?;
    let told = Position::parse(server.system, 0, &position).ok_or_else(strange)?;
    let replayed = position.split(' ').next().and_then(parse_lsn).ok_or_else(strange)?;
    let is_primary = position.contains(" primary ");
    Ok(Sighting {
        system: server.system,
        started: server.started,
        is_primary,
        timeline: if is_primary { told.timeline } else { told.timeline.max(control) },
        number: replayed,
        is_streaming,
        at,
    })
}
