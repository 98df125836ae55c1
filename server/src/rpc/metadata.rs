//! Reads a call's metadata. Malformed metadata is refused, and so is metadata that this version
//! doesn't support.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_store::Deadline;
use http::{HeaderMap, HeaderName};
use rand::RngCore;
use uuid::Uuid;

use super::{
    answer_mask::AnswerMask, consistency::Consistency, metadata_error::MetadataError,
    method::Method,
};

/// The options of a call in its metadata, without its request id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    /// From `grpc-timeout`.
    pub deadline: Deadline,
    /// From `consistency`.
    pub consistency: Option<Consistency>,
    /// From `consistency-token`.
    pub consistency_token: Option<String>,
    /// From `idempotency-key`.
    pub idempotency: Option<Uuid>,
    /// From `validate-only`.
    pub validate_only: bool,
    /// From `grpc-previous-rpc-attempts` (gRFC A6): how often the caller's library has sent the
    /// call before.
    pub previous_attempts: u32,
}

/// The key that a gRPC library sends with a retried call.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// The key of a call's request id.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The key of a sealed position.
pub static CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");

/// The greatest length of a request id.
const REQUEST_ID_LENGTH: usize = 128;

/// The caller's request id: 1 to 128 visible ASCII characters. One is made if it is absent.
///
/// # Errors
/// If it has another form.
pub fn request_id(headers: &HeaderMap) -> Result<Arc<str>, MetadataError> {
    let Some(value) = one(headers, "request-id")? else { return Ok(new_request_id()) };
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    match visible && (1..=REQUEST_ID_LENGTH).contains(&value.len()) {
        true => Ok(value.into()),
        false => Err(MetadataError::Invalid(
            "request-id",
            "must be 1 to 128 visible ASCII characters".into(),
        )),
    }
}

/// A request id for a call without one: a UUID of version 7. Its random bits come from the thread's
/// generator, since the system's costs a system call.
pub fn new_request_id() -> Arc<str> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
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

/// Reads all other options.
///
/// # Errors
/// The first key that can't be taken.
pub fn request_options(headers: &HeaderMap) -> Result<RequestOptions, MetadataError> {
    let deadline = match one(headers, "grpc-timeout")? {
        None => Deadline::NONE,
        Some(text) => Deadline::after(timeout(text).ok_or_else(|| {
            MetadataError::Invalid(
                "grpc-timeout",
                "must be at most 8 digits and one of H, M, S, m, u, n".into(),
            )
        })?),
    };
    let consistency_token = one(headers, "consistency-token")?.map(str::to_owned);
    let consistency = match one(headers, "consistency")? {
        None => None,
        Some("session") => Some(Consistency::Session),
        Some("strong") => Some(Consistency::Strong),
        Some("eventual") => Some(Consistency::Eventual),
        Some("at-least") if consistency_token.is_none() => {
            let message = "must stand beside a consistency-token to be at-least";
            return Err(MetadataError::Invalid("consistency", message.into()));
        }
        Some("at-least") => Some(Consistency::AtLeast),
        Some(_) => {
            let message = "must be session, strong, eventual or at-least";
            return Err(MetadataError::Invalid("consistency", message.into()));
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
    let previous_attempts = match one(headers, PREVIOUS_ATTEMPTS)? {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| MetadataError::Invalid(PREVIOUS_ATTEMPTS, "must be a number".into()))?,
    };
    Ok(RequestOptions {
        deadline,
        consistency,
        consistency_token,
        idempotency,
        validate_only,
        previous_attempts,
    })
}

/// The fields of a method's answer that the caller asks for; none is all of them. None also for an
/// unknown method.
///
/// # Errors
/// If a path isn't in the answer, and for methods that stream.
pub fn field_mask(
    headers: &HeaderMap,
    method: Option<&Method>,
) -> Result<Option<AnswerMask>, MetadataError> {
    const KEY: &str = "field-mask";
    let (Some(text), Some(method)) = (one(headers, KEY)?, method) else { return Ok(None) };
    let answer = DESCRIPTOR_POOL.get_message_by_name(&method.answer);
    match answer.filter(|_| method.unary) {
        Some(answer) => {
            let mask = AnswerMask::parse(text, &answer);
            mask.map_err(|message| MetadataError::Invalid(KEY, message))
        }
        None => Err(MetadataError::NotSupported(KEY)),
    }
}

/// A key's only value.
fn one<'a>(headers: &'a HeaderMap, key: &'static str) -> Result<Option<&'a str>, MetadataError> {
    // There are few: to compare them costs less than to hash the key.
    let mut values = headers.iter().filter(|(name, _)| name.as_str() == key).map(|(_, it)| it);
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
    use bookstore_proto::v1::{DeleteBookRequest, GetBookRequest};

    use super::*;
    use crate::rpc::registry::Registry;

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
    fn a_malformed_traceparent_is_ignored() {
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
    fn options_are_read() {
        let options = request_options(&headers("validate-only", "true")).unwrap();
        assert_eq!((options.validate_only, options.idempotency), (true, None));
        let key = "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e";
        let options = request_options(&headers("idempotency-key", key)).unwrap();
        assert_eq!((options.validate_only, options.idempotency), (false, key.parse().ok()));
    }

    #[test]
    fn a_field_mask_is_read_against_the_answer() {
        let mut registry = Registry::default();
        registry.direct::<GetBookRequest>();
        registry.direct::<DeleteBookRequest>();
        let mask =
            |path: &str, value: &str| field_mask(&headers("field-mask", value), registry.at(path));
        let (get, delete) =
            ("/bookstore.v1.BookService/GetBook", "/bookstore.v1.BookService/DeleteBook");
        assert!(matches!(mask(get, "title,price.units"), Ok(Some(_))));
        assert_eq!(mask(get, "*"), Ok(None));
        assert_eq!(mask(delete, "*"), Ok(None));
        assert_eq!(mask("/nothing", "x"), Ok(None));
        assert_eq!(field_mask(&HeaderMap::new(), registry.at(get)), Ok(None));
        for (path, value, message) in [
            (get, "", "separated by commas"),
            (get, "isbn", "`isbn`, which isn't in Book: there are id, title,"),
            (delete, "id", "`id`, which isn't in Empty: there is nothing but `*`"),
        ] {
            let refused = mask(path, value);
            let tells = |error: &MetadataError| match error {
                MetadataError::Invalid("field-mask", refused) => refused.contains(message),
                _ => false,
            };
            assert!(refused.as_ref().is_err_and(tells), "{path} {value}: {refused:?}");
        }
        let mut twice = headers("field-mask", "title");
        twice.append("field-mask", "title".parse().unwrap());
        let refused = field_mask(&twice, registry.at(get));
        assert_eq!(refused, Err(MetadataError::Invalid("field-mask", "must stand once".into())));
    }

    #[test]
    fn malformed_values_are_refused_by_their_key() {
        for (key, value) in [
            ("grpc-timeout", "soon"),
            ("consistency", "maybe"),
            ("consistency", "at-least"),
            ("idempotency-key", "x"),
            ("validate-only", "yes"),
            (PREVIOUS_ATTEMPTS, "-1"),
        ] {
            assert!(
                matches!(request_options(&headers(key, value)), Err(MetadataError::Invalid(k, _)) if k == key),
                "{key}"
            );
        }
    }
}
