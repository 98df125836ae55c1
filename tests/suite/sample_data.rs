//! The rows of `serve --sample-data`.

use std::{collections::HashMap, sync::Arc};

use bookstore_proto::v1::{
    CreateBookRequest, CreateUserRequest, GetCartRequest, GetOrderRequest, ListItemsRequest,
    ListOrdersRequest, OrderStatus, VerifyPasswordRequest, cart_service_client::CartServiceClient,
    item_service_client::ItemServiceClient, order_service_client::OrderServiceClient,
    user_service_client::UserServiceClient,
};
use bookstore_tests::{Database, Engine, Row, TestServer, on_every_engine, run};

use serde_json::json;
use tonic_types::StatusExt;

use crate::client;

on_every_engine!(
    sample_data_loaded_twice_changes_nothing,
    sample_data_has_rows_of_every_resource_with_chosen_ids,
    interrupted_load_of_sample_data_continues_at_the_next_start,
    books_of_the_database_prevent_the_load_of_sample_data,
    users_of_the_database_prevent_the_load_of_sample_data,
);

/// Every table of a resource, and how many rows the sample data has in it.
const TABLES: [(&str, u32); 9] = [
    ("books", 500),
    ("cart_items", 6),
    ("carts", 3),
    ("items", 6),
    ("order_items", 30),
    ("orders", 15),
    ("posts", 6),
    ("reviews", 30),
    ("users", 8),
];

const USER: &str = "01930000-0000-7000-8000-000000030001";

/// Every row of every table.
async fn rows(database: &Database) -> Vec<Vec<Row>> {
    let mut rows = Vec::new();
    for (table, _) in TABLES {
        rows.push(database.sql(&format!("SELECT * FROM {table} ORDER BY id")).await);
    }
    rows
}

async fn counts(database: &Database) -> Vec<(&'static str, u32)> {
    let mut counts = Vec::new();
    for (table, _) in TABLES {
        let count = database.value(&format!("SELECT count(*) FROM {table}")).await;
        counts.push((table, count.parse().expect("a number")));
    }
    counts
}

/// Serves a database with these arguments until it is ready, and stops.
async fn load(engine: Engine, on: Option<Arc<Database>>, flags: &[&str]) -> Arc<Database> {
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s");
    for flag in flags {
        server = server.flag(flag);
    }
    if let Some(database) = on {
        server = server.on(database);
    }
    let mut server = server.start().await;
    let database = server.database();
    assert_eq!(server.terminate().await.status.code(), Some(0));
    database
}

async fn sample_data_loaded_twice_changes_nothing(engine: Engine) {
    let database = load(engine, None, &["--sample-data"]).await;
    assert_eq!(counts(&database).await, TABLES);
    let before = rows(&database).await;
    // Another number of books is none either.
    let database = load(engine, Some(database), &["--sample-data", "600"]).await;
    assert_eq!(rows(&database).await, before);
}

