//! Orders that the service places, and their status transitions.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::{GET, start};
use crate::{
    bad_input::{Case, bad, standard::bad_ids},
    client::{a_book, id, with},
    idempotency,
    standard::{answer, call, refusal, statements, statements_with},
};

on_every_engine!(
    place_order_takes_from_the_stock,
    refused_order_names_every_failing_item,
    order_step_from_a_wrong_status_is_refused,
    concurrent_cancels_return_the_stock_once,
    place_order_takes_one_statement_for_any_number_of_items,
);

pub(crate) const PLACE: &str = "OrderService/PlaceOrder";
const STEPS: [&str; 4] = ["ConfirmOrder", "ShipOrder", "DeliverOrder", "CancelOrder"];

/// Refused orders. The bad-input table has two books without stock, three users, and the orders 1,
/// pending, and 2, shipped.
pub(super) fn cases() -> Vec<Case> {
    let place = |members| with(order(3, &[(1, 1)]), members);
    let item = |book: Value, quantity: i64| json!([{"book_id": book, "quantity": quantity}]);
    let mut cases = vec![
        bad(PLACE, json!({}), &["user_id", "items"]),
        bad(PLACE, place(json!({"shipping_address": "x".repeat(501)})), &["shipping_address"]),
        bad(PLACE, place(json!({"items": [{}]})), &["items[0].book_id", "items[0].quantity"]),
        bad(PLACE, order(3, &[(1, 1), (2, 1), (1, 2)]), &["items[2].book_id"]),
        bad(PLACE, order(3, &(1..=101).map(|at| (at, 1)).collect::<Vec<_>>()), &["items"]),
        bad(
            PLACE,
            order(404, &[(1, 1), (404, 1), (405, 1)]),
            &["user_id", "items[1].book_id", "items[2].book_id"],
        )
        .no_reference(),
        bad(PLACE, order(3, &[(2, 1), (1, 1_000)]), &["items[0].quantity", "items[1].quantity"])
            .because(Code::FailedPrecondition, "INSUFFICIENT_STOCK"),
        bad(PLACE, place(json!({"id": id(1)})), &["id"]).taken(),
    ];
    for quantity in [0, -1, 1_001, i64::from(i32::MAX)] {
        let request = place(json!({"items": item(json!(id(1)), quantity)}));
        cases.push(bad(PLACE, request, &["items[0].quantity"]));
    }
    for text in bad_ids() {
        cases.push(bad(PLACE, place(json!({"id": text})), &["id"]));
        cases.push(bad(PLACE, place(json!({"user_id": text})), &["user_id"]));
        let request = place(json!({"items": item(json!(text), 1)}));
        cases.push(bad(PLACE, request, &["items[0].book_id"]));
    }
    for (verb, order) in STEPS.iter().zip([2, 1, 1, 2]) {
        let method = format!("OrderService/{verb}");
        cases.push(bad(&method, json!({}), &["id"]));
        cases.push(bad(&method, json!({"id": id(404)}), &["id"]).missing());
        cases.extend(bad_ids().into_iter().map(|id| bad(&method, json!({"id": id}), &["id"])));
        cases.push(bad(&method, json!({"id": id(1), "etag": "\0"}), &["etag"]));
        cases.push(bad(&method, json!({"id": id(1), "etag": "old"}), &["etag"]).stale());
        let wrong = bad(&method, json!({"id": id(order)}), &["id"]);
        cases.push(wrong.because(Code::FailedPrecondition, "ORDER_STATE"));
    }
    cases
}

/// A request of a user for books, each with its quantity.
pub(crate) fn order(user: u32, lines: &[(u32, i32)]) -> Value {
    let item = |(book, quantity): &(u32, i32)| json!({"book_id": id(*book), "quantity": quantity});
    let items: Vec<Value> = lines.iter().map(item).collect();
    json!({"user_id": id(user), "items": items, "shipping_address": "1 Main Street"})
}

/// The stock of each book, in the order of their ids.
pub(crate) async fn stocks(server: &TestServer) -> Vec<i64> {
    let rows = server.sql("SELECT stock FROM books ORDER BY id").await;
    let stock = |row: &Vec<Option<String>>| row[0].as_ref().and_then(|text| text.parse().ok());
    rows.iter().map(|row| stock(row).expect("a number")).collect()
}

/// A service with three books at 12.99 dollars, 10 copies of each in stock.
pub(crate) async fn shop(engine: Engine) -> TestServer {
    let server = start(engine).await;
    server.sql("UPDATE books SET stock = 10").await;
    server
}

