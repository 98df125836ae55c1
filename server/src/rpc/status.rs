//! The one place that makes a [`Status`]: every error with its reason and its details.
//!
//! The error table of the contract (errors.proto) as code. No SQL text leaves.

mod of_store;

use std::{collections::HashMap, time::Duration};

use bookstore_proto::v1::ErrorReason;
use bookstore_store::Fault;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use self::of_store::store;
use super::metadata::MetadataError;

/// The domain of every reason.
const DOMAIN: &str = "bookstore";

/// When to try again after a collision; callers should add jitter of their own.
const RETRY_SOON: Duration = Duration::from_millis(100);

/// When to try again after the database could not be reached.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// The most bytes of field descriptions in one answer. HTTP/2 peers take 8 to 16 KiB of
/// trailers, and details are in them twice over as base64.
const FAULTS_SIZE: usize = 3_000;

/// The most bytes of one text in an answer: texts may quote the request, which is larger than
/// what peers take of trailers, and more than that ends their connection.
const TEXT_SIZE: usize = 500;

/// An error on its way to the caller.
#[derive(Debug)]
struct Answer {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Answer {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
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

    /// Names the fields at fault, as many as fit, and the batch entry of the first one.
    fn at(mut self, faults: &[Fault]) -> Self {
        let mut size = 0;
        for fault in faults {
            let description = cut(&fault.description);
            size += fault.field.len() + description.len();
            if size > FAULTS_SIZE {
                self = self.with("violations", faults.len());
                break;
            }
            self.details.add_bad_request_violation(&fault.field, description);
        }
        match faults.first().and_then(|fault| entry(&fault.field)) {
            Some(index) => self.with("index", index),
            None => self,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes a Status")]
    fn into_status(mut self) -> Status {
        let reason = self.reason.as_str_name().trim_start_matches("ERROR_REASON_");
        self.details.set_error_info(reason, DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

/// A text, shortened where it is too long to be told.
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

/// Fields that break the contract's rules.
pub fn invalid(faults: &[Fault]) -> Status {
    let message = match faults {
        [fault] => format!("{}: {}", fault.field, fault.description),
        [fault, ..] => {
            let more = faults.len() - 1;
            format!("{}: {} (and {more} more)", fault.field, fault.description)
        }
        [] => "the request is invalid".to_owned(),
    };
    Answer::new(Code::InvalidArgument, ErrorReason::FieldInvalid, message).at(faults).into_status()
}

/// Metadata that can't be taken.
pub fn metadata(error: &MetadataError) -> Status {
    match error {
        MetadataError::Invalid(key, told) => Answer::new(
            Code::InvalidArgument,
            ErrorReason::InvalidMetadata,
            format!("metadata {key} {told}"),
        )
        .with("key", key),
        MetadataError::NotSupported(key) => Answer::new(
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
    let message = "the deadline passed before the answer was there";
    Answer::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
}

/// The schema is older than this program needs.
pub fn schema_pending(pending: &[String]) -> Status {
    let message = "the database's schema is not migrated yet";
    Answer::new(Code::Unavailable, ErrorReason::SchemaPending, message)
        .with("pending", pending.len())
        .retry_after(RETRY_LATER)
        .into_status()
}

/// The database has not answered yet since the program started.
pub fn database_unavailable() -> Status {
    let message = "the database can't be reached";
    Answer::new(Code::Unavailable, ErrorReason::DatabaseUnavailable, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// As many calls are carried out as the service takes.
pub fn overloaded() -> Status {
    let message = "the service is busy with other calls";
    Answer::new(Code::ResourceExhausted, ErrorReason::Overloaded, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// A request larger than the service takes.
pub fn message_too_large(limit: usize) -> Status {
    let message = format!("the request is larger than {limit} bytes");
    Answer::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
        .with("limit", limit)
        .into_status()
}

/// Bytes that are no message of the method's type.
pub fn malformed_message() -> Status {
    let message = "the request can't be decoded as the method's message";
    Answer::new(Code::InvalidArgument, ErrorReason::MalformedMessage, message).into_status()
}

/// What the transport says of a request's bytes, in the contract's form; none if it is not about
/// them.
pub fn of_transport(status: &Status, path: &str, max_message_size: usize) -> Option<Status> {
    let told = status.message();
    match status.code() {
        Code::Unimplemented if told.contains("compressed") => Some(encoding_not_supported(told)),
        Code::Unimplemented => Some(method_not_found(path)),
        // Too large: OUT_OF_RANGE as it came in, RESOURCE_EXHAUSTED once decompressed.
        Code::OutOfRange | Code::ResourceExhausted => Some(message_too_large(max_message_size)),
        // tonic's word for bytes that it can't read.
        Code::Internal => Some(malformed_message()),
        // It was done, or the caller has left in the middle of its request.
        _ => None,
    }
}

/// The service is about to stop.
pub fn shutting_down() -> Status {
    let message = "the service is about to stop; go on with another instance";
    Answer::new(Code::Unavailable, ErrorReason::ShuttingDown, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// A message of an import that can't stand where it came; the text says why.
pub fn import_out_of_order(told: &str) -> Status {
    Answer::new(Code::InvalidArgument, ErrorReason::ImportOutOfOrder, told).into_status()
}

/// An import that isn't whole; the text says why.
pub fn import_incomplete(told: &str) -> Status {
    Answer::new(Code::InvalidArgument, ErrorReason::ImportIncomplete, told).into_status()
}

/// A method that isn't there.
pub fn method_not_found(path: &str) -> Status {
    let message = "the service has no such method";
    Answer::new(Code::Unimplemented, ErrorReason::MethodNotFound, message)
        .with("method", path)
        .into_status()
}

/// A compression that the service doesn't know; the message says which.
pub fn encoding_not_supported(told: &str) -> Status {
    Answer::new(Code::Unimplemented, ErrorReason::MetadataNotSupported, told)
        .with("key", "grpc-encoding")
        .into_status()
}

/// A name that health checks don't know (gRPC Health Checking Protocol).
pub fn unknown_health_name(name: &str) -> Status {
    let message = format!("no health is known of {name:?}");
    Answer::new(Code::NotFound, ErrorReason::ResourceNotFound, message)
        .with("name", name)
        .into_status()
}

/// A fault of the service. The cause goes to the log, the request id to the caller.
pub fn internal(cause: &dyn std::fmt::Display, request_id: &str) -> Status {
    tracing::error!(%cause, "internal error");
    Answer::new(Code::Internal, ErrorReason::Internal, "internal error")
        .with("request_id", request_id)
        .into_status()
}
