//! The calls that write and read the sample rows.

use bookstore_store::Deadline;
use tonic::{Code, Request, Status};

use crate::{
    budget,
    rpc::{
        calls::Calls,
        consistency::Consistency,
        context::{AnswerCell, RequestContext},
        request::{ReadRequest, WriteRequest},
        session::SessionCell,
    },
    security::audit::PeerAddress,
};

/// Writes the rows.
pub(super) struct Loader<'a> {
    pub(super) calls: &'a Calls,
    /// Whether an earlier load has begun.
    pub(super) is_begun: bool,
}

impl Loader<'_> {
    /// Makes a call. Where an earlier load has begun, or another program loads at the same time, rows
    /// may exist, and a caller may have changed or deleted others: rows that conflict are skipped.
    pub(super) async fn write<R: WriteRequest>(&self, message: R) -> Result<(), Status> {
        match self.calls.write(request(message)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status)
                if self.is_begun
                    && matches!(status.code(), Code::NotFound | Code::FailedPrecondition) =>
            {
                tracing::warn!("a row of the sample data was skipped: {}", status.message());
                Ok(())
            }
            Err(status) => Err(status),
        }
    }
}

/// Whether a row exists.
pub(super) async fn exists<R: ReadRequest>(calls: &Calls, message: R) -> Result<bool, Status> {
    match calls.read(request(message)).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}

/// A request of the program's own. It doesn't pass the layers.
pub(super) fn request<R>(message: R) -> Request<R> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(RequestContext {
        method: "sample-data",
        request_id: "sample-data".into(),
        deadline: Deadline::NONE,
        consistency: Consistency::Strong,
        consistency_token: None,
        session: SessionCell::default(),
        budget: budget::unbounded(),
        principal: None,
        peer: PeerAddress::Unknown,
        stream_access: None,
        control: None,
        idempotency: None,
        validate_only: false,
        repeated: false,
        field_mask: None,
        answer: AnswerCell::default(),
    });
    request
}
