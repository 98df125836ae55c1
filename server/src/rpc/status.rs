//! The one place that makes a [`Status`]: every error with its reason and its details.
//!
//! The error table of the contract (errors.proto) as code. No SQL text leaves.

pub mod access;
mod of_store;

use std::{collections::HashMap, time::Duration};

use bookstore_proto::{codec, v1::ErrorReason};
use bookstore_store::FieldViolation;
use chrono::{DateTime, SecondsFormat, Utc};
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt};

pub use self::of_store::store;
use super::{metadata_error::MetadataError, rules};

/// The metadata with the pushback: the delay before a retry (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The value that forbids a retry.
const NEVER: &str = "-1";

/// The domain of every reason.
const DOMAIN: &str = "bookstore";

/// The retry delay after a serialization failure; callers should add jitter.
const RETRY_SOON: Duration = Duration::from_millis(100);

/// The retry delay while the database can't be reached.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// The most bytes of field descriptions in one answer. HTTP/2 peers take 8 to 16 KiB of trailers,
/// and details are in them twice, as base64.
const VIOLATIONS_SIZE: usize = 3_000;

/// The most bytes of one text in an answer: texts may quote the request, which is larger than
/// what peers take of trailers, and more than that ends their connection.
const TEXT_SIZE: usize = 500;

/// An error status in the richer error model (google.rpc.Status with details).
#[derive(Debug)]
struct RichStatus {
    code: Code,
    /// `google.rpc.ErrorInfo.reason`.
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl RichStatus {
    /// An error with a reason of the contract's `ErrorReason`.
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self::because(code, reason.as_str_name().trim_start_matches("ERROR_REASON_"), message)
    }

