//! Carries calls out: check the request, read or write, answer. Handlers call this.

use std::{sync::Arc, time::Instant};

use prost::Name;
use sea_orm::IsolationLevel;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{
    check::Check,
    context::RequestContext,
    request::{Checked, ReadRequest, WriteRequest},
    rules::Rules,
    status,
};
use crate::store::{Call, Query, Store};

/// What every handler needs. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    store: Store,
    rules: Rules,
    max_message_size: usize,
}

impl Calls {
    /// `max_message_size` bounds requests and answers, in bytes.
    pub fn new(store: Store, rules: Rules, max_message_size: usize) -> Self {
        Self(Arc::new(Inner { store, rules, max_message_size }))
    }

    /// The most that a request or an answer may be, in bytes.
    pub fn max_message_size(&self) -> usize {
        self.0.max_message_size
    }

    /// Answers a reading request.
    ///
    /// # Errors
    /// As the contract says of its method.
    pub async fn read<R: ReadRequest>(
        &self,
        request: Request<R>,
    ) -> Result<Response<R::Answer>, Status> {
        let context = context(&request)?;
        let checked = self.prepare_read(request.into_inner())?;
        let span = tracing::info_span!("operation", operation = R::Query::NAME);
        let began = Instant::now();
        let read = async {
            let connection = self.0.store.reader(context.freshness, context.deadline).await?;
            let read = checked.read(&connection).await;
            context.answer.note_read(connection.node(), began.elapsed());
            drop(connection);
            checked.answer(read?).await
        };
        match read.instrument(span).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error) => Err(status::store(&error, &context.request_id)),
        }
    }

    /// Carries a writing request out.
    ///
    /// # Errors
    /// As the contract says of its method.
    pub async fn write<R: WriteRequest>(
        &self,
        request: Request<R>,
    ) -> Result<Response<R::Answer>, Status> {
        let context = context(&request)?;
        let write = self.prepare_write(request.into_inner())?;
        let call = Call {
            method: context.method,
            principal: context.principal,
            deadline: context.deadline,
            isolation: IsolationLevel::ReadCommitted,
            idempotency: context.idempotency,
            validate_only: context.validate_only,
        };
        let began = Instant::now();
        match self.0.store.run(call, Box::new(write)).await {
            Ok(committed) => {
                context.answer.note_write(&committed, began.elapsed());
                let answer = decode(&committed.answer, &context.request_id)?;
                Ok(Response::new(answer))
            }
            Err(error) => Err(status::store(&error, &context.request_id)),
        }
    }

    pub(super) fn prepare_read<R: ReadRequest>(
        &self,
        request: R,
    ) -> Result<Checked<R, R::Query>, Status> {
        let query = self.checked(request, R::query)?;
        Ok(Checked::new(query, self.0.max_message_size))
    }

    pub(super) fn prepare_write<R: WriteRequest>(
        &self,
        request: R,
    ) -> Result<Checked<R, R::Operation>, Status> {
        let operation = self.checked(request, R::operation)?;
        Ok(Checked::new(operation, self.0.max_message_size))
    }

    /// Holds a request against the contract's rules and its own checks, and tells all faults
    /// together.
    fn checked<R: prost_reflect::ReflectMessage, T>(
        &self,
        request: R,
        convert: impl FnOnce(R, &mut Check<'_>) -> Option<T>,
    ) -> Result<T, Status> {
        let Some(key) = self.0.store.sealing_key() else {
            return Err(status::schema_pending(&[]));
        };
        let faults = self.0.rules.faults(&request).map_err(|faults| status::invalid(&faults))?;
        let mut check = Check::new(&key, self.0.max_message_size, faults);
        let checked = convert(request, &mut check);
        let faults = check.into_faults();
        match checked {
            Some(checked) if faults.is_empty() => Ok(checked),
            _ => Err(status::invalid(&faults)),
        }
    }
}

fn decode<A: Name + Default>(answer: &[u8], request_id: &str) -> Result<A, Status> {
    A::decode(answer).map_err(|error| status::internal(&error, request_id))
}

/// What the layers have read of the call.
fn context<R>(request: &Request<R>) -> Result<RequestContext, Status> {
    let context = request.extensions().get::<RequestContext>().cloned();
    context.ok_or_else(|| status::internal(&"a call came past the layers", ""))
}
