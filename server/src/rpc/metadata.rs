//! Reads a call's metadata. What is malformed is refused; so is what this version doesn't do.

use std::time::Duration;

use http::HeaderMap;
use uuid::Uuid;

use crate::store::{Deadline, Freshness};

/// Metadata that can't be taken; both name the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Its value is none of those it may have; the second text says which.
    Invalid(&'static str, String),
    /// It asks for something that this version doesn't do.
    NotSupported(&'static str),
}

/// What metadata says of a call, beside its request id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// From `grpc-timeout`.
    pub deadline: Deadline,
    /// From `consistency`.
    pub freshness: Freshness,
    /// From `idempotency-key`.
    pub idempotency: Option<Uuid>,
    /// From `validate-only`.
    pub validate_only: bool,
}

/// The greatest length of a request id.
const REQUEST_ID_LENGTH: usize = 128;

/// The caller's request id: 1 to 128 visible ASCII characters. One is made if it is absent.
///
/// # Errors
/// If it has another form.
pub fn request_id(headers: &HeaderMap) -> Result<String, MetadataError> {
    let Some(value) = one(headers, "request-id")? else { return Ok(Uuid::now_v7().to_string()) };
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    match visible && (1..=REQUEST_ID_LENGTH).contains(&value.len()) {
        true => Ok(value.to_owned()),
        false => Err(MetadataError::Invalid(
            "request-id",
            "must be 1 to 128 visible ASCII characters".into(),
        )),
    }
}

/// The trace id of a `traceparent` (W3C Trace Context, 3.2). A malformed one starts a new
/// trace, as that specification demands.
pub fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let whole = version != "00" || parts.next().is_none();
    let valid = hex(version, 2)
        && version != "ff"
        && whole
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && trace.bytes().any(|byte| byte != b'0')
        && parent.bytes().any(|byte| byte != b'0');
    valid.then(|| trace.to_owned())
}

/// Everything else.
///
/// # Errors
/// The first key that can't be taken.
pub fn wishes(headers: &HeaderMap) -> Result<Wishes, MetadataError> {
    let deadline = match one(headers, "grpc-timeout")? {
        None => Deadline::NONE,
        Some(text) => Deadline::after(timeout(text).ok_or_else(|| {
            MetadataError::Invalid(
                "grpc-timeout",
                "must be at most 8 digits and one of H, M, S, m, u, n".into(),
            )
        })?),
    };
    let freshness = match one(headers, "consistency")? {
        None | Some("session") => Freshness::Session(None),
        Some("strong") => Freshness::Strong,
        Some("eventual") => Freshness::Eventual,
        Some("at-least") => return Err(MetadataError::NotSupported("consistency")),
        Some(_) => {
            let told = "must be session, strong, eventual or at-least";
            return Err(MetadataError::Invalid("consistency", told.into()));
        }
    };
    let idempotency = match one(headers, "idempotency-key")? {
        None => None,
        Some(text) => Some(
            Uuid::try_parse(text)
                .map_err(|_| MetadataError::Invalid("idempotency-key", "must be a UUID".into()))?,
        ),
    };
    let validate_only = match one(headers, "validate-only")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(MetadataError::Invalid("validate-only", "must be true or false".into()));
        }
    };
    for key in ["consistency-token", "field-mask", "authorization"] {
        if headers.contains_key(key) {
            return Err(MetadataError::NotSupported(key));
        }
    }
    Ok(Wishes { deadline, freshness, idempotency, validate_only })
}

/// A key's only value.
fn one<'a>(headers: &'a HeaderMap, key: &'static str) -> Result<Option<&'a str>, MetadataError> {
    let mut values = headers.get_all(key).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(MetadataError::Invalid(key, "must stand once".into()));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| MetadataError::Invalid(key, "must be ASCII".into()))
}

/// A timeout as gRPC writes it (PROTOCOL-HTTP2, Timeout).
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(key: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(key), value.parse().unwrap())])
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, millis) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("4m", 4)] {
            assert_eq!(timeout(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", " 1S", "1ü"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_as_none() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(trace_id(&headers("traceparent", &good)).as_deref(), Some(trace));
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-00"),
            &good.replace("00-", "ff-"),
            &good.replace(trace, &"0".repeat(32)),
        ] {
            assert_eq!(trace_id(&headers("traceparent", bad)), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_refused() {
        for (key, value) in [
            ("consistency", "at-least"),
            ("consistency-token", "x"),
            ("field-mask", "title"),
            ("authorization", "Bearer x"),
        ] {
            let refused = wishes(&headers(key, value));
            assert_eq!(refused, Err(MetadataError::NotSupported(key)));
        }
        let wished = wishes(&headers("validate-only", "true")).unwrap();
        assert_eq!((wished.validate_only, wished.idempotency), (true, None));
        let key = "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e";
        let wished = wishes(&headers("idempotency-key", key)).unwrap();
        assert_eq!((wished.validate_only, wished.idempotency), (false, key.parse().ok()));
    }

    #[test]
    fn malformed_values_are_refused_by_their_key() {
        for (key, value) in [
            ("grpc-timeout", "soon"),
            ("consistency", "maybe"),
            ("idempotency-key", "x"),
            ("validate-only", "yes"),
        ] {
            assert!(
                matches!(wishes(&headers(key, value)), Err(MetadataError::Invalid(k, _)) if k == key),
                "{key}"
            );
        }
    }
}
