//! Positions in the history of commits, and how fresh a read must be.

/// How fresh the node that answers a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The node has everything that was committed before the read began.
    Strong,
    /// The node has everything that the client's session has written or read: this position. `None`
    /// if the session has none yet.
    Session(Option<Position>),
    /// The node has reached this position.
    AtLeast(Position),
    /// The node has all that these bounds ask for.
    All(Bounds),
    /// The node lags by no more than the allowed time.
    Eventual,
}

impl Default for Freshness {
    fn default() -> Self {
        Self::Session(None)
    }
}

impl Freshness {
    /// The positions that the read must see.
    pub(crate) fn bounds(self) -> impl Iterator<Item = Position> {
        let bounds = match self {
            Self::Strong | Self::Eventual => Bounds::default(),
            Self::Session(position) => Bounds::of(position),
            Self::AtLeast(position) => Bounds::of([position]),
            Self::All(bounds) => bounds,
        };
        bounds.positions.into_iter().flatten()
    }

    /// Whether only the primary may answer.
    pub(crate) fn needs_primary(self) -> bool {
        match self {
            Self::Strong => true,
            Self::All(bounds) => bounds.primary_only,
            _ => false,
        }
    }
}

/// The positions that a read must see. They may be of different timelines: one that a failover has
/// discarded is lost, however late the others are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    positions: [Option<Position>; Self::MOST],
    /// How many commits of unknown outcome the session has had since its last read.
    pub unknown_commits: u32,
    /// Whether only the primary may answer, as it alone shows whether such commits have happened.
    pub primary_only: bool,
}

impl Bounds {
    /// The most positions.
    pub const MOST: usize = 4;

    /// These positions, of which the last [`Bounds::MOST`] count.
    pub fn of(positions: impl IntoIterator<Item = Position>) -> Self {
        let mut bounds = Self::default();
        for position in positions {
            bounds.positions.rotate_left(1);
            bounds.positions[Self::MOST - 1] = Some(position);
        }
        bounds
    }

    /// Whether there is nothing that a read must see.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a position is among them.
    pub fn contains(&self, position: &Position) -> bool {
        self.positions.contains(&Some(*position))
    }
}

/// A position in the history of the database's commits. Positions implement no order, since those
/// of different clusters can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The system identifier of the PostgreSQL cluster; 0 on SQLite.
    pub system: u64,
    /// The timeline (PostgreSQL, 26.3.6. Timelines); 0 on SQLite. Each promotion begins one.
    pub timeline: u32,
    /// On PostgreSQL the log sequence number, on SQLite the number of commits.
    pub number: u64,
}

/// What [`POSITION`] answers on a primary in place of the receive position.
const PRIMARY: &str = "primary";

/// Reads the position of a session of PostgreSQL. As a column of another query it covers all that
/// the query sees.
///
/// On a primary it is the flush position and the timeline: a commit becomes visible after its flush,
/// since sessions commit synchronously, whatever their role sets (PostgreSQL, 20.5. Write Ahead
/// Log). On a replica it is the replay position, the receive position and the received timeline.
/// PostgreSQL evaluates the parts from left to right.
pub(crate) const POSITION: &str = "\
    SELECT CASE WHEN pg_is_in_recovery() \
    THEN coalesce(pg_last_wal_replay_lsn()::text, '') || ' ' \
    || coalesce(pg_last_wal_receive_lsn()::text, '') || ' ' \
    || coalesce((SELECT received_tli::text FROM pg_stat_get_wal_receiver()), '') \
    ELSE pg_current_wal_flush_lsn()::text || ' primary ' \
    || left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

/// One more column of a query that reads a position: whether commits wait for no replica.
pub(crate) const IS_ASYNCHRONOUS: &str =
    "(current_setting('synchronous_standby_names') = '')::text";

/// Reads the flush position of a primary alone, as text. A replica answers an error.
pub(crate) const PRIMARY_LSN_TEXT: &str = "SELECT pg_current_wal_flush_lsn()::text";

/// Reads the flush position of a primary alone, as 8 bytes. A replica answers an error.
pub(crate) const PRIMARY_LSN: &str = "SELECT pg_lsn_send(pg_current_wal_flush_lsn())";

