//! Transact: an interactive transaction over a bidirectional stream.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::{
    bounds,
    v1::{
        Begin, Begun as BegunMessage, Committed, Isolation, RolledBack, TransactRequest,
        TransactResponse, transact_request::Step, transact_response::Step as Answer,
    },
};
use bookstore_store::{
    Begun, Committed as Done, Deadline, FieldViolation, Freshness, StepError, StoreError,
    Transaction, WriteObserver,
    telemetry::traces::{in_current, in_operation},
};
use futures_util::FutureExt;
use prost::Message;
use prost_types::Any;
use sea_orm::IsolationLevel;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{any, failure, step_name, type_name},
    limits::TransactionLimits,
    written::TransactionIds,
};
use crate::rpc::{
    access,
    calls::{self, Calls},
    context::RequestContext,
    metadata_error::MetadataError,
    method::MethodKind,
    refused::Refused,
    registry::{Prepared, Registry},
    session::SessionWrite,
    status,
};

/// Starts a task that serves the stream.
///
/// # Errors
/// Metadata that the method doesn't take.
pub fn transact(
    calls: Calls,
    registry: Arc<Registry>,
    limits: TransactionLimits,
    request: Request<Streaming<TransactRequest>>,
) -> Result<Response<ReceiverStream<Result<TransactResponse, Status>>>, Status> {
    let context = calls::context(&request)?;
    if context.validate_only {
        return Err(status::metadata(&MetadataError::NotSupported("validate-only")));
    }
    // One answer at a time: `next` reads no step until the transport has taken it. The transport
    // takes one when it has sent the one before, as far as the peer's window allows.
    let (answers, stream) = mpsc::channel(1);
    let (idle, total) = calls.transaction_limits(limits.idle, limits.total);
    let limits = TransactionLimits { idle, total, ..limits };
    let session = TransactStream {
        calls,
        registry,
        limits,
        context,
        answers,
        passwords: AtomicUsize::new(0),
        ids: TransactionIds::default(),
    };
    tokio::spawn(in_current(session.run(request.into_inner())));
    Ok(Response::new(ReceiverStream::new(stream)))
}

/// A stream and what serves it.
pub(super) struct TransactStream {
    calls: Calls,
    registry: Arc<Registry>,
    limits: TransactionLimits,
    pub(super) context: RequestContext,
    answers: mpsc::Sender<Result<TransactResponse, Status>>,
    /// The passwords of all steps so far.
    passwords: AtomicUsize,
    ids: TransactionIds,
}

/// The state after a step.
pub(super) enum Next {
    /// The transaction goes on.
    Open(Box<Transaction>, Answer),
    /// It has ended normally.
    Closed(Answer),
}

impl TransactStream {
    /// Serves the stream to its end. If it ends early, the transaction is dropped, which rolls it
    /// back.
    async fn run(self, mut requests: Streaming<TransactRequest>) {
        let lead = AssertUnwindSafe(self.lead(&mut requests)).catch_unwind();
        let led = tokio::select! {
            // A panic has dropped the transaction.
            led = lead => led.unwrap_or_else(|_| Err(self.error(&StoreError::internal("a panic")))),
            // The caller cancelled the call, perhaps during a statement.
            () = self.answers.closed() => return,
        };
        if let Err(status) = led {
            // The caller may be gone already.
            let _ = self.answers.send(Err(status)).await;
        }
    }

    async fn lead(&self, requests: &mut Streaming<TransactRequest>) -> Result<(), Status> {
        let begin = match self.next(requests, self.limits.idle).await? {
            Some(Ok(Step::Begin(begin))) => begin,
            Some(Ok(_)) => return Err(out_of_order("begin comes first")),
            Some(Err(refused)) => return Err(refused),
            None => return Ok(()),
        };
        let asked = Duration::from_millis(u64::try_from(begin.timeout_ms).unwrap_or_default());
        // A ceiling, whatever is asked for: others wait for the rows that this one locks.
        let total = if asked.is_zero() { self.limits.total } else { asked.min(self.limits.total) };
        let (_, total) = self.calls.transaction_limits(self.limits.idle, total);
        let end = Deadline::after(self.context.deadline.remaining(total));
        let mut next =
            self.in_time(end, in_operation("TransactBegin", self.begin(&begin, end))).await?;
        // Steps that do nothing, such as a savepoint, take from one idle time together.
        let mut active = Instant::now();
        let share = (active + self.limits.idle).into();
        loop {
            let transaction = match next {
                Next::Closed(answer) => {
                    self.send(answer).await;
                    return Ok(());
                }
                Next::Open(transaction, answer) => {
                    self.send(answer).await;
                    transaction
                }
            };
            let idle = end.remaining(self.limits.idle.saturating_sub(active.elapsed()));
            let step = tokio::select! {
                step = self.next(requests, idle) => step,
                () = transaction.yields(share) => Err(self.late()),
            };
            next = match step {
                Ok(Some(Ok(step))) => {
                    let name = step_name(&step);
                    let works = matches!(step, Step::Request(_));
                    let next = match step {
                        Step::Commit(_) => {
                            self.commit_in_time(
                                end,
                                in_operation(name, self.step(transaction, step)),
                            )
                            .await?
                        }
                        _ => {
                            self.in_time(end, in_operation(name, self.step(transaction, step)))
                                .await?
                        }
                    };
                    if works && !matches!(next, Next::Open(_, Answer::Failure(_))) {
                        active = Instant::now();
                    }
                    next
                }
                Ok(Some(Err(refused))) => {
                    Next::Open(transaction, Answer::Failure(failure(&refused)))
                }
                Ok(None) => {
                    in_operation("TransactRollback", transaction.roll_back()).await;
                    Next::Closed(Answer::RolledBack(RolledBack {}))
                }
                Err(status) => {
                    in_operation("TransactRollback", transaction.roll_back()).await;
                    return Err(if end.has_passed() { self.late() } else { status });
                }
            };
        }
    }

