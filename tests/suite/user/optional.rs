//! Users without a full name, and orders without an address.

use bookstore_tests::{Engine, TestServer, on_every_engine, run};
use serde_json::{Value, json};

use super::{CREATE, UPDATE};
use crate::{
    client::{a_book, id, mask, with},
    standard::answer,
};

on_every_engine!(
    user_without_full_name_is_created_changed_and_found,
    order_without_address_is_placed_and_found,
    revision_that_requires_names_again_is_refused_while_one_is_empty,
);

const LIST: &str = "UserService/ListUsers";

/// The guides' payload, with what this service requires besides.
fn reader(at: u32) -> Value {
    json!({
        "email": format!("reader{at}@example.com"),
        "username": format!("reader{at}"),
        "password": "correct horse",
    })
}

/// The ids in the answer of a list, in its order.
pub(super) async fn listed(
    server: &TestServer,
    method: &str,
    field: &str,
    request: Value,
) -> Vec<Value> {
    let page = answer(server, method, request).await;
    let rows = page[field].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["id"].clone()).collect()
}

async fn user_without_full_name_is_created_changed_and_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let named = with(reader(1), json!({"full_name": "Ada Reader"}));
    answer(&server, CREATE, json!({"id": id(1), "user": named})).await;
    // Both an absent name and an empty one mean none.
    let created = answer(&server, CREATE, json!({"id": id(2), "user": reader(2)})).await;
    assert_eq!(created.get("full_name"), None, "{created}");
    let empty = with(reader(3), json!({"full_name": ""}));
    let created = answer(&server, CREATE, json!({"id": id(3), "user": empty})).await;
    assert_eq!(created.get("full_name"), None, "{created}");
    let read = answer(&server, "UserService/GetUser", json!({"id": id(2)})).await;
    assert_eq!(read.get("full_name"), None, "{read}");

    for (filter, wanted) in [
        ("full_name:*", vec![id(1)]),
        ("NOT full_name:*", vec![id(2), id(3)]),
        ("full_name = \"\"", vec![id(2), id(3)]),
        ("full_name = \"Ada*\"", vec![id(1)]),
    ] {
        let request = json!({"filter": filter, "order_by": "create_time"});
        assert_eq!(listed(&server, LIST, "users", request).await, wanted, "{filter}");
    }
    // Pages in the order of the names reach the users without one.
    let mut request = json!({"order_by": "full_name desc", "page_size": 1});
    let mut found = Vec::new();
    loop {
        let page = answer(&server, LIST, request.clone()).await;
        found.push(page["users"][0]["id"].clone());
        match page.get("next_page_token") {
            Some(token) => request["page_token"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(found, [id(1), id(3), id(2)]);

    // A mask that names the field sets it and clears it. Without a mask an unset field stays.
    for (user, update_mask, wanted) in [
        (json!({"full_name": "New Name"}), Some("full_name"), Some("New Name")),
        (json!({"bio": "Reads."}), None, Some("New Name")),
        (json!({}), Some("full_name"), None),
        (with(reader(1), json!({"full_name": "Again"})), Some("*"), Some("Again")),
        (reader(1), Some("*"), None),
    ] {
        let mut update = json!({"user": with(user, json!({"id": id(1)}))});
        if let Some(path) = update_mask {
            update["update_mask"] = mask(&[path]);
        }
        let changed = answer(&server, UPDATE, update.clone()).await;
        assert_eq!(changed.get("full_name").and_then(Value::as_str), wanted, "{update}");
    }
    let empty = "SELECT count(*) FROM users WHERE full_name = ''";
    assert_eq!(server.database().value(empty).await, "3");
}

async fn order_without_address_is_placed_and_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let book = with(a_book("A book"), json!({"stock": 9}));
    answer(&server, "BookService/CreateBook", json!({"id": id(1), "book": book})).await;
    answer(&server, CREATE, json!({"id": id(2), "user": reader(2)})).await;
    let place = |at: u32, members: Value| {
        let items = json!([{"book_id": id(1), "quantity": 1}]);
        with(json!({"id": id(at), "user_id": id(2), "items": items}), members)
    };
    let placed = answer(&server, "OrderService/PlaceOrder", place(3, json!({}))).await;
    assert_eq!(placed.get("shipping_address"), None, "{placed}");
    for (at, address) in [(4, "1 Main Street"), (5, ""), (6, "2 Main St")] {
        let order = place(at, json!({"shipping_address": address}));
        answer(&server, "OrderService/PlaceOrder", order).await;
    }
    let item = json!({"user_id": id(2), "book_id": id(1), "quantity": 1});
    answer(&server, "CartService/AddItem", item).await;
    let checkout = json!({"user_id": id(2), "order_id": id(7)});
    let checked_out = answer(&server, "CartService/Checkout", checkout).await;
    assert_eq!(checked_out.get("shipping_address"), None, "{checked_out}");

    for (filter, wanted) in [
        ("shipping_address:*", vec![4, 6]),
        ("NOT shipping_address:*", vec![3, 5, 7]),
        ("shipping_address:MAIN", vec![4, 6]),
    ] {
        let request = json!({"filter": filter, "order_by": "create_time"});
        let found = listed(&server, "OrderService/ListOrders", "orders", request).await;
        assert_eq!(found, wanted.into_iter().map(id).collect::<Vec<_>>(), "{filter}");
    }
}

async fn revision_that_requires_names_again_is_refused_while_one_is_empty(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let database = server.database();
    answer(&server, CREATE, json!({"id": id(1), "user": reader(1)})).await;
    server.terminate().await;
    let url = database.owner_url();
    let before = "m20261127_000011_find_words_without_accents";
    let down = async || run(&["migrate", "down", before, "--yes"], &[("DATABASE_URL", &url)]).await;
    let refused = down().await;
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.errors.contains("a full_name of every user"), "{refused:?}");
    database.sql("UPDATE users SET full_name = 'Ada'").await;
    let done = down().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let up = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(up.code, Some(0), "{up:?}");
    assert_eq!(database.value("SELECT full_name FROM users").await, "Ada");
}