impl Position {
    /// The number of a position that is somewhere on its timeline: only the primary has it for
    /// certain.
    pub(crate) const UNKNOWN: u64 = u64::MAX;

    /// Whether the position is known no closer than by its timeline.
    pub fn is_unknown(&self) -> bool {
        self.number == Self::UNKNOWN
    }

    /// A position on SQLite, where every read sees every commit.
    pub(crate) fn of_sqlite(commits: u64) -> Self {
        Self { system: 0, timeline: 0, number: commits }
    }

    /// Parses the answer to [`POSITION`]. A replica that receives no log is on `timeline`.
    pub(crate) fn parse(system: u64, timeline: u32, text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (lsn, received, branch) = (parts.next()?, parts.next()?, parts.next()?);
        let number = parse_lsn(lsn)?;
        if received == PRIMARY {
            let timeline = u32::from_str_radix(branch, 16).ok()?;
            return Some(Self { system, timeline, number });
        }
        // A record becomes visible shortly before it counts as replayed. If there is such a
        // record, the position is behind it, at least one byte further.
        let under_way = parse_lsn(received).is_some_and(|received| received > number);
        let timeline = branch.parse().unwrap_or(timeline);
        Some(Self { system, timeline, number: number + u64::from(under_way) })
    }

    /// Whether an answer to [`POSITION`] comes from a primary.
    pub(crate) fn is_of_primary(text: &str) -> bool {
        text.split(' ').nth(1) == Some(PRIMARY)
    }

    /// The same position on this timeline, if its own is unknown.
    pub(crate) fn on(self, timeline: u32) -> Self {
        match self.timeline {
            0 => Self { timeline, ..self },
            _ => self,
        }
    }

    /// The later of two positions of a session. A newer timeline is later than an older one.
    pub fn later(self, other: Self) -> Self {
        let key = |position: Self| (position.timeline, position.number);
        if key(other) > key(self) { other } else { self }
    }
}

/// Parses a log sequence number: two hexadecimal halves of 32 bits (PostgreSQL, 8.20. pg_lsn
/// Type).
pub(crate) fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok();
    Some(u64::from(half(high)?) << 32 | u64::from(half(low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sequence_numbers_are_read_as_numbers() {
        assert_eq!(parse_lsn("1/A"), Some(0x1_0000_000A));
        assert_eq!(parse_lsn("0/FFFFFFFF"), Some(0xFFFF_FFFF));
        for text in ["", "1", "1/", "x/1", "1/100000000"] {
            assert_eq!(parse_lsn(text), None, "{text}");
        }
    }

    #[test]
    fn positions_are_read_as_nodes_report_them() {
        let read = |text| Position::parse(7, 1, text).map(|it| (it.system, it.timeline, it.number));
        assert_eq!(read("0/20 primary 0000000B"), Some((7, 11, 0x20)));
        assert_eq!(read("0/20 0/20 3"), Some((7, 3, 0x20)));
        assert_eq!(read("0/20 0/30 3"), Some((7, 3, 0x21)), "a record may be under way");
        assert_eq!(read("0/20  "), Some((7, 1, 0x20)), "nothing is received");
        assert_eq!(read(" 0/20 3"), None, "nothing is replayed");
    }

    #[test]
    fn bounds_keep_the_last_positions() {
        let at = |number| Position { system: 7, timeline: 1, number };
        assert!(Bounds::of(None).is_empty());
        let bounds = Bounds::of((1..=6).map(at));
        let kept: Vec<_> = Freshness::All(bounds).bounds().map(|it| it.number).collect();
        assert_eq!(kept, [3, 4, 5, 6]);
        assert!(bounds.contains(&at(3)) && !bounds.contains(&at(2)));
    }

    #[test]
    fn a_session_goes_forward_only() {
        let at = |timeline, number| Position { system: 7, timeline, number };
        assert_eq!(at(1, 5).later(at(1, 4)), at(1, 5));
        assert_eq!(at(1, 5).later(at(1, 6)), at(1, 6));
        assert_eq!(at(1, 5).later(at(2, 4)), at(2, 4));
        assert_eq!(at(2, 4).later(at(1, 5)), at(2, 4));
    }
}