    /// The next step, or what is wrong with it; none at the stream's end. A caller that doesn't
    /// take its answers is idle.
    async fn next(
        &self,
        requests: &mut Streaming<TransactRequest>,
        idle: Duration,
    ) -> Result<Option<Result<Step, Status>>, Status> {
        let message = async {
            // There is room once the transport has taken the answer before.
            drop(self.answers.reserve().await);
            requests.message().await
        };
        let message = tokio::select! {
            biased;
            () = self.calls.streams_end() => return Err(status::shutting_down()),
            message = timeout(idle, message) => message,
        };
        let message = message.map_err(|_| self.error(&StoreError::TransactionIdle))?;
        let in_form = |error: Status| {
            let limit = self.calls.max_message_size();
            status::of_transport(&error, self.context.method, true, limit).unwrap_or(error)
        };
        let Some(message) = message.map_err(in_form)? else { return Ok(None) };
        let step = self.calls.checked(message, |message, check| {
            if message.step.is_none() {
                check.violation("step", "is required");
            }
            message.step
        });
        Ok(Some(step.map_err(Status::from)))
    }

    async fn begin(&self, begin: &Begin, end: Deadline) -> Result<Next, Status> {
        let isolation = match begin.isolation() {
            Isolation::Serializable => IsolationLevel::Serializable,
            Isolation::RepeatableRead => IsolationLevel::RepeatableRead,
            Isolation::ReadCommitted | Isolation::Unspecified => IsolationLevel::ReadCommitted,
        };
        // The same key is the same transaction, whatever its steps: they aren't known yet.
        let mut call = self.calls.call(&self.context, isolation, &TransactRequest::default())?;
        call.deadline = end;
        let reads = match begin.read_only {
            true => Some(self.calls.freshness(&self.context).await?),
            false => None,
        };
        // Replicas have no serializable transactions (PostgreSQL, Hot Standby, Caveats).
        let reads = match isolation {
            IsolationLevel::Serializable => reads.map(|_| Freshness::Strong),
            _ => reads,
        };
        let waits = (self.limits.wait, self.limits.idle);
        Ok(match self.calls.begin(&self.context, call, reads, waits).await? {
            Begun::Open(transaction) => {
                let left = end.remaining(Duration::MAX).as_millis();
                let timeout_ms = i32::try_from(left).unwrap_or(i32::MAX);
                Next::Open(transaction, Answer::Begun(BegunMessage { timeout_ms }))
            }
            Begun::Replayed(done) => Next::Closed(self.committed(&done)),
        })
    }

    /// The answer to a commit. A stream's metadata is sent first, so the consistency token is in
    /// the message.
    fn committed(&self, done: &Done) -> Answer {
        let sealed = done.position.zip(self.calls.sealing_key());
        let consistency_token = sealed.map(|(position, key)| position.seal(&key));
        Answer::Committed(Committed {
            replayed: done.replayed,
            consistency_token: consistency_token.unwrap_or_default(),
        })
    }

