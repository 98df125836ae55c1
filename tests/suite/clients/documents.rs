//! The page for Rust contains the example's text, and the example does what the page says.

#[path = "../../../server/client/examples/place_orders.rs"]
#[expect(dead_code, reason = "its main is for those who run it")]
mod place_orders;

use std::{fs, sync::Arc};

use bookstore_client::ClientOptions;
use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine, until};
use serde_json::json;

use super::{SOON, connect};
use crate::{client, tidy};

on_every_engine!(example_run_again_places_each_order_once);

#[test]
fn rust_page_contains_the_text_of_the_example() {
    let read = |path: &str| fs::read_to_string(tidy::root().join(path)).expect(path);
    let page = read("docs/clients/rust.md");
    let example = read("server/client/examples/place_orders.rs");
    // Lines that this workspace needs and a reader's program doesn't.
    let lints = "#![expect(clippy::print_stdout, clippy::print_stderr, reason = \"a program's own \
                 output\")]\n\n";
    let example = example.replacen(lints, "", 1);
    assert!(
        page.contains(&format!("```rust\n{example}```\n")),
        "the page's program differs from the example"
    );
}

/// The service is killed during the example, and the example is started again from its beginning.
async fn example_run_again_places_each_order_once(engine: Engine) {
    const ORDERS: u32 = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("bookstore.sock");
    let address = format!("unix:{}", socket.display());
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    let start = || TestServer::builder(engine).on(Arc::clone(&database)).unix(&socket).start();
    let mut server = start().await;
    let book = client::with(client::a_book("Dune"), json!({"stock": super::STOCK}));
    let book = client::create(&client::id(2), book);
    connect(&*address).books().create_book(book).await.expect("a book");
    let program = async |address: String| {
        let client = ClientOptions::new([address]).connect().expect("an address");
        place_orders::create_user(&client).await.expect("a user");
        let mut ids = Vec::new();
        for number in 1..=ORDERS {
            let order = place_orders::place(&client, number, &client::id(2)).await;
            ids.push(order.expect("an order").id);
        }
        ids
    };
    let first = program(address.clone());
    let killing = async {
        for kill in 1..=2 {
            until("some orders are placed", SOON, async || {
                let placed = database.value("SELECT count(*) FROM orders").await;
                placed.parse::<u32>().expect("a count") >= kill * 10
            })
            .await;
            server.kill().await;
            server = start().await;
        }
    };
    let (first, ()) = tokio::join!(first, killing);
    let second = program(address).await;
    assert_eq!(first, second, "another run places separate orders");
    assert_eq!(database.value("SELECT count(*) FROM orders").await, ORDERS.to_string());
}
