//! Streams whose answers the peer does not take.

use bookstore_server::budget;
use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, until};
use serde_json::{Value, json};

use super::{encoded, endless, framed, narrow, request, user};
use crate::{
    admin::{get, get_json},
    transact::Led,
};

on_every_engine!(passwords_of_refused_steps_are_not_counted);

const BATCH: &str = "UserService/BatchCreateUsers";
const TRANSACT: &str = "/bookstore.v1.TransactionService/Transact";

/// On PostgreSQL: the transactions are open at the same time.
#[tokio::test]
async fn a_half_closed_stream_keeps_its_charge_and_its_permit() {
    const CALLS: u32 = 3;
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
    until("all have begun", SOON, async || open().await == Some(CALLS.into())).await;
    assert_eq!(in_flight().await, Some(u64::from(CALLS)));
    // The end of the requests, which the transactions roll back at.
    drop(senders);
    until("all are rolled back", SOON, async || open().await == Some(0)).await;
    assert_eq!(in_flight().await, Some(u64::from(CALLS)), "their answers are not taken");
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let least = (CALLS as usize * budget::CALL) as f64;
    assert!(received().await >= least, "{} of {least} bytes", received().await);
    drop((connection, calls));
    until("nothing is left", SOON, async || in_flight().await == Some(0)).await;
    until("all is given back", SOON, async || received().await == 0.0).await;
}

/// Their passwords are not hashed.
async fn passwords_of_refused_steps_are_not_counted(engine: Engine) {
    let server = TestServer::builder(engine).env("PASSWORD_PASSES", "1").start().await;
    let mut led = Led::begun(&server).await;
    let batch = |count: u32, email: Option<&str>| {
        let one = |n: u32| {
            let mut user = user(&format!("u{n}"), "correct horse");
            user["email"] = json!(email.map_or(format!("u{n}@example.com"), str::to_owned));
            json!({"user": user})
        };
        json!({"requests": (0..count).map(one).collect::<Vec<Value>>()})
    };
    for _ in 0..2 {
        let refused = led.call(BATCH, batch(60, Some("no address"))).await;
        let refused = refused.expect_err("no addresses");
        let named = refused.fields.iter().any(|field| field.starts_with("requests[0]"));
        assert!(named, "{refused:?}");
    }
    led.call(BATCH, batch(1, None)).await.expect("a user");
    let refused = led.call(BATCH, batch(100, None)).await.expect_err("101 passwords");
    refused.is_invalid(&["request"]);
    let another = json!({"user": user("another", "correct horse")});
    led.call("UserService/CreateUser", another).await.expect("the second password");
    led.commit().await.expect("a commit");
}
