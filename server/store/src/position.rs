//! What a read must see, and places in the history of commits.

/// How fresh the node must be that answers a read. Said at every call site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything committed before the read began.
    Strong,
    /// Everything that the same client connection has written or read; none if it is not
    /// known to have done either.
    Session(Option<Position>),
    /// Everything up to a position.
    AtLeast(Position),
    /// Everything up to two of them, which may be of different histories.
    Both(Position, Position),
    /// Whatever a node has, within the allowed lag.
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
        let (one, other) = match self {
            Self::Strong | Self::Eventual => (None, None),
            Self::Session(position) => (position, None),
            Self::AtLeast(position) => (Some(position), None),
            Self::Both(one, other) => (Some(one), Some(other)),
        };
        one.into_iter().chain(other)
    }
}

/// A place in the history of the database's commits. Positions have no order of their own:
/// those of different histories can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which cluster's history: PostgreSQL's system identifier, on SQLite 0.
    pub system: u64,
    /// Which branch of it: each promotion begins another one. On SQLite 0.
    pub timeline: u32,
    /// On PostgreSQL a log sequence number, on SQLite a count of commits.
    pub number: u64,
}

/// Asks a session of PostgreSQL for its position, in a statement of its own or in another's
/// list: whatever that has seen is covered.
///
/// On a primary it is what is flushed, since a commit is seen only after that; the insert
/// position without synchronous commits (PostgreSQL, 20.5). On a replica it is what is replayed,
/// beside what is received and the timeline of that. The parts are evaluated from left to right.
pub(crate) const POSITION: &str = "\
    SELECT CASE WHEN pg_is_in_recovery() \
    THEN coalesce(pg_last_wal_replay_lsn()::text, '') || ' ' \
    || coalesce(pg_last_wal_receive_lsn()::text, '') || ' ' \
    || coalesce((SELECT received_tli::text FROM pg_stat_get_wal_receiver()), '') \
    ELSE (CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() \
    ELSE pg_current_wal_flush_lsn() END)::text || ' primary ' \
    || left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

impl Position {
    /// A position in a SQLite database, where every one is always seen.
    pub(crate) fn of_sqlite(commits: u64) -> Self {
        Self { system: 0, timeline: 0, number: commits }
    }

    /// Reads what [`POSITION`] answers. `timeline` is taken where a replica receives none.
    pub(crate) fn parse(system: u64, timeline: u32, text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (lsn, received, branch) = (parts.next()?, parts.next()?, parts.next()?);
        let number = parse_lsn(lsn)?;
        if received == "primary" {
            let timeline = u32::from_str_radix(branch, 16).ok()?;
            return Some(Self { system, timeline, number });
        }
        // A record is seen a moment before it counts as replayed. Where one may be under way, the
        // place is the one behind it: its end lies at least a byte further on.
        let under_way = parse_lsn(received).is_some_and(|received| received > number);
        let timeline = branch.parse().unwrap_or(timeline);
        Some(Self { system, timeline, number: number + u64::from(under_way) })
    }

    /// The same on this branch, where its node told none.
    pub(crate) fn on(self, timeline: u32) -> Self {
        match self.timeline {
            0 => Self { timeline, ..self },
            _ => self,
        }
    }

    /// The later of two positions of a session: a promotion's come after those before it.
    pub fn later(self, other: Self) -> Self {
        let key = |position: Self| (position.timeline, position.number);
        if key(other) > key(self) { other } else { self }
    }
}

/// Reads PostgreSQL's text form of a log sequence number: two hexadecimal halves of 32
/// bits (PostgreSQL, 8.20. pg_lsn Type).
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
    fn positions_are_read_as_nodes_tell_them() {
        let read = |text| Position::parse(7, 1, text).map(|it| (it.system, it.timeline, it.number));
        assert_eq!(read("0/20 primary 0000000B"), Some((7, 11, 0x20)));
        assert_eq!(read("0/20 0/20 3"), Some((7, 3, 0x20)));
        assert_eq!(read("0/20 0/30 3"), Some((7, 3, 0x21)), "a record may be under way");
        assert_eq!(read("0/20  "), Some((7, 1, 0x20)), "nothing is received");
        assert_eq!(read(" 0/20 3"), None, "nothing is replayed");
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
