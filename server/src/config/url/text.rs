//! The parts of a URL as text: percent-encoding and parameters (PostgreSQL, 34.1.1.2. Connection
//! URIs; SQLite, "Uniform Resource Identifiers").

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The text before the first `mark` and the text after it.
pub(super) fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The decoded text. A `+` stays a `+`, as in libpq.
///
/// # Errors
/// If a `%` is not followed by two hexadecimal digits, or the bytes are no UTF-8 text, or one of
/// them is NUL. The error does not repeat the text.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let is_code = |code: &str| code.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !after.get(..2).is_some_and(is_code) {
            return Err("has a % without two hexadecimal digits: write %25 for a %".to_owned());
        }
        rest = after;
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "has percent-encoded bytes that are no UTF-8".to_owned())?;
    if decoded.contains('\0') {
        return Err("has a percent-encoded NUL".to_owned());
    }
    Ok(decoded.into_owned())
}

/// The text with everything encoded that could mean something in a URL.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The decoded parameters in their order.
///
/// # Errors
/// A sentence: a parameter has no value or can't be decoded. It names the parameter only if that
/// can be no part of a secret.
pub(super) fn parameters(text: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let Some((name, value)) = pair.split_once('=') else {
            return Err("has a parameter without a value: write name=value".to_owned());
        };
        let name = decode(name)?;
        let value = decode(value).map_err(|problem| format!("{problem} (in {name})"))?;
        Ok((name, value))
    };
    pairs.map(pair).collect()
}
