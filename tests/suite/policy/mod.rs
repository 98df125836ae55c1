//! The policy: which caller may call which method, alone and as a part of another call.

mod commands;
mod every;
mod operators;
mod parts;
mod report;
mod start;

use bookstore_tests::{AccessFiles, Engine, TestServer};
use tonic::{Response, Status};

use crate::{bad_input::send, client::Refusal};

/// The metadata of a token.
fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A service with these files.
async fn start(engine: Engine, files: &AccessFiles) -> TestServer {
    files.apply(TestServer::builder(engine)).start().await
}

/// Calls a method with bytes for its request.
async fn call(
    server: &TestServer,
    method: &str,
    body: &[u8],
    token: &str,
) -> Result<Response<Vec<u8>>, Status> {
    let path = format!("/bookstore.v1.{method}");
    let header = bearer(token);
    send(server.channel(), &path, body.to_vec(), &[("authorization", &header)]).await
}

/// The answer to a call that the policy forbids; none if it lets it pass.
fn forbidden<T>(answer: Result<T, Status>) -> Option<Refusal> {
    let refusal = Refusal::from(&answer.err()?);
    (refusal.reason == "METHOD_FORBIDDEN").then_some(refusal)
}
