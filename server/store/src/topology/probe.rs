//! The result of a probe of a node.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{
    error::StoreError,
    position::{POSITION, Position, parse_lsn},
    session::{connection::Connection, settings::shared_session},
};

/// The time between two probes of a node.
pub(crate) const PERIOD: Duration = Duration::from_millis(250);

/// How long a node may take to answer a probe before it counts as gone.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads what a streaming replica knows of its primary: the position that the primary had flushed
/// when it sent its last message, and how many milliseconds ago that was. The clocks of the two may
/// differ; the older time counts.
const RECEIVED: &str = "\
    SELECT latest_end_lsn::text || ' ' || (extract(epoch FROM greatest(interval '0', \
    clock_timestamp() - last_msg_receipt_time, clock_timestamp() - last_msg_send_time)) \
    * 1000)::bigint \
    FROM pg_stat_get_wal_receiver() WHERE status = 'streaming'";

/// The result of one probe of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// The cluster's system identifier.
    pub system: u64,
    /// When the server was started, in microseconds since 1970.
    pub started: i64,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// The timeline of the node, or the one that it is about to reach.
    pub timeline: u32,
    /// The log sequence number that a primary has flushed or a replica has replayed.
    pub number: u64,
    /// Whether a replica receives the log. If not, or if the database role may not see it, the
    /// lag is unknown.
    pub is_streaming: bool,
    /// The primary's position in the last message that a streaming replica has received from it,
    /// and when that came at the latest.
    pub received: Option<(u64, Instant)>,
    /// When the probe began.
    pub at: Instant,
}

impl ProbeResult {
    /// Merges the result with an earlier one of the same node. A replica that receives no log reads
    /// its timeline from its control file, which may be older than the promotions that it has
    /// followed. A running server never returns to an older timeline.
    pub(crate) fn after(self, last: Option<Self>) -> Self {
        let same = |last: &Self| last.started == self.started && !last.is_primary;
        match last.filter(same) {
            Some(last) if !self.is_primary => {
                Self { timeline: self.timeline.max(last.timeline), ..self }
            }
            _ => self,
        }
    }
}

/// Probes a node. The control file is late after a promotion. So the timeline comes from the log
/// of a primary and from the WAL receiver of a replica, if it has one.
///
/// # Errors
/// What the database answers.
pub(crate) async fn probe(connection: &Connection) -> Result<ProbeResult, StoreError> {
    let at = Instant::now();
    let sql = format!(
        "SELECT ({POSITION}), \
         coalesce((SELECT status = 'streaming' FROM pg_stat_get_wal_receiver()), false), \
         (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline) \
         FROM pg_control_checkpoint() AS c, pg_control_recovery() AS r), pg_backend_pid(), \
         ({RECEIVED})"
    );
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StoreError::internal("a node says nothing"))?;
    let position: String = row.try_get_by_index(0)?;
    let (is_streaming, control): (bool, i32) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let server = connection.server();
    let server = server.ok_or_else(|| StoreError::internal("a node without a server"))?;
    check_process(server.process, row.try_get_by_index(3)?)?;
    let received: Option<String> = row.try_get_by_index(4)?;
    let strange = || StoreError::internal(format!("a node's position is {position:?}"));
    let control = u32::try_from(control).map_err(|_| strange())?;
    let parsed = Position::parse(server.system, 0, &position).ok_or_else(strange)?;
    let replayed = position.split(' ').next().and_then(parse_lsn).ok_or_else(strange)?;
    let is_primary = position.contains(" primary ");
    Ok(ProbeResult {
        system: server.system,
        started: server.started,
        is_primary,
        timeline: if is_primary { parsed.timeline } else { parsed.timeline.max(control) },
        number: replayed,
        is_streaming,
        received: received.and_then(|text| received_at(&text, at)),
        at,
    })
}

/// Parses the answer to [`RECEIVED`] of a probe that began at `at`.
fn received_at(text: &str, at: Instant) -> Option<(u64, Instant)> {
    let (number, age_ms) = text.split_once(' ')?;
    let age = Duration::from_millis(age_ms.parse().ok()?);
    Some((parse_lsn(number)?, at.checked_sub(age)?))
}

/// Checks that a session is still the one that was opened.
///
/// # Errors
/// [`StoreError::Unsuitable`] if a pooler has changed the process that runs it.
pub(crate) fn check_process(opened: i32, now: i32) -> Result<(), StoreError> {
    if opened == now {
        return Ok(());
    }
    let sign = format!("a session went from the server's process {opened} to {now}");
    Err(StoreError::Unsuitable(shared_session(&sign)))
}

/// Whether transactions of new sessions of this role are read-only by default: as the role or the
/// database say now, or as the server's configuration does.
///
/// # Errors
/// What the database answers.
pub(crate) async fn is_read_only(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT coalesce((SELECT option_value::boolean \
               FROM pg_db_role_setting, pg_options_to_table(setconfig) \
               WHERE option_name = 'default_transaction_read_only' \
               AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
               AND setrole IN (0, session_user::regrole::oid) \
               ORDER BY setrole = 0, setdatabase = 0 LIMIT 1), \
               (SELECT reset_val = 'on' FROM pg_settings \
               WHERE name = 'default_transaction_read_only'), false)";
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = connection.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replica_has_received_is_read() {
        let at = Instant::now();
        let before = at.checked_sub(Duration::from_millis(250));
        assert_eq!(received_at("0/20 250", at), before.map(|before| (0x20, before)));
        assert_eq!(received_at("0/20 ", at), None);
        assert_eq!(received_at("250", at), None);
    }

    #[test]
    fn session_that_another_process_answers_is_refused() {
        assert!(check_process(7, 7).is_ok());
        let refusal = check_process(7, 8).expect_err("another process");
        assert!(matches!(&refusal, StoreError::Unsuitable(_)), "{refusal:?}");
        assert!(refusal.report().contains("from the server's process 7 to 8"), "{refusal:?}");
    }

    #[test]
    fn a_replica_never_goes_back_while_it_runs() {
        let seen = |started, is_primary, timeline| ProbeResult {
            system: 7,
            started,
            is_primary,
            timeline,
            number: 9,
            is_streaming: false,
            received: None,
            at: Instant::now(),
        };
        let replica = |started, timeline| seen(started, false, timeline);
        assert_eq!(replica(1, 1).after(Some(replica(1, 2))).timeline, 2);
        assert_eq!(replica(1, 3).after(Some(replica(1, 2))).timeline, 3);
        assert_eq!(replica(2, 1).after(Some(replica(1, 2))).timeline, 1, "another start");
        assert_eq!(seen(1, true, 1).after(Some(replica(1, 2))).timeline, 1, "its own word");
        assert_eq!(replica(1, 1).after(None).timeline, 1);
    }
}
