//! `OrderService`: reads of orders that were inserted by SQL, and writes.

mod by_book;
pub(crate) mod writes;

use std::fmt::Write as _;

use bookstore_tests::{Database, Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    bad_input::{Case, bad, standard::Kind},
    client::{Refusal, a_book, id, literal, with},
    standard::{answer, refusal, statements},
    user::a_user,
};

on_every_engine!(
    orders_are_read_with_their_items,
    orders_are_filtered_and_sorted,
    order_page_ends_at_its_item_limit,
    deleting_an_ordered_book_or_its_user_is_refused,
    sql_that_breaks_an_order_constraint_is_refused,
);

/// The bad-input table's case of orders.
pub(crate) const KIND: Kind = Kind {
    service: "OrderService",
    one: "Order",
    many: "Orders",
    field: "order",
    ids: || [id(1), id(2)],
    valid: || json!({}),
    required: &[],
    input_only: &[],
    text: ("shipping_address", 500),
    other: None,
    sortable: "total",
    rows: Vec::new,
    own: cases,
};

const GET: &str = "OrderService/GetOrder";
const LIST: &str = "OrderService/ListOrders";
const BATCH: &str = "OrderService/BatchGetOrders";

fn cases() -> Vec<Case> {
    let mut cases = writes::cases();
    cases.extend(by_book::cases());
    for filter in [
        "status = PENDING",
        "status = 2",
        "status > ORDER_STATUS_PENDING",
        "total = \"1\"",
        "total > 0.0000001",
        "total.units = 1",
        "currency_code = USD",
        "user_id = x",
        "items.book_id = x",
        "items:*",
    ] {
        cases.push(bad(LIST, json!({"filter": filter}), &["filter"]));
    }
    for order in ["status", "update_time", "total.currency_code", "total_micros"] {
        cases.push(bad(LIST, json!({"order_by": order}), &["order_by"]));
    }
    cases
}

/// An order for SQL to insert: its number, its user's, its status, and for each item the book, the
/// quantity and the price of one, in micros of a dollar.
pub(crate) type Placed<'a> = (u32, u32, &'a str, &'a [(u32, i32, i64)]);