    async fn step(&self, mut transaction: Box<Transaction>, step: Step) -> Result<Next, Status> {
        let done = match step {
            Step::Begin(_) => {
                transaction.roll_back().await;
                return Err(out_of_order("the transaction has begun already"));
            }
            Step::Commit(_) => {
                // The response stored under the key, which GetOutcome returns.
                let step = Some(Answer::Committed(Committed {
                    replayed: true,
                    consistency_token: String::new(),
                }));
                let kept = TransactResponse { step }.encode_to_vec();
                // In a task of its own: a cancelled call must not cancel a commit under way.
                let write = SessionWrite::new(self.context.session.clone());
                let _held = write.held();
                write.begun();
                let committing = async move {
                    let done = transaction.commit(kept).await;
                    write.ended(&done);
                    done
                };
                let committing = tokio::spawn(in_current(committing)).await;
                let done = committing.unwrap_or_else(|failure| {
                    Err(StoreError::internal(format!("the commit's task ended: {failure}")))
                });
                let done = done.map_err(|error| self.error(&error))?;
                self.context.answer.note_write(&done, self.ids.text(), Duration::ZERO);
                return Ok(Next::Closed(self.committed(&done)));
            }
            Step::Rollback(_) => {
                transaction.roll_back().await;
                return Ok(Next::Closed(Answer::RolledBack(RolledBack {})));
            }
            Step::Request(request) => self.carry_out(&mut transaction, &request).await,
            Step::Savepoint(savepoint) => {
                let saved = transaction.save(&savepoint.name).await;
                let saved = saved.inspect(|()| self.ids.save(&savepoint.name));
                saved.map(|()| Answer::Saved(savepoint)).map_err(|error| error.under("savepoint."))
            }
            Step::RollbackTo(savepoint) => {
                let undone = transaction.roll_back_to(&savepoint.name).await;
                let undone = undone.inspect(|()| self.ids.roll_back_to(&savepoint.name));
                let undone = undone.map(|()| Answer::RolledBackTo(savepoint));
                undone.map_err(|error| error.under("rollback_to."))
            }
        };
        match done {
            Ok(answer) => Ok(Next::Open(transaction, answer)),
            Err(StepError::Refused(error)) => {
                let failure = failure(&self.error(&error));
                Ok(Next::Open(transaction, Answer::Failure(failure)))
            }
            Err(StepError::Ended(error)) => {
                transaction.roll_back().await;
                Err(self.error(&error))
            }
        }
    }

    /// Carries out a request of any method.
    async fn carry_out(
        &self,
        transaction: &mut Transaction,
        request: &Any,
    ) -> Result<Answer, StepError> {
        let refused = |description: &str| {
            let violation = FieldViolation::new("request", description);
            StepError::Refused(StoreError::Invalid(vec![violation]))
        };
        let name = type_name(request);
        let Some(registered) = self.registry.taking(name) else {
            return Err(refused("is no request of this service"));
        };
        let method = &registered.method;
        let part = (method.path, "request".to_owned());
        if let Err(status) = access::judge_parts(&self.context, [part]) {
            return Ok(Answer::Failure(failure(&status)));
        }
        if method.stands_alone {
            return Err(refused("is the request of a method that can't be part of a transaction"));
        }
        if method.kind == MethodKind::Write && transaction.only_reads() {
            return Err(refused("writes, and the transaction only reads"));
        }
        let measure = registered.measure(&request.value);
        let before = self.passwords.load(Ordering::Relaxed);
        let passwords = before + measure.as_ref().map_or(0, |it| it.passwords);
        let most = bounds::PASSWORDS;
        if passwords > most {
            return Err(refused(&format!("brings more than {most} passwords to the transaction")));
        }
        let (calls, caller) = (&self.calls, self.context.caller());
        let answer = match registered.prepare_measured(calls, caller, &request.value, measure) {
            Ok(Prepared::Write(mut write)) => {
                // Those of refused steps aren't hashed.
                self.passwords.store(passwords, Ordering::Relaxed);
                let name = write.name();
                let answer = in_operation(name, transaction.write(&mut *write)).await?;
                self.ids.add((&request.type_url, &request.value), (&method.answer, &answer));
                answer
            }
            Ok(Prepared::Read(read)) => {
                let name = read.name();
                let answer = transaction
                    .read(move |connection| Box::pin(async move { read.fetch(connection).await }));
                in_operation(name, answer).await?
            }
            Err(Refused::Invalid(violations)) => {
                return Err(StepError::Refused(StoreError::Invalid(violations)));
            }
            Err(Refused::Malformed) => {
                return Err(refused(&format!("can't be decoded as {name}")));
            }
            Err(Refused::NotReady) => {
                return Err(StepError::Ended(StoreError::internal("the schema is gone")));
            }
        };
        Ok(Answer::Response(any(&method.answer, answer)))
    }

    pub(super) fn error(&self, error: &StoreError) -> Status {
        status::store(error, &self.context.request_id)
    }

    /// Answers a step. There is room, since [`Self::next`] has waited for it.
    async fn send(&self, answer: Answer) {
        let answer = Ok(TransactResponse { step: Some(answer) });
        // A closed stream is detected where the next step is read.
        let _ = self.answers.send(answer).await;
    }
}

fn out_of_order(description: &str) -> Status {
    status::invalid(&[FieldViolation::new("step", description)])
}
