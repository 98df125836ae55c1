//! The Rust client: a write whose answer is lost is applied once, calls go on when an instance
//! dies, and reads see the client's writes.

mod backends;
mod config;
mod documents;
mod errors;
mod snippets;
mod tokens;
mod transactions;
mod writes;

use std::time::Duration;

use bookstore_client::{Client, ClientOptions, v1};
use bookstore_tests::TestServer;
use serde_json::json;

use crate::client;

/// The timeout of any step, on a small machine.
const SOON: Duration = Duration::from_secs(30);

/// The initial stock of the book.
const STOCK: i32 = 1_000;

/// A client of one address.
fn connect(address: impl Into<String>) -> Client {
    Client::connect(address).expect("an address")
}

/// A client of several services.
fn connect_all(servers: &[&TestServer]) -> Client {
    ClientOptions::new(servers.iter().map(|server| url(server))).connect().expect("addresses")
}

fn url(server: &TestServer) -> String {
    format!("http://{}", server.address())
}

/// A user and a book to order, with the ids 1 and 2.
async fn fill(client: &Client) {
    let user = json!({"id": client::id(1), "user": {
        "email": "ada@example.com", "username": "ada", "full_name": "Ada",
        "password": "correct horse"}});
    let user: v1::CreateUserRequest = client::message(user);
    client.users().create_user(user).await.expect("a user");
    let book = client::with(client::a_book("Dune"), json!({"stock": STOCK}));
    let book = client::create(&client::id(2), book);
    client.books().create_book(book).await.expect("a book");
}

/// An order of one copy.
fn order(address: &str) -> v1::PlaceOrderRequest {
    client::message(json!({
        "user_id": client::id(1),
        "shipping_address": address,
        "items": [{"book_id": client::id(2), "quantity": 1}],
    }))
}

/// Fails unless there are this many orders, each of one copy of the book, and each with an address
/// of its own.
async fn assert_orders(server: &TestServer, count: usize) {
    let database = server.database();
    let orders = "SELECT count(*) FROM orders";
    assert_eq!(database.value(orders).await, count.to_string());
    let addresses = "SELECT count(DISTINCT shipping_address) FROM orders";
    assert_eq!(database.value(addresses).await, count.to_string(), "an order twice");
    let left = database.value("SELECT stock FROM books").await;
    let left: usize = left.parse().expect("a number");
    assert_eq!(left + count, usize::try_from(STOCK).expect("a number"));
}
