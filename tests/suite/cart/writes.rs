//! Carts that the service fills, and their checkout.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::Code;

use super::{books, cart};
use crate::{
    bad_input::{Case, bad, standard::bad_ids},
    client::{a_book, id, with},
    order::writes::{shop, stocks},
    standard::{answer, call, refusal},
};

on_every_engine!(
    cart_items_are_added_changed_and_removed,
    concurrent_adds_of_cart_items_sum_up,
    cart_over_its_limits_is_refused,
    checkout_places_the_order_and_clears_the_cart,
);

const ADD: &str = "CartService/AddItem";
const UPDATE: &str = "CartService/UpdateItem";
const REMOVE: &str = "CartService/RemoveItem";
const CLEAR: &str = "CartService/Clear";
const CHECKOUT: &str = "CartService/Checkout";

/// Refused writes. In the bad-input table all carts are empty.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, valid, required) in [
        (ADD, item(3, 1, 1), &["user_id", "book_id", "quantity"][..]),
        (UPDATE, item(3, 1, 1), &["user_id", "book_id", "quantity"]),
        (REMOVE, json!({"user_id": id(3), "book_id": id(1)}), &["user_id", "book_id"]),
        (CLEAR, json!({"user_id": id(3)}), &["user_id"]),
        (CHECKOUT, checkout(3), &["user_id"]),
    ] {
        let case = |members: Value, fields| bad(method, with(valid.clone(), members), fields);
        cases.push(bad(method, json!({}), required));
        cases.push(case(json!({"user_id": id(404)}), &["user_id"]).missing());
        cases.push(case(json!({"etag": "old"}), &["etag"]).stale());
        cases.push(case(json!({"etag": "\0"}), &["etag"]));
        for text in bad_ids() {
            cases.push(case(json!({"user_id": text}), &["user_id"]));
            if required.contains(&"book_id") {
                cases.push(case(json!({"book_id": text}), &["book_id"]));
            }
        }
        if required.contains(&"quantity") {
            for quantity in [0, -1, 1_001] {
                cases.push(case(json!({"quantity": quantity}), &["quantity"]));
            }
        }
    }
    cases.push(bad(ADD, item(3, 404, 1), &["book_id"]).no_reference());
    cases.push(bad(UPDATE, item(3, 1, 1), &["book_id"]).missing());
    let absent = json!({"user_id": id(3), "book_id": id(1)});
    cases.push(bad(REMOVE, absent, &["book_id"]).missing());
    let empty = bad(CHECKOUT, checkout(3), &[]);
    cases.push(empty.because(Code::FailedPrecondition, "CART_EMPTY"));
    let long = with(checkout(3), json!({"shipping_address": "x".repeat(501), "order_id": "x"}));
    cases.push(bad(CHECKOUT, long, &["shipping_address", "order_id"]));
    cases
}

fn item(user: u32, book: u32, quantity: i32) -> Value {
    json!({"user_id": id(user), "book_id": id(book), "quantity": quantity})
}

fn checkout(user: u32) -> Value {
    json!({"user_id": id(user), "shipping_address": "1 Main Street"})
}

