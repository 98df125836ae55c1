//! Etags: opaque texts that stand for one state of one row (AIP-154).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bookstore_query::crud::Expected;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The etag of a row: of its id, its version and when it was created, so that a row that was
/// deleted and created again under its id has no etag in common with the first.
pub fn write(id: Uuid, version: i64, created_at: DateTime<Utc>) -> String {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes[16..24].copy_from_slice(&version.to_be_bytes());
    bytes[24..].copy_from_slice(&created_at.timestamp_micros().to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The state that an etag asks of a row. One that was never given out for the row can't
/// match any state of it.
pub fn read(id: Uuid, text: &str) -> Expected {
    if text.is_empty() {
        return Expected::Any;
    }
    parse(id, text).map_or(Expected::Never, |(version, time)| Expected::State(version, time))
}

fn parse(id: Uuid, text: &str) -> Option<(i64, DateTime<Utc>)> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (row, state) = bytes.split_at(16);
    let (version, micros) = state.split_at(8);
    let time = DateTime::from_timestamp_micros(i64::from_be_bytes(micros.try_into().ok()?))?;
    (row == id.as_bytes()).then_some((i64::from_be_bytes(version.try_into().ok()?), time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_stands_for_one_state_of_one_row() {
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        let time = bookstore_store::now();
        let etag = write(id, 7, time);
        assert_eq!(read(id, &etag), Expected::State(7, time));
        assert_eq!(read(other, &etag), Expected::Never);
        assert_eq!(read(id, ""), Expected::Any);
        for strange in ["x", "stale", "\"", &etag[1..], &format!("{etag}A")] {
            assert_eq!(read(id, strange), Expected::Never, "{strange}");
        }
    }
}
