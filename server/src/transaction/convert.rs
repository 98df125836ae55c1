//! Transactions between the wire and the store.

use bookstore_proto::v1::{
    ExecuteRequest, ExecuteResponse, Failure, GetOutcomeRequest, GetOutcomeResponse,
    Outcome as State, transact_request::Step,
};
use bookstore_store::{LookUpOutcome, Outcome};
use prost::Message;
use prost_types::Any;
use sea_orm::IsolationLevel;
use tonic::{Request, Response, Status};
use tonic_types::pb;

use super::operations::{ExecuteWrites, Part};
use crate::rpc::{
    access,
    calls::{self, Calls},
    check::Check,
    method::MethodKind,
    refused::Refused,
    registry::{self, Prepared, Registry},
    request::WriteRequest,
    status,
    written::WrittenIds,
};

/// Where the types of messages are named in an `Any`.
const TYPES: &str = "type.googleapis.com";

/// Carries out an Execute request.
///
/// # Errors
/// As the contract says of the method.
pub async fn execute(
    calls: &Calls,
    registry: &Registry,
    request: Request<ExecuteRequest>,
) -> Result<Response<ExecuteResponse>, Status> {
    let context = calls::context(&request)?;
    let request = request.into_inner();
    // Before anything is decoded: what is forbidden tells nothing of what else is wrong.
    let methods = request.requests.iter().enumerate().filter_map(|(index, request)| {
        let registered = registry.taking(type_name(request))?;
        Some((registered.method.path, format!("requests[{index}]")))
    });
    access::judge_parts(&context, methods)?;
    let call = calls.call(&context, IsolationLevel::Serializable, &request)?;
    let ids = WrittenIds::of_execute(&request);
    let caller = context.caller();
    let parts = calls.checked(request, |request, check| {
        let parts: Vec<Option<Part>> = request
            .requests
            .iter()
            .enumerate()
            .map(|(index, request)| part(calls, registry, caller, check, index, request))
            .collect();
        parts.into_iter().collect::<Option<Vec<Part>>>()
    })?;
    let execute = ExecuteWrites::new(parts, calls.max_message_size());
    let answer = calls.run(&context, call, Box::new(execute), ids).await?;
    let answer = ExecuteResponse::decode(&*answer);
    answer.map(Response::new).map_err(|error| status::internal(&error, &context.request_id))
}

/// Checks one of the requests. Its violations are named like those of an entry of a batch.
fn part(
    calls: &Calls,
    registry: &Registry,
    principal: Option<&str>,
    check: &mut Check<'_>,
    index: usize,
    request: &Any,
) -> Option<Part> {
    let entry = format!("requests[{index}]");
    let name = type_name(request);
    let Some(registered) = registry.taking(name) else {
        check.violation(entry, "is no request of this service");
        return None;
    };
    let method = &registered.method;
    if method.kind != MethodKind::Write {
        check.violation(entry, "is the request of a method that can't be part of a transaction");
        return None;
    }
    let prefix = format!("{entry}.");
    match registered.prepare(calls, principal, &request.value) {
        Ok(Prepared::Write(write)) => {
            Some(Part { prefix, answer: format!("{TYPES}/{}", method.answer), write })
        }
        Ok(Prepared::Read(_)) | Err(Refused::NotReady) => None,
        Err(Refused::Malformed) => {
            check.violation(entry, format!("can't be decoded as {name}"));
            None
        }
        Err(Refused::Invalid(violations)) => {
            for violation in violations {
                check.violation(format!("{prefix}{}", violation.field), violation.description);
            }
            None
        }
    }
}

impl WriteRequest for GetOutcomeRequest {
    type Operation = LookUpOutcome;
    type Answer = GetOutcomeResponse;

    fn operation(self, check: &mut Check<'_>) -> Option<LookUpOutcome> {
        let key = check.id(&self.idempotency_key)?;
        let principal = check.principal.unwrap_or_default().to_owned();
        Some(LookUpOutcome { principal, key, fence: self.fence })
    }

    fn answer(outcome: Outcome) -> GetOutcomeResponse {
        let (state, response) = match outcome {
            Outcome::Committed { method, answer } => {
                (State::Committed, registry::answer_of(&method).map(|name| any(&name, answer)))
            }
            Outcome::InProgress => (State::InProgress, None),
            Outcome::NotFound => (State::NotFound, None),
            Outcome::Fenced => (State::Aborted, None),
        };
        GetOutcomeResponse { outcome: state.into(), response }
    }
}

/// The full name of the type of a message: what stands behind the last slash of its URL.
pub(super) fn type_name(message: &Any) -> &str {
    message.type_url.rsplit('/').next().unwrap_or_default()
}

/// An encoded message with its type.
pub fn any(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("{TYPES}/{name}"), value }
}

/// An error as an answer, with the details that a call's error status has.
pub(super) fn failure(status: &Status) -> Failure {
    let details = pb::Status::decode(status.details()).map(|status| status.details);
    Failure {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: details.unwrap_or_default(),
    }
}

/// The name of a step's operation; a request has that of its own.
pub(super) fn step_name(step: &Step) -> Option<&'static str> {
    match step {
        Step::Request(_) => None,
        Step::Begin(_) => Some("TransactBegin"),
        Step::Commit(_) => Some("TransactCommit"),
        Step::Rollback(_) => Some("TransactRollback"),
        Step::Savepoint(_) => Some("TransactSavepoint"),
        Step::RollbackTo(_) => Some("TransactRollbackTo"),
    }
}
