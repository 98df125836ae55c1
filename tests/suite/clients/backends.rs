//! Several instances: calls go round robin to those that are ready.

use std::{cell::Cell, time::Duration};

use bookstore_client::v1::ListBooksRequest;
use bookstore_tests::{Engine, Line, TestServer, on_every_engine, until, until_within};

use super::{SOON, assert_orders, connect, connect_all, fill, order, writes::cut_and_wait};

on_every_engine!(
    calls_after_an_instance_is_killed_go_to_the_other,
    calls_skip_an_instance_that_reports_not_serving,
    lost_ready_connection_is_reopened_at_once,
);

const LIST: &str = "/bookstore.v1.BookService/ListBooks";

/// The number of lists that an instance has answered.
fn lists(server: &TestServer) -> usize {
    server.logs().json().iter().filter(|line| is_list(line)).count()
}

fn is_list(line: &serde_json::Value) -> bool {
    line.to_string().contains(LIST) && line.to_string().contains("duration_ms")
}

async fn two(engine: Engine) -> (TestServer, TestServer) {
    let builder = |builder: bookstore_tests::Builder| builder.env("SHUTDOWN_PAUSE", "1m");
    let first = builder(TestServer::builder(engine)).start().await;
    let second = builder(TestServer::builder(engine).on(first.database())).start().await;
    (first, second)
}

async fn calls_after_an_instance_is_killed_go_to_the_other(engine: Engine) {
    let (mut first, second) = two(engine).await;
    let client = connect_all(&[&first, &second]);
    fill(&client).await;
    let list = async || {
        client.books().list_books(ListBooksRequest::default()).await.expect("a list");
    };
    // Both get calls once both are known to be ready.
    until("both instances answer", SOON, async || {
        list().await;
        lists(&first) > 2 && lists(&second) > 2
    })
    .await;
    let before = (lists(&first), lists(&second));
    for _ in 0..10 {
        list().await;
    }
    until("the log has them", SOON, async || {
        (lists(&first), lists(&second)) == (before.0 + 5, before.1 + 5)
    })
    .await;

    let placing = {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..60 {
                let order = order(&format!("{number} Quiet Street"));
                client.orders().place_order(order).await.expect("an order");
            }
        })
    };
    until("some orders are placed", SOON, async || {
        let placed = second.database().value("SELECT count(*) FROM orders").await;
        placed.parse::<u32>().expect("a count") >= 10
    })
    .await;
    first.kill().await;
    placing.await.expect("no order fails");
    assert_orders(&second, 60).await;
    let before = lists(&second);
    for _ in 0..10 {
        list().await;
    }
    until("the log has them", SOON, async || lists(&second) == before + 10).await;
}

/// It still answers calls, but reports NOT_SERVING.
async fn calls_skip_an_instance_that_reports_not_serving(engine: Engine) {
    let (first, second) = two(engine).await;
    let client = connect_all(&[&first, &second]);
    let calls = Cell::new(0);
    let list = async || {
        client.books().list_books(ListBooksRequest::default()).await.expect("a list");
        calls.set(calls.get() + 1);
    };
    let all_logged = async || {
        until("the logs have every call", SOON, async || {
            lists(&first) + lists(&second) == calls.get()
        })
        .await;
    };
    until("both instances answer", SOON, async || {
        list().await;
        lists(&first) > 0 && lists(&second) > 0
    })
    .await;
    first.signal(bookstore_tests::Signal::TERM);
    until("the first instance is skipped", SOON, async || {
        all_logged().await;
        let before = lists(&first);
        for _ in 0..10 {
            list().await;
        }
        all_logged().await;
        lists(&first) == before
    })
    .await;
    // It would have answered.
    crate::client::books(&first).list_books(ListBooksRequest::default()).await.expect("a list");
}

/// The pauses between attempts to connect grow only while none succeeds. If they grew after each
/// lost connection, eight of them would take more than four seconds.
async fn lost_ready_connection_is_reopened_at_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let line = Line::to_service(server.address()).await;
    let client = connect(line.url());
    client.ready(SOON).await.expect("a connection");
    until_within("eight connections", Duration::from_millis(2500), async || {
        for _ in 0..8 {
            cut_and_wait(&line, &client).await;
            line.restore();
            client.ready(SOON).await.expect("a connection");
        }
        true
    })
    .await;
}