/// The quantity of each book in a cart.
fn copies(cart: &Value) -> Vec<i64> {
    let items = cart["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["quantity"].as_i64().expect("a number")).collect()
}

/// Changes a cart, and asserts that the answer equals a read and the etag is new.
async fn change(server: &TestServer, method: &str, request: Value) -> Value {
    let user: Vec<u32> = (1..=3).filter(|user| request["user_id"] == id(*user)).collect();
    let before = cart(server, user[0]).await;
    let with_etag = with(request, json!({"etag": before.get("etag")}));
    let after = answer(server, method, with_etag.clone()).await;
    assert_eq!(after, cart(server, user[0]).await, "{method}");
    assert_ne!(after["etag"], before["etag"], "{method}");
    if before.get("etag").is_some() {
        refusal(server, method, with_etag).await.is_stale("etag");
        assert_eq!(after["create_time"], before["create_time"]);
        assert_ne!(after["update_time"], before["update_time"]);
    }
    after
}

async fn cart_items_are_added_changed_and_removed(engine: Engine) {
    let server = shop(engine).await;
    let first = change(&server, ADD, item(1, 3, 2)).await;
    assert_eq!((books(&first), copies(&first)), (vec![3], vec![2]));
    change(&server, ADD, item(1, 1, 1)).await;
    let added = change(&server, ADD, item(1, 3, 998)).await;
    assert_eq!((books(&added), copies(&added)), (vec![3, 1], vec![1_000, 1]));
    let set = change(&server, UPDATE, item(1, 3, 7)).await;
    assert_eq!((books(&set), copies(&set)), (vec![3, 1], vec![7, 1]));
    assert_eq!(set["id"], first["id"]);
    let removed = change(&server, REMOVE, json!({"user_id": id(1), "book_id": id(3)})).await;
    assert_eq!((books(&removed), copies(&removed)), (vec![1], vec![1]));
    for (method, request) in
        [(UPDATE, item(1, 3, 7)), (REMOVE, json!({"user_id": id(1), "book_id": id(3)}))]
    {
        refusal(&server, method, request).await.is_missing(&["book_id"]);
    }
    let cleared = change(&server, CLEAR, json!({"user_id": id(1)})).await;
    assert_eq!((books(&cleared), &cleared["id"]), (vec![], &first["id"]));
    // No stock was taken.
    assert_eq!(stocks(&server).await, [10, 10, 10]);
    answer(&server, CLEAR, json!({"user_id": id(2)})).await;
}

async fn concurrent_adds_of_cart_items_sum_up(engine: Engine) {
    let server = shop(engine).await;
    // The first calls also compete to insert the cart.
    let added = (0..30).map(|at| call(&server, ADD, item(1, 1 + at % 2, 1)));
    for answer in join_all(added).await {
        answer.expect("a cart");
    }
    let mut copies = copies(&cart(&server, 1).await);
    copies.sort_unstable();
    assert_eq!(copies, [15, 15]);
    let version = server.database().value("SELECT version FROM carts").await;
    assert_eq!(version, "30");
}

async fn cart_over_its_limits_is_refused(engine: Engine) {
    let server = shop(engine).await;
    answer(&server, ADD, item(1, 1, 999)).await;
    let refused = refusal(&server, ADD, item(1, 1, 2)).await;
    refused.is(Code::FailedPrecondition, "CART_FULL", &["quantity"]).says("left", "1");
    let more: Vec<Value> = (4..=101).map(|at| json!({"id": id(at), "book": a_book("x")})).collect();
    answer(&server, "BookService/BatchCreateBooks", json!({"requests": more})).await;
    for book in 2..=100 {
        answer(&server, ADD, item(1, book, 1)).await;
    }
    let full = cart(&server, 1).await;
    let refused = refusal(&server, ADD, item(1, 101, 1)).await;
    refused.is(Code::FailedPrecondition, "CART_FULL", &["book_id"]);
    assert_eq!(cart(&server, 1).await, full);
    answer(&server, ADD, item(1, 100, 1)).await;
}

async fn checkout_places_the_order_and_clears_the_cart(engine: Engine) {
    let server = shop(engine).await;
    for book in [3, 1] {
        answer(&server, ADD, item(1, book, 11)).await;
    }
    let before = cart(&server, 1).await;
    let refused = refusal(&server, CHECKOUT, checkout(1)).await;
    refused.is(
        Code::FailedPrecondition,
        "INSUFFICIENT_STOCK",
        &["items[0].quantity", "items[1].quantity"],
    );
    refused.says("book_id", &id(3));
    assert_eq!((cart(&server, 1).await, stocks(&server).await), (before, vec![10, 10, 10]));
    answer(&server, UPDATE, item(1, 3, 10)).await;
    answer(&server, UPDATE, item(1, 1, 3)).await;
    // Concurrent checkouts of one cart place one order.
    let wanted = with(checkout(1), json!({"order_id": id(60)}));
    let answers = join_all((0..5).map(|_| call(&server, CHECKOUT, wanted.clone()))).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    for refused in refused {
        let refused = refused.expect_err("an empty cart");
        refused.is(Code::FailedPrecondition, "CART_EMPTY", &[]);
    }
    let [Ok(order)] = &done[..] else { panic!("{} orders", done.len()) };
    let lines: Vec<(&Value, &Value)> = order["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| (&item["book_id"], &item["quantity"]))
        .collect();
    assert_eq!(lines, [(&json!(id(3)), &json!(10)), (&json!(id(1)), &json!(3))]);
    assert_eq!((&order["id"], &order["user_id"]), (&json!(id(60)), &json!(id(1))));
    assert_eq!(stocks(&server).await, [7, 10, 0]);
    assert_eq!(books(&cart(&server, 1).await), Vec::<u32>::new());
    answer(&server, ADD, item(1, 1, 1)).await;
    refusal(&server, CHECKOUT, wanted).await.is_taken(&["order_id"]);
    assert_eq!(copies(&cart(&server, 1).await), [1]);
}
