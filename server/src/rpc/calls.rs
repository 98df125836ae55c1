//! Carries calls out: check the request, read or write, answer. Handlers call this.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bookstore_proto::bounds;
use bookstore_store::{
    Attempts, Begun, Call, FieldViolation, Freshness, IdempotencyKey, LargeAnswers, Limit, Meter,
    Position, Query, Store, StoreError, Write, telemetry::traces,
};
use prost::{Message, Name};
use prost_reflect::ReflectMessage;
use sea_orm::IsolationLevel;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    answer_mask::AnswerMask,
    call_settings::CallSettings,
    check::Check,
    context::RequestContext,
    load::WAIT,
    metadata_error::MetadataError,
    refused::Refused,
    request::{Checked, ReadRequest, WriteRequest},
    rules::Rules,
    session::SessionWrite,
    status,
    written::WrittenIds,
};
use crate::budget::BudgetSide;

/// What every handler needs. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<CallsState>);

struct CallsState {
    store: Store,
    rules: Rules,
    max_message_size: usize,
    streams_end: watch::Sender<bool>,
    large_answers: OnceLock<Arc<dyn LargeAnswers>>,
    settings: OnceLock<CallSettings>,
}

impl Calls {
    /// `max_message_size` bounds requests and answers, in bytes.
    pub fn new(store: Store, rules: Rules, max_message_size: usize) -> Self {
        let streams_end = watch::Sender::new(false);
        Self(Arc::new(CallsState {
            store,
            rules,
            max_message_size,
            streams_end,
            large_answers: OnceLock::new(),
            settings: OnceLock::new(),
        }))
    }

    /// From now on large answers under idempotency keys are stored by these. Only the first ones
    /// count.
    pub fn set_large_answers(&self, large_answers: Arc<dyn LargeAnswers>) {
        self.0.large_answers.get_or_init(|| large_answers);
    }

    /// From now on these settings count. Only the first ones do.
    pub fn set_settings(&self, settings: CallSettings) {
        self.0.settings.get_or_init(|| settings);
    }

    /// The settings: the defaults unless others were set.
    pub fn settings(&self) -> CallSettings {
        self.0.settings.get().copied().unwrap_or_default()
    }

    /// The most that a request or an answer may be, in bytes.
    pub fn max_message_size(&self) -> usize {
        self.0.max_message_size
    }

    /// What seals tokens; none until the schema has been found right.
    pub fn sealing_key(&self) -> Option<[u8; 32]> {
        self.0.store.sealing_key()
    }

    /// Ends every call that streams between two of its messages: the service is about to stop.
    pub fn end_streams(&self) {
        self.0.streams_end.send_replace(true);
    }

