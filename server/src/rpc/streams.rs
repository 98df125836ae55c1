//! Streaming calls: checks each message and runs its reads and writes.

use std::time::Duration;

use bookstore_store::{FieldViolation, Limit, Meter, Operation};
use futures_util::FutureExt;
use prost::{Message, Name};
use prost_reflect::ReflectMessage;
use sea_orm::IsolationLevel;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

use super::{
    access,
    calls::{self, Calls},
    check::Check,
    context::RequestContext,
    metadata_error::MetadataError,
    refused::Refused,
    request::{Answered, ReadRequest},
    status,
    written::WrittenIds,
};

/// The idempotency of a write: the same key and the same request are the same write.
pub struct Once {
    /// The key.
    pub key: Uuid,
    /// The encoded request.
    pub request: Vec<u8>,
}

/// A call that streams. It ends between two messages once its deadline has passed or the
/// service is about to stop.
pub struct StreamCall {
    calls: Calls,
    context: RequestContext,
}

impl StreamCall {
    /// Starts the call.
    ///
    /// # Errors
    /// UNIMPLEMENTED for metadata that streams don't take.
    pub fn begin<T>(calls: &Calls, request: &Request<T>) -> Result<Self, Status> {
        let context = calls::context(request)?;
        let refused = if context.idempotency.is_some() {
            Some("idempotency-key")
        } else {
            context.validate_only.then_some("validate-only")
        };
        match refused {
            Some(key) => Err(status::metadata(&MetadataError::NotSupported(key))),
            None => Ok(Self { calls: calls.clone(), context }),
        }
    }

    /// The caller's next message; none once it has sent all.
    ///
    /// # Errors
    /// The reason why the call ends, or the violation of a message that can't be decoded.
    pub async fn receive<T>(&self, messages: &mut Streaming<T>) -> Result<Option<T>, Status> {
        tokio::select! {
            biased;
            ended = self.end() => Err(ended),
            message = messages.message() => message.map_err(|error| {
                let limit = self.calls.max_message_size();
                status::of_transport(&error, self.context.method, true, limit).unwrap_or(error)
            }),
        }
    }

    /// Holds a part of the call against the policy, as calls of the methods at these paths. `field` is
    /// the part's field in the message.
    ///
    /// # Errors
    /// Why the part is refused.
    pub fn judge(&self, paths: &[&str], field: &str) -> Result<(), Status> {
        let parts = paths.iter().map(|path| (*path, field.to_owned()));
        access::judge_parts(&self.context, parts)
    }

    /// How long the keys of the call's writes are kept.
    pub fn key_retention(&self) -> Duration {
        self.calls.settings().key_retention
    }

    /// Checks a message against the contract's rules and its own checks.
    ///
    /// # Errors
    /// All its violations.
    pub fn checked<M: ReflectMessage, T>(
        &self,
        message: M,
        convert: impl FnOnce(M, &mut Check<'_>) -> Option<T>,
    ) -> Result<T, Refused> {
        self.calls.checked(message, convert)
    }

    /// The violation of a list's length, for messages whose entries are checked one by one.
    pub fn violation_of_count<M: ReflectMessage + Default>(
        &self,
        field: &str,
        count: usize,
    ) -> Option<FieldViolation> {
        self.calls.violation_of_count::<M>(field, count)
    }

    /// Executes one of the call's writes once. A repetition gets the answer of the first execution.
    ///
    /// # Errors
    /// As the contract says of the method.
    pub async fn write<O, A>(
        &self,
        operation: O,
        once: &Once,
        answer: impl Fn(O::Output) -> A + Send + Sync + 'static,
    ) -> Result<A, Status>
    where
        O: Operation + 'static,
        A: Message + Name + Default + 'static,
    {
        let write = Answered::new(operation, answer, self.calls.max_message_size());
        let mut context = self.context.clone();
        context.idempotency = Some(once.key);
        let call = self.calls.call(&context, IsolationLevel::ReadCommitted, &once.request)?;
        let answer = self
            .in_time(self.calls.run(&context, call, Box::new(write), WrittenIds::default()))
            .await?;
        calls::decode(&answer, &self.context.request_id)
    }

    /// Answers one of the call's reads.
    ///
    /// # Errors
    /// The reason why the call ends, as the contract says of the method.
    pub async fn read<R: ReadRequest>(&self, request: R) -> Result<R::Answer, Status> {
        match self.end().now_or_never() {
            Some(ended) => Err(ended),
            None => {
                // What was read before is encoded.
                self.context.budget.reset();
                self.in_time(self.calls.read_for(&self.context, Limit::Statement, request)).await
            }
        }
    }

    /// Waits for work until the call's deadline. Work that is still running then is cancelled, as
    /// in a unary call.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.deadline() => Err(status::deadline_exceeded()),
        }
    }

    /// Waits until the call has to end, and returns why.
    async fn end(&self) -> Status {
        tokio::select! {
            biased;
            () = self.deadline() => status::deadline_exceeded(),
            () = self.calls.streams_end() => status::shutting_down(),
        }
    }

    async fn deadline(&self) {
        match self.context.deadline.instant() {
            Some(instant) => tokio::time::sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    }
}