async fn sample_data_has_rows_of_every_resource_with_chosen_ids(engine: Engine) {
    let server = TestServer::builder(engine).flag("--sample-data").flag("60").start().await;
    let database = server.database();
    assert_eq!(database.value("SELECT count(*) FROM books").await, "60");

    // The password that docs/tour.md uses.
    let verify = |email: &str, password: &str| VerifyPasswordRequest {
        email: email.to_owned(),
        password: password.to_owned(),
    };
    let mut users = UserServiceClient::new(server.channel());
    let found = users.verify_password(verify("bjoern@example.com", "correct horse battery")).await;
    let user = found.expect("the password is right").into_inner().user.expect("a user");
    assert_eq!(user.id, USER);
    assert_eq!(user.full_name, "Björn Almeida");
    let wrong = users.verify_password(verify("bjoern@example.com", "another password")).await;
    let reason = wrong.expect_err("another password").get_details_error_info();
    assert_eq!(reason.expect("a reason").reason, "PASSWORD_MISMATCH");

    let orders =
        OrderServiceClient::new(server.channel()).list_orders(ListOrdersRequest::default()).await;
    let orders = orders.expect("orders").into_inner().orders;
    let mut statuses: HashMap<OrderStatus, usize> = HashMap::new();
    for order in &orders {
        *statuses.entry(order.status()).or_default() += 1;
    }
    let expected = [
        OrderStatus::Pending,
        OrderStatus::Confirmed,
        OrderStatus::Shipped,
        OrderStatus::Delivered,
        OrderStatus::Cancelled,
    ];
    assert_eq!(statuses, expected.into_iter().map(|status| (status, 3)).collect());

    let cart = CartServiceClient::new(server.channel())
        .get_cart(GetCartRequest { user_id: USER.into() })
        .await;
    let cart = cart.expect("a cart").into_inner();
    assert_eq!(cart.id, "01930000-0000-7000-8000-000000080001");
    assert_eq!(cart.items.len(), 2);
    let id = "01930000-0000-7000-8000-000000040004".to_owned();
    let order = OrderServiceClient::new(server.channel()).get_order(GetOrderRequest { id }).await;
    assert_eq!(order.expect("an order").into_inner().status(), OrderStatus::Cancelled);
    let items =
        ItemServiceClient::new(server.channel()).list_items(ListItemsRequest::default()).await;
    assert_eq!(items.expect("items").into_inner().items.len(), 6);
}

/// As if the program had been killed between two steps.
async fn interrupted_load_of_sample_data_continues_at_the_next_start(engine: Engine) {
    let database = load(engine, None, &["--sample-data"]).await;
    for statement in [
        "DELETE FROM items",
        "DELETE FROM order_items",
        "DELETE FROM orders",
        "DELETE FROM cart_items",
        "DELETE FROM carts",
        "DELETE FROM posts",
    ] {
        database.sql(statement).await;
    }
    let database = load(engine, Some(database), &["--sample-data"]).await;
    assert_eq!(counts(&database).await, TABLES);
    let after = rows(&database).await;
    let database = load(engine, Some(database), &["--sample-data"]).await;
    assert_eq!(rows(&database).await, after);
}

async fn books_of_the_database_prevent_the_load_of_sample_data(engine: Engine) {
    let database = load(engine, None, &[]).await;
    let server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").on(database);
    let mut server = server.start().await;
    let book: CreateBookRequest = client::message(json!({
        "book": {"title": "Mine", "author": "I", "price": {"currencyCode": "EUR", "units": 1}}
    }));
    client::books(&server).create_book(book).await.expect("a book");
    assert_eq!(server.terminate().await.status.code(), Some(0));
    let database = load(engine, Some(server.database()), &["--sample-data"]).await;
    assert_eq!(database.value("SELECT count(*) FROM books").await, "1");
    assert_eq!(database.value("SELECT count(*) FROM users").await, "0");
}

/// A user with an email of the sample data would end the load in the middle, at each start.
async fn users_of_the_database_prevent_the_load_of_sample_data(engine: Engine) {
    let server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s");
    let mut server = server.start().await;
    let user: CreateUserRequest = client::message(json!({
        "user": {
            "email": "bjoern@example.com",
            "username": "bjoern",
            "fullName": "Another Björn",
            "password": "correct horse battery"
        }
    }));
    let mut users = UserServiceClient::new(server.channel());
    users.create_user(user).await.expect("a user");
    assert_eq!(server.terminate().await.status.code(), Some(0));
    let database = load(engine, Some(server.database()), &["--sample-data"]).await;
    assert_eq!(database.value("SELECT count(*) FROM books").await, "0");
    assert_eq!(database.value("SELECT count(*) FROM users").await, "1");
}

#[tokio::test]
async fn wrong_number_of_books_is_refused_with_the_range() {
    for wrong in ["0", "49", "1000001", "many"] {
        let finished = run(&["serve", "--sample-data", wrong], &[]).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.errors.contains("--sample-data"), "{finished:?}");
    }
    let finished = run(&["serve", "--sample-data", "49"], &[]).await;
    assert!(finished.errors.contains("50..=1000000"), "{finished:?}");
}
