//! The store's errors: the error table, row by row.

use bookstore_proto::v1::ErrorReason;
use bookstore_store::{Condition, ConstraintKind, Fault, StoreError, Unmet};
use tonic::{Code, Status};

use super::{
    Answer, RETRY_LATER, RETRY_SOON, database_unavailable, deadline_exceeded, internal, invalid,
};

/// What the store could not do.
pub fn store(error: &StoreError, request_id: &str) -> Status {
    use ErrorReason as Reason;
    let answer = match error {
        StoreError::Invalid(faults) => return invalid(faults),
        StoreError::NotFound { resource, id, field } => {
            let told = format!("there is no {resource} {id}");
            let mut answer = Answer::new(Code::NotFound, Reason::ResourceNotFound, &told)
                .at(&[Fault::new(field, "names none that exists")])
                .with("resource", resource)
                .with("id", id);
            answer.details.set_resource_info(*resource, id.to_string(), "", told);
            answer
        }
        StoreError::EtagMismatch { resource, id, field } => {
            let told = format!("{resource} {id} has changed since this etag was given");
            let mut answer = Answer::new(Code::Aborted, Reason::EtagMismatch, &told)
                .at(&[Fault::new(field, "is not the current one")])
                .with("resource", resource)
                .with("id", id);
            answer.details.set_resource_info(*resource, id.to_string(), "", told);
            answer
        }
        StoreError::AlreadyExists(faults) => {
            let told = told("already exists", faults);
            Answer::new(Code::AlreadyExists, Reason::ResourceAlreadyExists, told).at(faults)
        }
        StoreError::ReferenceNotFound(faults) => {
            let told = told("a reference is missing", faults);
            let mut answer =
                Answer::new(Code::FailedPrecondition, Reason::ReferenceNotFound, told).at(faults);
            for fault in faults.iter().take(10) {
                answer.details.add_precondition_failure_violation(
                    "REFERENCE",
                    &fault.field,
                    &fault.description,
                );
            }
            answer
        }
        StoreError::InUse(faults) => {
            let told = told("other resources refer to this one", faults);
            let mut answer =
                Answer::new(Code::FailedPrecondition, Reason::ResourceInUse, told).at(faults);
            for fault in faults.iter().take(10) {
                answer.details.add_precondition_failure_violation(
                    "REFERRER",
                    &fault.field,
                    &fault.description,
                );
            }
            answer
        }
        StoreError::Unmet(unmet) => of_unmet(unmet),
        StoreError::PasswordMismatch => Answer::new(
            Code::Unauthenticated,
            Reason::PasswordMismatch,
            "no active user has this email and this password",
        ),
        StoreError::Constraint { kind, constraint, source } => {
            tracing::info!(%source, constraint, "a constraint was broken");
            match kind {
                ConstraintKind::Unique => Answer::new(
                    Code::AlreadyExists,
                    Reason::ResourceAlreadyExists,
                    "a value that must be unique was taken meanwhile",
                )
                .retry_after(RETRY_SOON),
                ConstraintKind::Reference => Answer::new(
                    Code::FailedPrecondition,
                    Reason::ResourceInUse,
                    "other resources still refer to this one",
                ),
                ConstraintKind::Check => Answer::new(
                    Code::InvalidArgument,
                    Reason::FieldInvalid,
                    "a value breaks a rule of the database",
                ),
            }
            .with("constraint", constraint)
        }
        StoreError::AnswerTooLarge { size, limit } => Answer::new(
            Code::ResourceExhausted,
            Reason::AnswerTooLarge,
            format!("the answer would be {size} bytes, more than {limit}; ask for less"),
        )
        .with("size", size)
        .with("limit", limit),
        StoreError::Conflict(_) => Answer::new(
            Code::Aborted,
            Reason::TransactionConflict,
            "the transaction collided with another one; nothing was changed",
        )
        .retry_after(RETRY_SOON),
        StoreError::KeyInUse(_) => Answer::new(
            Code::Aborted,
            Reason::KeyInUse,
            "another call with this idempotency key hasn't ended yet",
        )
        .retry_after(RETRY_LATER),
        StoreError::KeyReused => Answer::new(
            Code::InvalidArgument,
            Reason::IdempotencyKeyReused,
            "this idempotency key was used for another request",
        )
        .with("key", "idempotency-key"),
        StoreError::KeyFenced => Answer::new(
            Code::Aborted,
            Reason::KeyFenced,
            "this idempotency key was fenced off before the write came; nothing was changed",
        ),
        StoreError::TransactionLimit => Answer::new(
            Code::ResourceExhausted,
            Reason::TransactionLimit,
            "too many transactions are open",
        )
        .retry_after(RETRY_LATER),
        StoreError::TransactionTimeout => Answer::new(
            Code::Aborted,
            Reason::TransactionTimeout,
            "the transaction was open for too long and was rolled back",
        ),
        StoreError::TransactionIdle => Answer::new(
            Code::Aborted,
            Reason::TransactionTimeout,
            "nothing came for too long, and the transaction was rolled back",
        ),
        StoreError::LockTimeout(_) => Answer::new(
            Code::Aborted,
            Reason::LockTimeout,
            "a lock wasn't free in time; nothing was changed",
        )
        .retry_after(RETRY_SOON),
        StoreError::StatementTimeout(_) => Answer::new(
            Code::DeadlineExceeded,
            Reason::StatementTimeout,
            "a statement ran longer than allowed; nothing was changed",
        ),
        StoreError::DeadlineExceeded => return deadline_exceeded(),
        StoreError::PoolTimeout { waited_ms } => Answer::new(
            Code::ResourceExhausted,
            Reason::PoolTimeout,
            format!("no database connection was free within {waited_ms} ms"),
        )
        .retry_after(RETRY_LATER),
        StoreError::DiskFull(source) => {
            tracing::error!(%source, "the database's disk is full");
            let told = "the database's disk is full; nothing was changed";
            Answer::new(Code::ResourceExhausted, Reason::DiskFull, told)
        }
        StoreError::Unavailable(source) => {
            tracing::warn!(%source, "the database can't be reached");
            return database_unavailable();
        }
        StoreError::CommitOutcomeUnknown(source) => {
            tracing::warn!(%source, "the connection broke during the commit");
            Answer::new(
                Code::Unknown,
                Reason::CommitOutcomeUnknown,
                "the connection to the database broke during the commit; read to find out",
            )
        }
        StoreError::PositionLost => Answer::new(
            Code::FailedPrecondition,
            Reason::WriteMayBeLost,
            "the token's position was given up in a failover: a write before it may be lost",
        )
        .with("key", "consistency-token"),
        StoreError::PositionUnverifiable => Answer::new(
            Code::FailedPrecondition,
            Reason::TokenUnverifiable,
            "nobody can say whether the database has the token's position",
        )
        .with("key", "consistency-token"),
        StoreError::Internal(source) => return internal(source, request_id),
    };
    answer.into_status()
}

