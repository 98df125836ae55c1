//! Which node answers a read. With a single node it is always that one.

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
    /// Whatever a node has, within the allowed lag.
    Eventual,
}

impl Default for Freshness {
    fn default() -> Self {
        Self::Session(None)
    }
}

/// A place in the history of the database's commits. Positions have no order of their own:
/// those of different histories can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u64);

impl Position {
    /// On PostgreSQL a log sequence number, on SQLite a count of commits.
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }

    /// Reads PostgreSQL's text form of a log sequence number: two hexadecimal halves of 32
    /// bits (PostgreSQL, 8.20. pg_lsn Type).
    pub(super) fn parse_lsn(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |text| u32::from_str_radix(text, 16).ok();
        Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn log_sequence_numbers_are_read_as_numbers() {
        let position = |text| Position::parse_lsn(text).unwrap();
        assert_eq!(position("1/A"), Position::new(0x1_0000_000A));
        assert_eq!(position("0/FFFFFFFF"), Position::new(0xFFFF_FFFF));
        for text in ["", "1", "1/", "x/1", "1/100000000"] {
            assert_eq!(Position::parse_lsn(text), None, "{text}");
        }
    }
}