    /// An error with a reason of a resource.
    fn because(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let (metadata, details) = (HashMap::new(), ErrorDetails::new());
        Self { code, reason, message: cut(&message.into()), metadata, details }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), cut(&value.to_string()));
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    /// Adds the field violations, as many as fit, and the batch entry of the first one.
    fn at(mut self, violations: &[FieldViolation]) -> Self {
        let mut size = 0;
        for violation in violations {
            let description = cut(&violation.description);
            size += violation.field.len() + description.len();
            if size > VIOLATIONS_SIZE {
                self = self.with("violations", violations.len());
                break;
            }
            self.details.add_bad_request_violation(&violation.field, description);
        }
        match violations.first().and_then(|violation| entry(&violation.field)) {
            Some(index) => self.with("index", index),
            None => self,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes a Status")]
    fn into_status(mut self) -> Status {
        self.details.set_error_info(self.reason, DOMAIN, self.metadata);
        let pushback = self.details.retry_info().map(|info| info.retry_delay.unwrap_or_default());
        let mut status = Status::with_error_details(self.code, self.message, self.details);
        if let Some(pushback) = pushback_text(self.code, pushback) {
            status.metadata_mut().insert(PUSHBACK, pushback);
        }
        status
    }
}

/// The pushback that tells a gRPC library whether and when to retry (gRFC A6), in milliseconds. A
/// retry policy has only codes, and a code covers both transient and permanent failures. A commit
/// with an unknown outcome has none: with its key it is retried by the policy.
fn pushback_text(code: Code, delay: Option<Duration>) -> Option<MetadataValue<Ascii>> {
    let never = [Code::Aborted, Code::ResourceExhausted, Code::Unavailable].contains(&code);
    match delay {
        Some(delay) => delay.as_millis().to_string().parse().ok(),
        None if never => Some(MetadataValue::from_static(NEVER)),
        None => None,
    }
}

/// Whether an error has a reason of the contract.
pub fn has_reason(status: &Status, reason: ErrorReason) -> bool {
    let details = status.get_error_details();
    let wanted = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    details.error_info().is_some_and(|info| info.reason == wanted)
}

/// A text, shortened to the longest that is sent.
fn cut(text: &str) -> String {
    match text.floor_char_boundary(TEXT_SIZE) {
        end if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// The index of the batch entry that a path begins with: 3 for `requests[3].book.title`.
fn entry(path: &str) -> Option<&str> {
    let (list, rest) = path.split_once('[')?;
    let (index, _) = rest.split_once(']')?;
    matches!(list, "requests" | "ids").then_some(index)
}

/// Field violations.
pub fn invalid(violations: &[FieldViolation]) -> Status {
    let message = match violations {
        [violation] => format!("{}: {}", violation.field, violation.description),
        [violation, ..] => {
            let more = violations.len() - 1;
            format!("{}: {} (and {more} more)", violation.field, violation.description)
        }
        [] => "the request is invalid".to_owned(),
    };
    RichStatus::new(Code::InvalidArgument, ErrorReason::FieldInvalid, message)
        .at(violations)
        .into_status()
}

/// Metadata that is refused.
pub fn metadata(error: &MetadataError) -> Status {
    match error {
        MetadataError::Invalid(key, message) => RichStatus::new(
            Code::InvalidArgument,
            ErrorReason::InvalidMetadata,
            format!("metadata {key} {message}"),
        )
        .with("key", key),
        MetadataError::NotSupported(key) => RichStatus::new(
            Code::Unimplemented,
            ErrorReason::MetadataNotSupported,
            format!("this version doesn't do what metadata {key} asks for"),
        )
        .with("key", key),
    }
    .into_status()
}

/// The call's deadline has passed.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed before the answer was there; a write may have happened: \
                   GetOutcome answers by its idempotency-key";
    RichStatus::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// The schema is older than this program needs.
pub fn schema_pending(pending: &[String]) -> Status {
    let message = "the database's schema is not migrated yet";
    RichStatus::new(Code::Unavailable, ErrorReason::SchemaPending, message)
        .with("pending", pending.len())
        .retry_after(RETRY_LATER)
        .into_status()
}

/// The database has not answered yet since the program started.
pub fn database_unavailable() -> Status {
    let message = "the database can't be reached";
    RichStatus::new(Code::Unavailable, ErrorReason::DatabaseUnavailable, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// The limit on calls in flight is reached.
pub fn overloaded() -> Status {
    let message = "the service is busy with other calls";
    RichStatus::new(Code::ResourceExhausted, ErrorReason::Overloaded, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// A request larger than the service takes.
pub fn message_too_large(limit: usize) -> Status {
    let message = format!("the request is larger than {limit} bytes");
    RichStatus::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
        .with("limit", limit)
        .into_status()
}

/// A request that would take more memory than one connection may have for it.
pub fn too_large_decoded(limit: usize) -> Status {
    let message = format!("the request has so many parts that it takes more than {limit} bytes");
    RichStatus::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
        .with("limit", limit)
        .into_status()
}

/// Metadata larger than the service takes.
pub fn metadata_too_large(size: usize, limit: usize) -> Status {
    let message = format!("the metadata has {size} bytes; at most {limit} are taken");
    RichStatus::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
        .with("limit", limit)
        .into_status()
}

/// Lists and other parts that the codec didn't decode because they are larger than they may be.
fn too_large(refusal: &Status) -> Status {
    invalid(&rules::field_violations(codec::violations(refusal)))
}

/// A unary call that sent a second message.
pub fn second_message() -> Status {
    let message = "the method takes one message, and more came";
    RichStatus::new(Code::InvalidArgument, ErrorReason::MalformedMessage, message).into_status()
}

/// A request that didn't come whole in time.
pub fn request_timeout(limit: Duration) -> Status {
    let message = format!("the request did not come whole within {limit:?} (request_timeout)");
    RichStatus::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// A stream whose next message didn't come in time.
pub fn stream_idle(limit: Duration) -> Status {
    let message = format!("no message came within {limit:?} (stream_idle_timeout)");
    RichStatus::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// A caller that has left; it doesn't read this.
pub fn cancelled() -> Status {
    let message = "the caller has left";
    RichStatus::new(Code::Cancelled, ErrorReason::Unspecified, message).into_status()
}

/// Bytes that are no message of the method's type.
pub fn malformed_message() -> Status {
    let message = "the request can't be decoded as the method's message";
    RichStatus::new(Code::InvalidArgument, ErrorReason::MalformedMessage, message).into_status()
}

/// A message whose flag says that it is compressed, without a `grpc-encoding` that says how (gRPC,
/// Compression).
pub fn compressed_without_encoding() -> Status {
    let message = "the message is compressed, and grpc-encoding doesn't say how";
    RichStatus::new(Code::Internal, ErrorReason::MalformedMessage, message).into_status()
}

/// The contract's form of the transport's errors about a request's bytes; none of other errors.
/// Only the code is compared: the texts are tonic's, and may change.
pub fn of_transport(
    status: &Status,
    path: &str,
    is_method: bool,
    max_message_size: usize,
) -> Option<Status> {
    // Our own, which a layer put into the body of a call that streams.
    if !status.details().is_empty() {
        return Some(status.clone());
    }
    match status.code() {
        Code::InvalidArgument => Some(too_large(status)),
        // For a known method tonic answers this only if it can't decompress the request.
        Code::Unimplemented if is_method => Some(encoding_not_supported(status.message())),
        Code::Unimplemented => Some(method_not_found(path)),
        // Too large: OUT_OF_RANGE as it came in, RESOURCE_EXHAUSTED once decompressed.
        Code::OutOfRange | Code::ResourceExhausted => Some(message_too_large(max_message_size)),
        // tonic's code for bytes that it can't decode.
        Code::Internal => Some(malformed_message()),
        // It succeeded, or the caller cancelled during its request.
        _ => None,
    }
}

/// The service is about to stop.
pub fn shutting_down() -> Status {
    let message = "the service is about to stop; go on with another instance";
    RichStatus::new(Code::Unavailable, ErrorReason::ShuttingDown, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// A message of an import that is out of order; the text says why.
pub fn import_out_of_order(message: &str) -> Status {
    RichStatus::new(Code::InvalidArgument, ErrorReason::ImportOutOfOrder, message).into_status()
}

/// An import that isn't whole; the text says why.
pub fn import_incomplete(message: &str) -> Status {
    RichStatus::new(Code::InvalidArgument, ErrorReason::ImportIncomplete, message).into_status()
}

/// An import that goes on after the keys of its batches may be gone, since this time.
pub fn import_expired(since: DateTime<Utc>) -> Status {
    let message = "the import's batches may not be known any more, and would be applied again: \
                   compare what is there, and import the rest anew";
    RichStatus::new(Code::FailedPrecondition, ErrorReason::ImportExpired, message)
        .with("expire_time", since.to_rfc3339_opts(SecondsFormat::Secs, true))
        .into_status()
}

/// A write without a key that the caller's library retries.
pub fn repeated_without_key() -> Status {
    let message = "an earlier attempt of this write may have happened, and it has no \
                   idempotency-key: it was not carried out again; read in the same session to find out";
    let answer = RichStatus::new(Code::Unknown, ErrorReason::CommitOutcomeUnknown, message);
    let mut status = answer.into_status();
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static(NEVER));
    status
}

/// A method that isn't there.
pub fn method_not_found(path: &str) -> Status {
    let message = "the service has no such method";
    RichStatus::new(Code::Unimplemented, ErrorReason::MethodNotFound, message)
        .with("method", path)
        .into_status()
}

/// A compression that the service doesn't know; the message says which.
pub fn encoding_not_supported(message: &str) -> Status {
    RichStatus::new(Code::Unimplemented, ErrorReason::MetadataNotSupported, message)
        .with("key", "grpc-encoding")
        .into_status()
}

/// An unknown name of a health check (gRPC Health Checking Protocol).
pub fn unknown_health_name(name: &str) -> Status {
    let message = format!("no health is known of {name:?}");
    RichStatus::new(Code::NotFound, ErrorReason::ResourceNotFound, message)
        .with("name", name)
        .into_status()
}

/// An error of the service. The log has the cause, the caller gets the request id.
pub fn internal(cause: &dyn std::fmt::Display, request_id: &str) -> Status {
    tracing::error!(%cause, "internal error");
    RichStatus::new(Code::Internal, ErrorReason::Internal, "internal error")
        .with("request_id", request_id)
        .into_status()
}
