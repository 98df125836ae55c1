//! The store's errors: the error table, row by row.

use bookstore_proto::v1::ErrorReason;
use bookstore_store::{ConstraintKind, FieldViolation, Precondition, StoreError};
use tonic::{Code, Status};

use super::{
    RETRY_LATER, RETRY_SOON, RichStatus, database_unavailable, deadline_exceeded, internal,
    invalid, overloaded,
};

/// The status of a store's error.
pub fn store(error: &StoreError, request_id: &str) -> Status {
    use ErrorReason as Reason;
    let answer = match error {
        StoreError::Invalid(violations) => return invalid(violations),
        StoreError::Overloaded => return overloaded(),
        StoreError::NotFound { resource, id, field } => {
            let message = format!("there is no {resource} {id}");
            let mut answer = RichStatus::new(Code::NotFound, Reason::ResourceNotFound, &message)
                .at(&[FieldViolation::new(field, "names none that exists")])
                .with("resource", resource)
                .with("id", id);
            answer.details.set_resource_info(*resource, id.to_string(), "", message);
            answer
        }
        StoreError::EtagMismatch { resource, id, field } => {
            let message = format!("{resource} {id} has changed since this etag was given");
            let mut answer = RichStatus::new(Code::Aborted, Reason::EtagMismatch, &message)
                .at(&[FieldViolation::new(field, "is not the current one")])
                .with("resource", resource)
                .with("id", id);
            answer.details.set_resource_info(*resource, id.to_string(), "", message);
            answer
        }
        StoreError::AlreadyExists(violations) => {
            let message = describe("already exists", violations);
            RichStatus::new(Code::AlreadyExists, Reason::ResourceAlreadyExists, message)
                .at(violations)
        }
        StoreError::ReferenceNotFound(violations) => {
            let message = describe("a reference is missing", violations);
            let mut answer =
                RichStatus::new(Code::FailedPrecondition, Reason::ReferenceNotFound, message)
                    .at(violations);
            for violation in violations.iter().take(10) {
                answer.details.add_precondition_failure_violation(
                    "REFERENCE",
                    &violation.field,
                    &violation.description,
                );
            }
            answer
        }
        StoreError::InUse(violations) => {
            let message = describe("other resources refer to this one", violations);
            let mut answer =
                RichStatus::new(Code::FailedPrecondition, Reason::ResourceInUse, message)
                    .at(violations);
            for violation in violations.iter().take(10) {
                answer.details.add_precondition_failure_violation(
                    "REFERRER",
                    &violation.field,
                    &violation.description,
                );
            }
            answer
        }
        StoreError::Precondition(failed) => of_precondition(failed),
        StoreError::Constraint { kind, constraint, source } => {
            tracing::info!(%source, constraint, "a constraint was broken");
            match kind {
                ConstraintKind::Unique => RichStatus::new(
                    Code::AlreadyExists,
                    Reason::ResourceAlreadyExists,
                    "a value that must be unique was taken meanwhile",
                )
                .retry_after(RETRY_SOON),
                ConstraintKind::Reference => RichStatus::new(
                    Code::FailedPrecondition,
                    Reason::ResourceInUse,
                    "other resources still refer to this one",
                ),
                ConstraintKind::Check => RichStatus::new(
                    Code::InvalidArgument,
                    Reason::FieldInvalid,
                    "a value breaks a rule of the database",
                ),
            }
            .with("constraint", constraint)
        }
        StoreError::AnswerTooLarge { size, limit } => RichStatus::new(
            Code::ResourceExhausted,
            Reason::AnswerTooLarge,
            format!("the answer would be {size} bytes, more than {limit}; ask for less"),
        )
        .with("size", size)
        .with("limit", limit),
        StoreError::Conflict(_) => RichStatus::new(
            Code::Aborted,
            Reason::TransactionConflict,
            "the transaction collided with another one; nothing was changed",
        )
        .retry_after(RETRY_SOON),
        StoreError::KeyInUse(_) => RichStatus::new(
            Code::Aborted,
            Reason::KeyInUse,
            "another call with this idempotency key hasn't ended yet",
        )
        .retry_after(RETRY_LATER),
        StoreError::KeyReused => RichStatus::new(
            Code::InvalidArgument,
            Reason::IdempotencyKeyReused,
            "this idempotency key was used for another request",
        )
        .with("key", "idempotency-key"),
        StoreError::KeyFenced => RichStatus::new(
            Code::Aborted,
            Reason::KeyFenced,
            "this idempotency key was fenced off before the write came; nothing was changed",
        ),
        StoreError::TransactionLimit => RichStatus::new(
            Code::ResourceExhausted,
            Reason::TransactionLimit,
            "too many transactions are open",
        )
        .retry_after(RETRY_LATER),
        StoreError::TransactionTimeout => RichStatus::new(
            Code::Aborted,
            Reason::TransactionTimeout,
            "the transaction was open for too long and was rolled back",
        ),
        StoreError::TransactionIdle => RichStatus::new(
            Code::Aborted,
            Reason::TransactionTimeout,
            "nothing came for too long, and the transaction was rolled back",
        ),
        StoreError::LockTimeout(_) => RichStatus::new(
            Code::Aborted,
            Reason::LockTimeout,
            "a lock wasn't free in time; nothing was changed",
        )
        .retry_after(RETRY_SOON),
        StoreError::StatementTimeout(_) => RichStatus::new(
            Code::DeadlineExceeded,
            Reason::StatementTimeout,
            "a statement ran longer than allowed; nothing was changed",
        ),
        StoreError::DeadlineExceeded => return deadline_exceeded(),
        StoreError::PoolTimeout { waited_ms } => RichStatus::new(
            Code::ResourceExhausted,
            Reason::PoolTimeout,
            format!("no database connection was free within {waited_ms} ms"),
        )
        .retry_after(RETRY_LATER),
        StoreError::DiskFull(source) => {
            tracing::error!(%source, "the database's disk is full");
            let message = "the database's disk is full; nothing was changed";
            RichStatus::new(Code::ResourceExhausted, Reason::DiskFull, message)
        }
        StoreError::Unavailable(source) => {
            tracing::warn!(%source, "the database can't be reached");
            return database_unavailable();
        }
        StoreError::Unsuitable(reason) => {
            tracing::warn!(%reason, "the database can't be used");
            return database_unavailable();
        }
        StoreError::CommitOutcomeUnknown(source) => {
            tracing::warn!(%source, "the connection broke during the commit");
            RichStatus::new(
                Code::Unknown,
                Reason::CommitOutcomeUnknown,
                "the commit was not answered, so the write happened or it didn't: GetOutcome answers by \
                 its idempotency-key; without a key, read in the same session",
            )
        }
        StoreError::PositionLost => RichStatus::new(
            Code::FailedPrecondition,
            Reason::WriteMayBeLost,
            "the token's position was given up in a failover: a write before it may be lost",
        )
        .with("key", "consistency-token"),
        StoreError::PositionUnverifiable => RichStatus::new(
            Code::FailedPrecondition,
            Reason::TokenUnverifiable,
            "whether the database has the token's position can't be verified",
        )
        .with("key", "consistency-token"),
        StoreError::Internal(source) => return internal(source, request_id),
    };
    answer.into_status()
}

/// A resource's own precondition. Its reason and its message come from the resource.
fn of_precondition(failed: &Precondition) -> RichStatus {
    let message = describe(failed.message, &failed.violations);
    let mut answer = RichStatus::because(Code::FailedPrecondition, failed.reason, message)
        .at(&failed.violations);
    for violation in failed.violations.iter().take(10) {
        let (field, description) = (&violation.field, &violation.description);
        answer.details.add_precondition_failure_violation(failed.reason, field, description);
    }
    let facts = failed.facts.iter();
    facts.fold(answer, |answer, (name, value)| answer.with(name, value))
}

fn describe(what: &str, violations: &[FieldViolation]) -> String {
    match violations.first() {
        Some(violation) => format!("{what}: {} {}", violation.field, violation.description),
        None => what.to_owned(),
    }
}