async fn place_order_takes_from_the_stock(engine: Engine) {
    let server = shop(engine).await;
    let before = answer(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    let free = json!({"book": {"id": id(3), "price": {"currency_code": "USD", "nanos": 1_000}}});
    answer(&server, "BookService/UpdateBook", free).await;
    let request = with(order(1, &[(3, 10), (1, 2)]), json!({"id": id(50)}));
    let placed = answer(&server, PLACE, request.clone()).await;
    let dollars = |units: Value| with(json!({"currency_code": "USD"}), units);
    let item = |book, quantity, units| json!({"book_id": id(book), "quantity": quantity, "price": dollars(units)});
    let wanted = json!({
        "id": id(50), "user_id": id(1), "status": "ORDER_STATUS_PENDING",
        "items": [
            item(3, 10, json!({"nanos": 1_000})),
            item(1, 2, json!({"units": "12", "nanos": 990_000_000})),
        ],
        "total": dollars(json!({"units": "25", "nanos": 980_010_000})),
        "shipping_address": "1 Main Street",
        "create_time": placed["create_time"], "update_time": placed["create_time"],
        "etag": placed["etag"],
    });
    assert_eq!(placed, wanted);
    assert_eq!(stocks(&server).await, [8, 10, 0]);
    let after = answer(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    assert_ne!((&after["etag"], &after["update_time"]), (&before["etag"], &before["update_time"]));
    refusal(&server, PLACE, request).await.is_taken(&["id"]);
    // An order keeps its price when the book's changes.
    let dear = json!({"book": {"id": id(1), "price": {"currency_code": "EUR", "units": 99}}});
    answer(&server, "BookService/UpdateBook", dear).await;
    assert_eq!(answer(&server, GET, json!({"id": id(50)})).await, placed);

    // Placed once under a key, and among other writes in Execute.
    let key = [("idempotency-key", "0195a000-0000-4000-8000-0000000000aa")];
    for replayed in [false, true] {
        let again = idempotency::call(&server, PLACE, order(2, &[(2, 4)]), &key).await;
        assert_eq!(again.expect("an order").replayed, replayed);
    }
    assert_eq!(stocks(&server).await, [8, 6, 0]);
    let part = |request: Value| {
        with(request, json!({"@type": "type.googleapis.com/bookstore.v1.PlaceOrderRequest"}))
    };
    let both = json!({"requests": [part(order(1, &[(2, 6)])), part(order(1, &[(2, 1)]))]});
    let refused = refusal(&server, "TransactionService/Execute", both).await;
    refused
        .is(Code::FailedPrecondition, "INSUFFICIENT_STOCK", &["requests[1].items[0].quantity"])
        .says("left", "0")
        .says("index", "1");
    assert_eq!(stocks(&server).await, [8, 6, 0]);
    let both = json!({"requests": [part(order(1, &[(2, 2)])), part(order(1, &[(2, 4)]))]});
    answer(&server, "TransactionService/Execute", both).await;
    assert_eq!(stocks(&server).await, [8, 0, 0]);
    assert_eq!(server.database().value("SELECT count(*) FROM orders").await, "4");
}

async fn refused_order_names_every_failing_item(engine: Engine) {
    let server = shop(engine).await;
    let refused = refusal(&server, PLACE, order(1, &[(3, 11), (2, 10), (1, 1_000)])).await;
    refused
        .is(
            Code::FailedPrecondition,
            "INSUFFICIENT_STOCK",
            &["items[0].quantity", "items[2].quantity"],
        )
        .says("book_id", &id(3))
        .says("left", "10");
    refusal(&server, PLACE, order(404, &[(3, 11), (404, 1), (405, 1)])).await.has_no_reference(&[
        "user_id",
        "items[1].book_id",
        "items[2].book_id",
    ]);
    let euros = json!({"book": {"id": id(2), "price": {"currency_code": "EUR", "units": 9}}});
    answer(&server, "BookService/UpdateBook", euros).await;
    let refused = refusal(&server, PLACE, order(1, &[(3, 11), (2, 1), (1, 1)])).await;
    refused.is(Code::FailedPrecondition, "CURRENCY_MISMATCH", &["items[1].book_id"]);
    assert_eq!(stocks(&server).await, [10, 10, 10]);
    let left = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM order_items)";
    assert_eq!(server.database().value(left).await, "0");
}

/// Each transition from each status: five are allowed.
async fn order_step_from_a_wrong_status_is_refused(engine: Engine) {
    let server = shop(engine).await;
    let placed = answer(&server, PLACE, order(1, &[(1, 4)])).await;
    let key = json!({"id": placed["id"]});
    for from in ["PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"] {
        for (step, to) in STEPS.iter().zip(["CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"]) {
            server.sql(&format!("UPDATE orders SET status = '{from}'")).await;
            server.sql("UPDATE books SET stock = 6").await;
            let before = answer(&server, GET, key.clone()).await;
            let method = format!("OrderService/{step}");
            let allowed = matches!(
                (from, to),
                ("PENDING", "CONFIRMED")
                    | ("CONFIRMED", "SHIPPED")
                    | ("SHIPPED", "DELIVERED")
                    | ("PENDING" | "CONFIRMED", "CANCELLED")
            );
            let with_etag = with(key.clone(), json!({"etag": before["etag"]}));
            if !allowed {
                let refused = refusal(&server, &method, with_etag).await;
                refused.is(Code::FailedPrecondition, "ORDER_STATE", &["id"]).says("status", from);
                assert_eq!(answer(&server, GET, key.clone()).await, before);
                assert_eq!(stocks(&server).await, [6, 6, 6], "{from} {step}");
                continue;
            }
            refusal(&server, &method, with(key.clone(), json!({"etag": "old"})))
                .await
                .is_stale("etag");
            let after = answer(&server, &method, with_etag.clone()).await;
            assert_eq!(after["status"], format!("ORDER_STATUS_{to}"));
            assert_ne!(after["etag"], before["etag"]);
            assert_eq!(after["items"], before["items"]);
            assert_eq!(answer(&server, GET, key.clone()).await, after);
            let first = if to == "CANCELLED" { 10 } else { 6 };
            assert_eq!(stocks(&server).await, [first, 6, 6], "{from} {step}");
            refusal(&server, &method, with_etag).await.is_stale("etag");
        }
    }
}

async fn concurrent_cancels_return_the_stock_once(engine: Engine) {
    let server = shop(engine).await;
    for _ in 0..5 {
        let placed = answer(&server, PLACE, order(1, &[(3, 4), (1, 10)])).await;
        assert_eq!(stocks(&server).await, [0, 10, 6]);
        let cancel = |_| call(&server, "OrderService/CancelOrder", json!({"id": placed["id"]}));
        let mut done = 0;
        for answer in join_all((0..8).map(cancel)).await {
            match answer {
                Ok(order) => {
                    assert_eq!(order["status"], "ORDER_STATUS_CANCELLED");
                    done += 1;
                }
                Err(refused) => {
                    refused.is(Code::FailedPrecondition, "ORDER_STATE", &["id"]);
                    refused.says("status", "CANCELLED");
                }
            }
        }
        assert_eq!((done, stocks(&server).await), (1, vec![10, 10, 10]));
    }
}

async fn place_order_takes_one_statement_for_any_number_of_items(engine: Engine) {
    let server = shop(engine).await;
    let books: Vec<Value> = (4..=100)
        .map(|at| json!({"id": id(at), "book": with(a_book("x"), json!({"stock": 10}))}))
        .collect();
    answer(&server, "BookService/BatchCreateBooks", json!({"requests": books})).await;
    let all: Vec<(u32, i32)> = (1..=100).map(|at| (at, 1)).collect();
    // A call may need no transaction. Then it asks for the position instead.
    let own = |texts: Vec<String>| {
        let is_own = |text: &String| {
            !text.starts_with("BEGIN") && text != "COMMIT" && !text.contains("wal_flush_lsn")
        };
        texts.into_iter().filter(is_own).collect::<Vec<_>>()
    };
    let few = own(statements(&server, PLACE, order(1, &all[..3])).await);
    let many = own(statements(&server, PLACE, order(1, &all)).await);
    let key = Uuid::new_v4().to_string();
    let key = [("idempotency-key", &*key)];
    let keyed = || statements_with(&server, PLACE, order(1, &all), &key);
    let (first, again) = (keyed().await, keyed().await);
    match engine {
        Engine::Postgres => assert_eq!((few.len(), &many), (1, &few)),
        Engine::Sqlite => assert_eq!(many, few),
    }
    // The key's lock is taken with BEGIN, and the position comes with COMMIT. Two more statements
    // look the key up and store its answer.
    assert_eq!((first.len() - many.len(), again.len()), (4, 3), "{again:#?}");
}