    /// Waits until the calls that stream have to end.
    pub fn streams_end(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.0.streams_end.subscribe();
        // The waiting call holds the sender, so it can't be dropped first.
        async move { end.wait_for(|ends| *ends).await.map_or((), drop) }
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
        let answer = self.read_for(&context, Limit::Call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    /// The same, for a call that reads more than once.
    ///
    /// # Errors
    /// As the contract says of its method.
    pub(super) async fn read_for<R: ReadRequest>(
        &self,
        context: &RequestContext,
        limit: Limit,
        request: R,
    ) -> Result<R::Answer, Status> {
        let checked = self.prepare_read(request, context.caller(), context.field_mask.as_ref())?;
        let began = Instant::now();
        let token = self.position(context)?;
        let read = async {
            let (store, budget) = (&self.0.store, &context.budget);
            let mut is_last = false;
            let (found, freshness) = loop {
                let (freshness, departures) = context.settled(token).await;
                let (meter, query) = (budget.clone(), checked.query());
                let read = store.read(freshness, context.deadline, limit, Some(meter), query);
                let found = read.await;
                let has_missed = || departures.is_some_and(|it| it != context.session.departures());
                match &found.result {
                    Err(StoreError::Overloaded) if !is_last && budget.excess().is_none() => {
                        // Once the answers before are taken there may be room.
                        budget.reset();
                        let account = budget.account();
                        let most = account.limit(BudgetSide::Answered) / 2;
                        drop(account.take(BudgetSide::Answered, most, WAIT).await);
                    }
                    // The caller of a write had left before this read came.
                    Ok(_) if !is_last && has_missed() => budget.reset(),
                    _ => break (found, freshness),
                }
                is_last = true;
            };
            context.note_read(found.node, found.position, began.elapsed());
            if found.result.is_ok() {
                context.session.verified(freshness, found.position);
            }
            checked.answer(found.result.map_err(|error| self.in_excess(context, error))?).await
        };
        // Pinned here: to move it around costs thousands of instructions.
        let read = pin!(read);
        let read: Result<_, StoreError> = traces::in_operation(R::Query::NAME, read).await;
        let answer = read.map_err(|error| context.status(&error))?;
        match &context.field_mask {
            None => Ok(answer),
            Some(mask) => {
                let part = pruned(&answer.encode_to_vec(), mask, &context.request_id)?;
                decode(&part, &context.request_id)
            }
        }
    }

    /// The freshness that a read's options ask for. Waits first for the writes of its session whose
    /// callers have left, if it has to see them.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if the token was altered or never came from here.
    pub async fn freshness(&self, context: &RequestContext) -> Result<Freshness, Status> {
        let token = self.position(context)?;
        Ok(context.settled(token).await.0)
    }

    /// The position in the caller's token.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if it was altered or never came from here.
    fn position(&self, context: &RequestContext) -> Result<Option<Position>, Status> {
        let Some(token) = &context.consistency_token else { return Ok(None) };
        let Some(key) = self.0.store.sealing_key() else { return Err(Refused::NotReady.into()) };
        let invalid = || {
            let description = "was altered or is no consistency token".to_owned();
            status::metadata(&MetadataError::Invalid("consistency-token", description))
        };
        Position::open(&key, token).ok_or_else(invalid).map(Some)
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
        let request = request.into_inner();
        let call = self.call(&context, IsolationLevel::ReadCommitted, &request)?;
        let ids = WrittenIds::of::<R, R::Answer>(&request);
        let write = self.prepare_write(request, context.caller())?;
        let answer = self.run(&context, call, Box::new(write), ids).await?;
        Ok(Response::new(decode(&answer, &context.request_id)?))
    }

    /// What the store has to know of a call that writes.
    ///
    /// # Errors
    /// UNAVAILABLE until the schema has been found right; UNKNOWN for a repeated write without
    /// an idempotency key.
    pub fn call<R: Message + Name>(
        &self,
        context: &RequestContext,
        isolation: IsolationLevel,
        request: &R,
    ) -> Result<Call, Status> {
        let Some(sealing_key) = self.0.store.sealing_key() else {
            return Err(status::schema_pending(&[]));
        };
        // A write runs on the primary and needs no token. A wrong token is refused all the same.
        self.position(context)?;
        // The first attempt may have been carried out: without a key a second one would be
        // another write.
        if context.repeated && context.idempotency.is_none() && !context.validate_only {
            return Err(status::repeated_without_key());
        }
        // Decoded and encoded again, a request is always the same bytes: prost writes fields by
        // their numbers and maps, which are B-trees, by their keys.
        let key = |key| {
            let mut bytes = request.encode_to_vec();
            if R::PACKAGE == "bookstore.v1" {
                bytes = bounds::without_passwords(R::NAME, &bytes);
            }
            IdempotencyKey::new(&sealing_key, key, &bytes)
        };
        Ok(Call {
            method: context.method,
            principal: context.principal.as_ref().map(|principal| principal.name.clone()),
            deadline: context.deadline,
            isolation,
            idempotency: context.idempotency.map(key),
            validate_only: context.validate_only,
            attempts: Attempts::default(),
            meter: Some(context.budget.clone()),
            large_answers: self.0.large_answers.get().cloned(),
            observer: None,
        })
    }

    /// Carries a write out and answers its encoded response, or what the caller asks for of it.
    ///
    /// # Errors
    /// As the contract says of the call's method.
    pub async fn run(
        &self,
        context: &RequestContext,
        mut call: Call,
        write: Box<dyn Write>,
        ids: WrittenIds,
    ) -> Result<Vec<u8>, Status> {
        let (began, attempts) = (Instant::now(), call.attempts.clone());
        let is_kept = !call.validate_only;
        let observer = SessionWrite::new(context.session.clone());
        let _held = observer.held();
        call.observer = Some(observer);
        match self.0.store.run(call, write).await {
            Ok(committed) => {
                let ids = ids.text(&committed.answer).filter(|_| is_kept);
                context.answer.note_write(&committed, ids, began.elapsed());
                match &context.field_mask {
                    None => Ok(committed.answer),
                    Some(mask) => pruned(&committed.answer, mask, &context.request_id),
                }
            }
            Err(error) => {
                context.answer.note_failed_write(&attempts, began.elapsed());
                Err(status::store(&self.in_excess(context, error), &context.request_id))
            }
        }
    }

    /// Rows that no connection may hold make too large an answer, however long one waits.
    fn in_excess(&self, context: &RequestContext, error: StoreError) -> StoreError {
        match (error, context.budget.excess()) {
            (StoreError::Overloaded, Some(size)) => {
                StoreError::AnswerTooLarge { size, limit: self.0.max_message_size }
            }
            (error, _) => error,
        }
    }

    /// Begins an interactive transaction.
    ///
    /// # Errors
    /// As the contract says of Transact.
    pub async fn begin(
        &self,
        context: &RequestContext,
        call: Call,
        reads: Option<Freshness>,
        (wait, idle): (Duration, Duration),
    ) -> Result<Begun, Status> {
        let begun = self.0.store.begin(call, reads, (wait, idle)).await;
        begun.map_err(|error| context.status(&error))
    }

    /// The idle timeout and the total timeout of interactive transactions, bounded by the
    /// database's own limits.
    pub fn transaction_limits(&self, idle: Duration, total: Duration) -> (Duration, Duration) {
        self.0.store.transaction_limits(idle, total)
    }

    pub(super) fn prepare_read<R: ReadRequest>(
        &self,
        request: R,
        principal: Option<&str>,
        mask: Option<&AnswerMask>,
    ) -> Result<Checked<R, R::Query>, Refused> {
        let query = self.checked_for(request, principal, mask, R::query)?;
        Ok(Checked::new(query, self.0.max_message_size))
    }

    pub(super) fn prepare_write<R: WriteRequest>(
        &self,
        request: R,
        principal: Option<&str>,
    ) -> Result<Checked<R, R::Operation>, Refused> {
        let operation = self.checked_for(request, principal, None, R::operation)?;
        Ok(Checked::new(operation, self.0.max_message_size))
    }

    /// Checks a request that has nothing of its caller's own against the contract's rules and its
    /// own checks, and reports all violations together. Every request passes here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn checked<R: ReflectMessage, T>(
        &self,
        request: R,
        convert: impl FnOnce(R, &mut Check<'_>) -> Option<T>,
    ) -> Result<T, Refused> {
        self.checked_for(request, None, None, convert)
    }

    /// The same for a caller, and for a part of the answer.
    fn checked_for<R: ReflectMessage, T>(
        &self,
        request: R,
        principal: Option<&str>,
        mask: Option<&AnswerMask>,
        convert: impl FnOnce(R, &mut Check<'_>) -> Option<T>,
    ) -> Result<T, Refused> {
        let Some(key) = self.0.store.sealing_key() else { return Err(Refused::NotReady) };
        let violations = self.0.rules.violations(&request).map_err(Refused::Invalid)?;
        let mut check = Check::new(&key, self.0.max_message_size, violations);
        (check.principal, check.mask) = (principal, mask);
        check.search_language = self.settings().search_language;
        let checked = convert(request, &mut check);
        let violations = check.into_violations();
        match checked {
            Some(checked) if violations.is_empty() => Ok(checked),
            _ => Err(Refused::Invalid(violations)),
        }
    }

    /// The violation of a list's length, for messages whose entries are checked one by one.
    pub fn violation_of_count<M: ReflectMessage + Default>(
        &self,
        field: &str,
        count: usize,
    ) -> Option<FieldViolation> {
        self.0.rules.violation_of_count::<M>(field, count)
    }
}

pub(super) fn decode<A: Name + Default>(answer: &[u8], request_id: &str) -> Result<A, Status> {
    A::decode(answer).map_err(|error| status::internal(&error, request_id))
}

/// The parts of an encoded answer that a mask asks for.
fn pruned(answer: &[u8], mask: &AnswerMask, request_id: &str) -> Result<Vec<u8>, Status> {
    mask.prune(answer).map_err(|error| status::internal(&error, request_id))
}

/// What the layers have read of the call.
///
/// # Errors
/// Only by a mistake in this program: a call that came past the layers.
pub fn context<R>(request: &Request<R>) -> Result<RequestContext, Status> {
    let context = request.extensions().get::<RequestContext>().cloned();
    context.ok_or_else(|| status::internal(&"a call came past the layers", ""))
}
