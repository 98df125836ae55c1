//! Metadata as HTTP/2 headers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Sets a key of a call's metadata. A value that metadata can't hold is ignored.
pub(crate) fn put(headers: &mut HeaderMap, key: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(key), value);
    }
}

/// A value of metadata that is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, key: &str) -> Option<&'a str> {
    headers.get(key)?.to_str().ok()
}

/// A timeout as gRPC writes it (PROTOCOL-HTTP2, Timeout): at most eight digits.
pub(crate) fn timeout_text(timeout: Duration) -> String {
    match timeout.as_micros() {
        micros if micros < 100_000_000 => format!("{micros}u"),
        micros if micros < 100_000_000_000 => format!("{}m", micros / 1_000),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

/// Reads such a timeout; none if it is malformed, which the service refuses.
pub(crate) fn timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_written_and_read() {
        for (millis, text) in [(5, "5000u"), (30_000, "30000000u"), (150_000, "150000m")] {
            let duration = Duration::from_millis(millis);
            assert_eq!(timeout_text(duration), text);
            assert_eq!(timeout(&HeaderValue::from_static(text)), Some(duration));
        }
        assert_eq!(timeout_text(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(timeout(&HeaderValue::from_static("5x")), None);
    }
}
