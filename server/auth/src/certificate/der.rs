//! Reads DER, the encoding of certificates (X.690, 8 and 10).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The tags of the two forms of time (RFC 5280, 4.1.2.5).
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads values one after the other. Every method returns none for malformed bytes.
#[derive(Clone, Copy)]
pub(super) struct DerReader<'a> {
    rest: &'a [u8],
}

impl<'a> DerReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the next value is a time.
    pub(super) fn is_time(&self) -> bool {
        matches!(self.rest.first(), Some(&(UTC_TIME | GENERALIZED_TIME)))
    }

    /// The next value with its tag.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.rest.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            // The length in 1 to 4 bytes.
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((*tag, content))
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The same as a reader.
    pub(super) fn nested(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(Self::new)
    }

    /// The same, of the only value.
    pub(super) fn whole(mut self, tag: u8) -> Option<Self> {
        let content = self.nested(tag)?;
        self.is_empty().then_some(content)
    }

    /// Passes over the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<()> {
        if self.rest.first() == Some(&tag) {
            self.any()?;
        }
        Some(())
    }

    /// UTCTime or GeneralizedTime, as certificates have them: in UTC, with seconds.
    pub(super) fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.any()?;
        let digits = text.strip_suffix(b"Z")?;
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at(2);
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (GENERALIZED_TIME, 14) => {
                let (year, rest) = digits.split_at(4);
                (number(year)?, rest)
            }
            _ => return None,
        };
        let mut parts = [0; 5];
        for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
            *part = number(digits)?;
        }
        let [month, day, hour, minute, second] = parts;
        let is_time = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !is_time {
            return None;
        }
        // A certificate may be valid from before 1970.
        let seconds = days(year, month, day) * 86_400 + (hour * 60 + minute) * 60 + second;
        let apart = Duration::from_secs(seconds.unsigned_abs());
        match seconds < 0 {
            true => UNIX_EPOCH.checked_sub(apart),
            false => UNIX_EPOCH.checked_add(apart),
        }
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// The days from 1970-01-01 to a date of the Gregorian calendar. March is the first month here, so
/// that the leap day is the last day of a year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let in_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year
        - 719_468
}
