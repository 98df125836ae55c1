//! The error of a failed call.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use bookstore_proto::v1::{ErrorReason, Failure};
use prost::Message;
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{FieldViolation, PreconditionViolation, ResourceInfo, StatusExt};
use uuid::Uuid;

/// The metadata that names the attempts before the last one (gRFC A6).
pub(crate) const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// The metadata under which a write happens once.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The metadata that finds a call in the service's log.
pub(crate) const REQUEST_ID: &str = "request-id";

/// Why a call failed: `google.rpc.ErrorInfo.reason` (AIP-193).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The service refused the call or failed at it, for a reason of the contract.
    Service(ErrorReason),
    /// The service refused the call for a reason of a resource's own, such as a value of
    /// `PublisherErrorReason`, or of a newer contract: its name without the enum's prefix.
    Other(String),
    /// No answer of the service: there was no connection, it broke, or the call's deadline passed.
    Transport,
}

/// A failed call. Every `tonic::Status` that a client of this crate returns can be converted with
/// `?` or `into()`.
#[derive(Clone, Debug)]
pub struct Error(Box<Parts>);

/// What an error holds.
#[derive(Clone, Debug)]
struct Parts {
    reason: Reason,
    code: Code,
    message: String,
    metadata: HashMap<String, String>,
    field_violations: Vec<FieldViolation>,
    precondition_violations: Vec<PreconditionViolation>,
    resource: Option<ResourceInfo>,
    retry_delay: Option<Duration>,
    request_id: Option<String>,
    idempotency_key: Option<Uuid>,
    attempts: u32,
}

impl Error {
    /// Why the call failed. Programs decide by it, never by the message.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// Whether it failed for this reason of the contract.
    #[must_use]
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.0.reason == Reason::Service(reason)
    }

    /// The code of gRPC.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The metadata of `google.rpc.ErrorInfo`: `key` of wrong metadata, `index` of an entry of
    /// a batch, `status` of an order, and others that the contract names.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The fields of the request that are wrong, from `google.rpc.BadRequest`; empty if the
    /// error is about no field.
    #[must_use]
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.field_violations
    }

    /// The conditions that were not met, from `google.rpc.PreconditionFailure`.
    #[must_use]
    pub fn precondition_violations(&self) -> &[PreconditionViolation] {
        &self.0.precondition_violations
    }

    /// The resource that the error is about, from `google.rpc.ResourceInfo`: its type, such as
    /// `book`, and its id.
    #[must_use]
    pub fn resource(&self) -> Option<&ResourceInfo> {
        self.0.resource.as_ref()
    }

    /// How long to wait before the call is sent again, from `google.rpc.RetryInfo`. The client
    /// has waited and repeated already as far as its retry policy allows.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// The call's id in the service's log.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The key that the write was sent with; none of reads and streams.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<Uuid> {
        self.0.idempotency_key
    }

    /// How many attempts were made. 0 if no backend was ready.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether the same call may succeed later without a change: the connection broke, the
    /// service or its database is unavailable or overloaded, or the transaction collided with
    /// another one. A write must be sent again with the same idempotency key.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use ErrorReason as R;
        match &self.0.reason {
            // The codes of lost connections, of their calls and of deadlines.
            Reason::Transport => matches!(
                self.0.code,
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Unknown
                    | Code::Cancelled
                    | Code::Internal
            ),
            Reason::Other(_) => self.0.retry_delay.is_some() || self.0.code == Code::Unavailable,
            Reason::Service(reason) => {
                let transient = [
                    R::TransactionConflict,
                    R::LockTimeout,
                    R::DeadlineExceeded,
                    R::CommitOutcomeUnknown,
                    R::KeyInUse,
                    R::TransactionTimeout,
                    R::Overloaded,
                    R::PoolTimeout,
                    R::TransactionLimit,
                    R::DatabaseUnavailable,
                    R::SchemaPending,
                    R::ShuttingDown,
                ];
                self.0.retry_delay.is_some() || transient.contains(reason)
            }
        }
    }

    /// Whether the write may have happened although it failed. Then send it again with the same
    /// idempotency key, or ask [`Client::outcome`](crate::Client::outcome). It has no meaning for a
    /// read.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match &self.0.reason {
            Reason::Transport => self.0.attempts > 0,
            Reason::Other(_) => self.0.code == Code::Unknown,
            Reason::Service(reason) => matches!(
                reason,
                ErrorReason::DeadlineExceeded
                    | ErrorReason::CommitOutcomeUnknown
                    | ErrorReason::KeyInUse
                    | ErrorReason::Internal
            ),
        }
    }

    /// The error of a step of Transact, which has the fields of `google.rpc.Status`.
    pub(crate) fn of_step(failure: &Failure, request_id: Option<&str>) -> Self {
        let details = tonic_types::pb::Status {
            code: failure.code,
            message: failure.message.clone(),
            details: failure.details.clone(),
        };
        let details = details.encode_to_vec().into();
        let status = Status::with_details(Code::from(failure.code), &failure.message, details);
        let mut error = Self::from(status);
        error.0.request_id = request_id.map(str::to_owned);
        error
    }

    /// Notes that the call was sent, with its id.
    pub(crate) fn note_attempt(&mut self, request_id: Option<&str>) {
        self.0.attempts = self.0.attempts.max(1);
        self.0.request_id = self.0.request_id.take().or_else(|| request_id.map(str::to_owned));
    }

    /// Names the key that the write was sent with.
    pub(crate) fn with_key(mut self, key: Uuid) -> Self {
        self.0.idempotency_key = Some(key);
        self
    }

    /// A failure that the client detected.
    pub(crate) fn of_client(code: Code, message: impl Into<String>) -> Self {
        Self::from(Status::new(code, message))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = match info.map(|info| info.reason.as_str()) {
            None => Reason::Transport,
            Some(name) => match ErrorReason::from_str_name(&format!("ERROR_REASON_{name}")) {
                Some(reason) => Reason::Service(reason),
                None => Reason::Other(name.to_owned()),
            },
        };
        let source = std::error::Error::source(&status).map(ToString::to_string);
        let source = source.filter(|source| !status.message().contains(source.as_str()));
        let message = match source {
            Some(source) => format!("{} ({source})", status.message()),
            None => status.message().to_owned(),
        };
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        let unmet = details.precondition_failure().map(|failure| failure.violations.clone());
        let previous: Option<u32> = value(status.metadata(), PREVIOUS_ATTEMPTS);
        Self(Box::new(Parts {
            reason,
            code: status.code(),
            message,
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            field_violations: violations.unwrap_or_default(),
            precondition_violations: unmet.unwrap_or_default(),
            resource: details.resource_info().cloned(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            request_id: value(status.metadata(), REQUEST_ID),
            idempotency_key: value(status.metadata(), IDEMPOTENCY_KEY),
            attempts: previous.map_or(0, |previous| previous + 1),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.0.code, self.0.message)
    }
}

impl std::error::Error for Error {}

fn value<T: FromStr>(metadata: &MetadataMap, key: &str) -> Option<T> {
    metadata.get(key)?.to_str().ok()?.parse().ok()
}