/// Inserts orders, one a second; users and books of the numbers must exist. Items are numbered
/// backwards, so that their order differs from that of their ids.
pub(crate) async fn place(database: &Database, orders: &[Placed<'_>]) {
    let literal = |number| literal(database.engine(), &id(number));
    let mut sql = String::new();
    for (number, user, status, items) in orders {
        let total: i64 =
            items.iter().map(|(_, quantity, price)| i64::from(*quantity) * price).sum();
        let time = format!("'2026-01-01T00:00:{number:02}");
        let _ = write!(
            sql,
            "INSERT INTO orders (id, user_id, status, total_micros, currency_code, \
             shipping_address, created_at, updated_at) VALUES ({}, {}, '{status}', {total}, 'USD', \
             '{number} Main Street', {time}+00:00', {time}+00:00'); ",
            literal(*number),
            literal(*user),
        );
        for (at, (book, quantity, price)) in (0..).zip(*items) {
            let _ = write!(
                sql,
                "INSERT INTO order_items (id, order_id, book_id, quantity, price_micros, \
                 created_at) VALUES ({}, {}, {}, {quantity}, {price}, {time}.{at:03}+00:00'); ",
                literal(number * 1_000 + 999 - at),
                literal(*number),
                literal(*book),
            );
        }
    }
    database.sql(&sql).await;
}

/// A service with users and books of the ids 1 to 3, which echoes its statements.
pub(crate) async fn start(engine: Engine) -> TestServer {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let users: Vec<Value> = (1..=3).map(|at| json!({"id": id(at), "user": a_user()})).collect();
    answer(&server, "UserService/BatchCreateUsers", json!({"requests": users})).await;
    let books: Vec<Value> = (1..=3).map(|at| json!({"id": id(at), "book": a_book("x")})).collect();
    answer(&server, "BookService/BatchCreateBooks", json!({"requests": books})).await;
    server
}

/// The ids of an answer's orders, as their numbers.
fn numbers(answer: &Value) -> Vec<u32> {
    let orders = answer["orders"].as_array().cloned().unwrap_or_default();
    let number = |order: &Value| (1..100).find(|at| order["id"] == id(*at)).expect("a number");
    orders.iter().map(number).collect()
}

async fn orders_are_read_with_their_items(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    let orders: [Placed<'_>; 4] = [
        (1, 1, "SHIPPED", &[(3, 2, 12_500_000), (1, 1_000, 1), (2, 1, 0)]),
        (2, 2, "PENDING", &[(1, 1, 12_990_001)]),
        (3, 1, "CANCELLED", &[]),
        (4, 3, "CONFIRMED", &[(2, 3, 10_000_000_000_000)]),
    ];
    place(&database, &orders).await;
    let first = answer(&server, GET, json!({"id": id(1)})).await;
    let item = |book, quantity, price: Value| {
        json!({"book_id": id(book), "quantity": quantity,
            "price": with(json!({"currency_code": "USD"}), price)})
    };
    let time = "2026-01-01T00:00:01Z";
    let wanted = json!({
        "id": id(1),
        "user_id": id(1),
        "status": "ORDER_STATUS_SHIPPED",
        "items": [
            item(3, 2, json!({"units": "12", "nanos": 500_000_000})),
            item(1, 1_000, json!({"nanos": 1_000})),
            item(2, 1, json!({})),
        ],
        "total": {"currency_code": "USD", "units": "25", "nanos": 1_000_000},
        "shipping_address": "1 Main Street",
        "create_time": time,
        "update_time": time,
        "etag": first["etag"],
    });
    assert_eq!(first, wanted);
    assert!(first["etag"].as_str().is_some_and(|etag| !etag.is_empty()));
    let third = answer(&server, GET, json!({"id": id(3)})).await;
    assert_eq!((third.get("items"), &third["status"]), (None, &json!("ORDER_STATUS_CANCELLED")));

    // All methods return the same order.
    let batch = answer(&server, BATCH, json!({"ids": [id(4), id(1), id(3), id(1)]})).await;
    assert_eq!(numbers(&batch), [4, 1, 3, 1]);
    assert_eq!((&batch["orders"][1], &batch["orders"][3]), (&first, &first));
    assert_eq!(batch["orders"][2], third);
    assert_eq!(batch["orders"][0]["total"]["units"], "30000000");
    let list = answer(&server, LIST, json!({})).await;
    assert_eq!((numbers(&list), &list["orders"][3]), (vec![4, 3, 2, 1], &first));
    let missing = json!({"ids": [id(1), id(404)]});
    refusal(&server, BATCH, missing).await.is_missing(&["ids[1]"]).says("resource", "order");

    // The number of statements doesn't depend on the number of orders.
    for (method, request, count) in [
        (GET, json!({"id": id(1)}), 1),
        (BATCH, json!({"ids": [id(1)]}), 2),
        (BATCH, json!({"ids": [id(1), id(2), id(3), id(4)]}), 2),
        (LIST, json!({"page_size": 1}), 2),
        (LIST, json!({"page_size": 4}), 2),
        (LIST, json!({"total_size_mode": "TOTAL_SIZE_MODE_EXACT"}), 3),
        (LIST, json!({"filter": "total > 1e9"}), 1),
    ] {
        let texts = statements(&server, method, request.clone()).await;
        assert_eq!(texts.len(), count, "{method} {request}: {texts:?}");
    }
}

async fn orders_are_filtered_and_sorted(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    let orders: [Placed<'_>; 5] = [
        (1, 1, "PENDING", &[(1, 1, 5_000_000)]),
        (2, 2, "CONFIRMED", &[(1, 2, 2_500_000)]),
        (3, 1, "SHIPPED", &[(2, 1, 7_250_000)]),
        (4, 1, "DELIVERED", &[(2, 1, 1)]),
        (5, 3, "CANCELLED", &[]),
    ];
    place(&database, &orders).await;
    let euros = format!("WHERE id = {}", literal(engine, &id(4)));
    let euros = format!("UPDATE orders SET currency_code = 'EUR', version = 2 {euros}");
    database.sql(&euros).await;
    for (filter, wanted) in [
        (format!("id = {}", id(2)), vec![2]),
        (format!("user_id = {}", id(1)), vec![4, 3, 1]),
        ("status = ORDER_STATUS_PENDING".to_owned(), vec![1]),
        ("status = ORDER_STATUS_CONFIRMED OR status = ORDER_STATUS_SHIPPED".to_owned(), vec![3, 2]),
        ("status != ORDER_STATUS_DELIVERED".to_owned(), vec![5, 3, 2, 1]),
        ("status = ORDER_STATUS_CANCELLED".to_owned(), vec![5]),
        ("total = 5".to_owned(), vec![2, 1]),
        ("total > 0 AND total < 7.25".to_owned(), vec![4, 2, 1]),
        ("total.currency_code = EUR".to_owned(), vec![4]),
        ("shipping_address = \"3 Main*\"".to_owned(), vec![3]),
        ("shipping_address:MAIN".to_owned(), vec![5, 4, 3, 2, 1]),
        ("create_time >= \"2026-01-01T00:00:04Z\"".to_owned(), vec![5, 4]),
        ("update_time < \"2026-01-01T00:00:02Z\"".to_owned(), vec![1]),
    ] {
        let page = answer(&server, LIST, json!({"filter": filter})).await;
        assert_eq!(numbers(&page), wanted, "{filter}");
    }
    for (order, wanted) in [
        ("total", vec![5, 4, 1, 2, 3]),
        ("total desc", vec![3, 2, 1, 4, 5]),
        ("total desc, create_time", vec![3, 1, 2, 4, 5]),
        ("create_time", vec![1, 2, 3, 4, 5]),
    ] {
        let mut walked = Vec::new();
        let mut request = json!({"order_by": order, "page_size": 2});
        loop {
            let page = answer(&server, LIST, request.clone()).await;
            walked.extend(numbers(&page));
            match page.get("next_page_token") {
                Some(token) => request["page_token"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(walked, wanted, "{order}");
    }
}

/// Orders with very many items, which only SQL can make: answers stay bounded, and every order is
/// returned with all of its items.
async fn order_page_ends_at_its_item_limit(engine: Engine) {
    const ITEMS: usize = 20_000;
    let server = start(engine).await;
    let database = server.database();
    place(&database, &[1, 2, 3, 4, 5].map(|at| (at, 1, "PENDING", &[][..]))).await;
    let numbered = |count: usize| match engine {
        Engine::Sqlite => format!(
            "(WITH RECURSIVE n(at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < {count}) \
             SELECT at FROM n)"
        ),
        Engine::Postgres => format!("(SELECT generate_series(1, {count}) AS at)"),
    };
    let row_id = match engine {
        Engine::Sqlite => "randomblob(16)",
        Engine::Postgres => "gen_random_uuid()",
    };
    for (order, count) in [(1, ITEMS), (2, ITEMS), (3, 0), (4, ITEMS), (5, ITEMS * 5)] {
        let fill = format!(
            "INSERT INTO order_items (id, order_id, book_id, quantity, price_micros) \
             SELECT {row_id}, {}, {}, 1 + at % 1000, 1000000 + at FROM {} AS n",
            literal(engine, &id(order)),
            literal(engine, &id(1)),
            numbered(count)
        );
        if count > 0 {
            database.sql(&fill).await;
        }
    }
    let length = |order: &Value| order["items"].as_array().map_or(0, Vec::len);
    // Two orders of 20,000 items fit into 3 MiB, three don't. The 100,000 items are not even read.
    let mut request = json!({"order_by": "create_time"});
    for wanted in [vec![1, 2, 3], vec![4]] {
        let page = answer(&server, LIST, request.clone()).await;
        assert_eq!(numbers(&page), wanted);
        for order in page["orders"].as_array().expect("orders") {
            let all = if order["id"] == id(3) { 0 } else { ITEMS };
            assert_eq!(length(order), all, "{}", order["id"]);
        }
        request["page_token"] = page["next_page_token"].clone();
    }
    // Not even the first order fits: this is an error, and not the end of the list.
    let too_large = |refusal: Refusal, limit: usize| {
        let refusal = refusal.is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[]);
        refusal.says("limit", &limit.to_string());
    };
    too_large(refusal(&server, LIST, request).await, 3 << 20);
    too_large(refusal(&server, GET, json!({"id": id(5)})).await, 3 << 20);
    for ids in [vec![id(3), id(5)], vec![id(1), id(2), id(4), id(1)], vec![id(1); 4]] {
        too_large(refusal(&server, BATCH, json!({"ids": ids})).await, 4 << 20);
    }
    let batch = answer(&server, BATCH, json!({"ids": [id(3), id(4)]})).await;
    assert_eq!((length(&batch["orders"][0]), length(&batch["orders"][1])), (0, ITEMS));
}

async fn deleting_an_ordered_book_or_its_user_is_refused(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    let orders: [Placed<'_>; 2] =
        [(1, 1, "CANCELLED", &[(1, 1, 1)]), (2, 2, "PENDING", &[(1, 1, 1), (2, 1, 1)])];
    place(&database, &orders).await;
    let post = json!({"title": "x", "content": "y", "author_id": id(1)});
    answer(&server, "PostService/CreatePost", json!({"post": post})).await;
    for (method, request, fields) in [
        ("BookService/DeleteBook", json!({"id": id(1)}), &["id"][..]),
        (
            "BookService/BatchDeleteBooks",
            json!({"requests": [{"id": id(3)}, {"id": id(2)}, {"id": id(1)}]}),
            &["requests[1].id", "requests[2].id"],
        ),
        ("UserService/DeleteUser", json!({"id": id(2)}), &["id"]),
        ("UserService/DeleteUser", json!({"id": id(1), "force": true}), &["id"]),
        (
            "UserService/BatchDeleteUsers",
            json!({"requests": [{"id": id(3), "force": true}, {"id": id(1), "force": true}]}),
            &["requests[1].id"],
        ),
    ] {
        let refused = refusal(&server, method, request.clone()).await;
        refused.is(Code::FailedPrecondition, "RESOURCE_IN_USE", fields);
        assert!(refused.message.contains("still referred to by an order"), "{method} {refused:?}");
    }
    for (table, count) in [("books", "3"), ("users", "3"), ("posts", "1"), ("order_items", "3")] {
        assert_eq!(database.value(&format!("SELECT count(*) FROM {table}")).await, count);
    }
    database.sql("DELETE FROM orders").await;
    assert_eq!(database.value("SELECT count(*) FROM order_items").await, "0");
    answer(&server, "BookService/DeleteBook", json!({"id": id(1)})).await;
    answer(&server, "UserService/DeleteUser", json!({"id": id(2)})).await;
}

/// The database's own constraints, which apply to SQL too.
async fn sql_that_breaks_an_order_constraint_is_refused(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    place(&database, &[(1, 1, "PENDING", &[(1, 1, 1)])]).await;
    let cart = format!(
        "INSERT INTO carts (id, user_id) VALUES ({0}, {0}); \
         INSERT INTO cart_items (id, cart_id, book_id, quantity) VALUES ({0}, {0}, {0}, 1)",
        literal(engine, &id(1))
    );
    database.sql(&cart).await;
    let long = |length| format!("'{}'", "𝔘".repeat(length));
    for (column, table, good, bad) in [
        ("status", "orders", vec!["'DELIVERED'".to_owned()], vec!["'LOST'".into(), "''".into()]),
        (
            "total_micros",
            "orders",
            vec!["0".into(), "1000000000000000000".into()],
            vec!["-1".into(), "1000000000000000001".into()],
        ),
        ("currency_code", "orders", vec!["'EUR'".into()], vec!["'EURO'".into(), "''".into()]),
        ("shipping_address", "orders", vec![long(500), "''".into()], vec![long(501)]),
        ("quantity", "order_items", vec!["1000".into()], vec!["0".into(), "1001".into()]),
        (
            "price_micros",
            "order_items",
            vec!["0".into(), "10000000000000".into()],
            vec!["-1".into(), "10000000000001".into()],
        ),
        ("quantity", "cart_items", vec!["1000".into()], vec!["0".into(), "1001".into()]),
        ("cart_id", "cart_items", vec![], vec![literal(engine, &id(2))]),
        ("user_id", "carts", vec![], vec![literal(engine, &id(404))]),
    ] {
        let update = |value: &String| format!("UPDATE {table} SET {column} = {value}");
        for value in &good {
            assert_eq!(database.try_sql(&update(value)).await, Ok(Vec::new()), "{}", update(value));
        }
        for value in &bad {
            assert!(database.try_sql(&update(value)).await.is_err(), "{}", update(value));
        }
    }
    for duplicate in [
        format!(
            "INSERT INTO carts (id, user_id) VALUES ({}, {})",
            literal(engine, &id(2)),
            literal(engine, &id(1))
        ),
        format!(
            "INSERT INTO cart_items (id, cart_id, book_id, quantity) VALUES ({}, {1}, {1}, 1)",
            literal(engine, &id(2)),
            literal(engine, &id(1))
        ),
    ] {
        assert!(database.try_sql(&duplicate).await.is_err(), "{duplicate}");
    }
}
