//! Streams whose answers the peer does not take.

use bookstore_server::budget;
use bookstore_tests::{Engine, SOON, TestServer, until};
use serde_json::json;

use super::{encoded, endless, framed, narrow, request};
use crate::admin::{get, get_json};

const TRANSACT: &str = "/bookstore.v1.TransactionService/Transact";

/// On PostgreSQL: the transactions are open at the same time.
#[tokio::test]
async fn a_half_closed_stream_keeps_its_charge_and_its_permit() {
    const CALLS: u64 = 3;
    let server = TestServer::builder(Engine::Postgres).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.start().await;
    let admin = server.admin_address().await;
    let in_flight = async || get_json(admin, "/calls").await["in_flight"].as_u64();
    let open = async || get_json(admin, "/pools").await[0]["used"].as_u64();
    let received = async || {
        let (_, metrics) = get(admin, "/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with("bookstore_budget_received"));
        let value = line.and_then(|line| line.rsplit_once(' ')).expect("the gauge").1;
        value.parse::<f64>().expect("a number")
    };
    let connection = narrow(server.address(), 0).await;
    let path = format!("http://{}{TRANSACT}", server.address());
    let begin = framed(&encoded("TransactionService/Transact", json!({"begin": {}})));
    let (mut senders, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let (sender, body) = endless();
        sender.send(Ok(begin.clone())).await.expect("a body that is read");
        senders.push(sender);
        let (mut connection, request) = (connection.clone(), request(&path, body));
        calls.push(tokio::spawn(async move {
            connection.ready().await.expect("a connection");
            connection.send_request(request).await
        }));
    }
    until("all have begun", SOON, async || open().await == Some(CALLS)).await;
    assert_eq!(in_flight().await, Some(CALLS));
    // The end of the requests, which the transactions roll back at.
    drop(senders);
    until("all are rolled back", SOON, async || open().await == Some(0)).await;
    assert_eq!(in_flight().await, Some(CALLS), "their answers are not taken");
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let least = (CALLS as usize * budget::CALL) as f64;
    assert!(received().await >= least, "{} of {least} bytes", received().await);
    drop((connection, calls));
    until("nothing is left", SOON, async || in_flight().await == Some(0)).await;
    until("all is given back", SOON, async || received().await == 0.0).await;
}
