//! Resuming an import: the value of `--resume`, and the command line that is printed.

use std::{str::FromStr, time::SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

const FLAG: &str = "--resume";

/// `ID` or `ID:BATCH`, each with `@TIME` where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The import's id.
    pub id: Uuid,
    /// The first batch to send; without it all are sent.
    pub batch: Option<i64>,
    /// When that batch was first sent, or earlier.
    pub first_sent: Option<SystemTime>,
}

impl FromStr for Resume {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be ID:BATCH@TIME, as the import that stopped has printed it";
        let (text, time) = match text.split_once('@') {
            Some((text, time)) => {
                (text, Some(DateTime::parse_from_rfc3339(time).map_err(|_| wrong)?))
            }
            None => (text, None),
        };
        let (id, batch) = match text.split_once(':') {
            Some((id, batch)) => (id, Some(batch.parse().map_err(|_| wrong)?)),
            None => (text, None),
        };
        if batch.is_some_and(|batch| batch < 1) {
            return Err(wrong);
        }
        let id = Uuid::try_parse(id).map_err(|_| wrong)?;
        // The id of an import has the time of its start.
        let begun = id.get_timestamp().filter(|_| id.get_version_num() == 7);
        let begun = begun.map(|time| {
            let (seconds, nanos) = time.to_unix();
            SystemTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
        });
        let first_sent = time.map(SystemTime::from).or(begun);
        Ok(Self { id, batch, first_sent })
    }
}

/// A time to the second, as `--resume` takes it.
#[must_use]
pub fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The command line of this process, changed to resume from here.
#[must_use]
pub fn command(arguments: impl Iterator<Item = String>, place: &str) -> String {
    let mut words = Vec::new();
    let mut arguments = arguments;
    while let Some(word) = arguments.next() {
        if word == FLAG {
            arguments.next();
        } else if !word.starts_with(&format!("{FLAG}=")) {
            words.push(quoted(&word));
        }
    }
    // After `--` nothing is a flag, so `--resume` is put before it.
    let at = words.iter().position(|word| word == "import").map_or(words.len(), |at| at + 1);
    words.splice(at..at, [FLAG.to_owned(), place.to_owned()]);
    words.join(" ")
}

/// A word quoted for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_position_is_read() {
        let id = "6f1c7f2e-0d0b-4a3e-9a51-0d2b7c1e9f10";
        let read: Resume = format!("{id}:12").parse().unwrap();
        assert_eq!((read.id.to_string().as_str(), read.batch), (id, Some(12)));
        assert_eq!(id.parse::<Resume>().map(|read| read.batch), Ok(None));
        let at: Resume = format!("{id}:12@2026-11-27T01:02:03Z").parse().unwrap();
        assert_eq!(
            (at.batch, at.first_sent.map(time).as_deref()),
            (Some(12), Some("2026-11-27T01:02:03Z"))
        );
        assert_eq!(read.first_sent, None);
        let begun: Resume = "0193ade2-8000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(begun.first_sent.map(time).as_deref(), Some("2024-12-10T00:05:22Z"));
        for bad in [
            "",
            "x",
            &format!("{id}:1@"),
            &format!("{id}:1@noon"),
            ":1",
            &format!("{id}:"),
            &format!("{id}:0"),
            &format!("{id}:x"),
        ] {
            assert!(bad.parse::<Resume>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_repeated_with_the_new_position() {
        let resumed = |words: &[&str]| command(words.iter().map(|&word| word.to_owned()), "ID:7@T");
        assert_eq!(
            resumed(&["bookstore", "import", "--resume", "X:3", "my file.csv", "--null", ""]),
            "bookstore import --resume ID:7@T 'my file.csv' --null ''"
        );
        assert_eq!(
            resumed(&["bin/x", "import", "--resume=X", "--default", "author=O'Hara", "--", "-"]),
            r"bin/x import --resume ID:7@T --default 'author=O'\''Hara' -- -"
        );
    }
}
