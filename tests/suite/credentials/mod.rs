//! Who calls: what counts as credentials, what is refused, and what belongs to a caller.

mod audit;
mod every;
mod jwt;
mod keys;
mod owned;
mod replaced;
mod secrets;
mod streams;
mod tokens;

use bookstore_tests::{AccessFiles, Engine, SOON, TestServer, policy, until};
use serde_json::Value;
use tonic::{Code, Status};

use crate::{
    bad_input::{form, populate, send},
    client::Refusal,
};

/// A method that reads and needs no rows.
const LIST: &str = "/bookstore.v1.CategoryService/ListCategories";

/// A policy in which members may call every method, and `more` stands.
fn for_members(more: &str) -> String {
    policy(|_| "member".to_owned(), more)
}

/// A service with rows, whose callers need credentials.
async fn populated(engine: Engine, files: &AccessFiles) -> TestServer {
    let mut open = TestServer::start(engine).await;
    populate(&open).await;
    let database = open.database();
    open.terminate().await;
    files.apply(TestServer::builder(engine)).on(database).start().await
}

/// The value of the header of a token.
fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Calls [`LIST`] with metadata.
async fn list(server: &TestServer, metadata: &[(&'static str, &str)]) -> Result<(), Refusal> {
    let answer = send(server.channel(), LIST, Vec::new(), metadata).await;
    answer.map(drop).map_err(|status| refused(&status))
}

/// The same with a token.
async fn list_as(server: &TestServer, token: &str) -> Result<(), Refusal> {
    list(server, &[("authorization", &bearer(token))]).await
}

/// An error in the contract's form.
#[track_caller]
fn refused(status: &Status) -> Refusal {
    form(status).unwrap_or_else(|problem| panic!("{problem}"))
}

/// Makes sure that credentials are refused for this reason, and that the answer says nothing else.
#[track_caller]
fn is_unauthenticated(refusal: &Refusal, reason: &str) {
    refusal.is(Code::Unauthenticated, reason, &[]).says("scheme", "Bearer");
    assert_eq!(refusal.message, "the call needs credentials that are right and in force");
}

/// The lines of the log so far under the target `audit` that say this.
pub(crate) fn audited(server: &TestServer, message: &str) -> Vec<Value> {
    let lines = server.logs().so_far();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|it| it["target"] == "audit" && it["message"] == message).collect()
}

/// The same once there is one of which this holds. The log is written behind the calls.
pub(crate) async fn audited_with(
    server: &TestServer,
    message: &str,
    holds: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let what = format!("a line of the log says {message}");
    until(&what, SOON, async || audited(server, message).iter().any(&holds)).await;
    audited(server, message)
}