fn of_unmet(unmet: &Unmet) -> Answer {
    let (reason, what) = match unmet.condition {
        Condition::Stock => (ErrorReason::InsufficientStock, "there is too little in stock"),
        Condition::Currency => (ErrorReason::CurrencyMismatch, "an order has one currency"),
        Condition::State => (ErrorReason::OrderState, "the order isn't in a state for that"),
        Condition::Filled => (ErrorReason::CartEmpty, "there is nothing in the cart"),
        Condition::Room => (ErrorReason::CartFull, "a cart doesn't hold that much"),
    };
    let told = told(what, &unmet.faults);
    let mut answer = Answer::new(Code::FailedPrecondition, reason, told).at(&unmet.faults);
    for fault in unmet.faults.iter().take(10) {
        let kind = reason.as_str_name().trim_start_matches("ERROR_REASON_");
        let (field, description) = (&fault.field, &fault.description);
        answer.details.add_precondition_failure_violation(kind, field, description);
    }
    let facts = unmet.facts.iter();
    facts.fold(answer, |answer, (name, value)| answer.with(name, value))
}

fn told(what: &str, faults: &[Fault]) -> String {
    match faults.first() {
        Some(fault) => format!("{what}: {} {}", fault.field, fault.description),
        None => what.to_owned(),
    }
}
