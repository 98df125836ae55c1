//! `CartService`: reads of carts that were filled by SQL, and writes.

mod writes;

use std::{sync::Arc, time::Duration};

use bookstore_tests::{Database, Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tonic::Code;

use crate::{
    bad_input::{Case, bad, standard::bad_ids},
    client::{id, literal},
    lifecycle::{postgres, waits_for_lock},
    order::start,
    standard::{answer, call, refusal, statements},
};

on_every_engine!(
    cart_without_items_is_read_as_empty,
    deleting_a_book_removes_it_from_carts,
    deleting_a_user_deletes_the_cart,
);

const GET: &str = "CartService/GetCart";

/// The bad-input table's cases of carts.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![bad(GET, json!({}), &["user_id"])];
    cases.extend(bad_ids().into_iter().map(|id| bad(GET, json!({"user_id": id}), &["user_id"])));
    cases.push(bad(GET, json!({"user_id": id(404)}), &["user_id"]).missing());
    cases.extend(writes::cases());
    cases
}

/// Fills carts: each with its user's number, which is the cart's too, and its items, as numbers of
/// books and quantities. Users and books must exist.
pub(crate) async fn fill(database: &Database, carts: &[(u32, &[(u32, i32)])]) {
    let literal = |number| literal(database.engine(), &id(number));
    let time = "'2026-01-01T00:00:00";
    let mut sql = String::new();
    for (user, items) in carts {
        sql += &format!(
            "INSERT INTO carts (id, user_id, created_at, updated_at) \
             VALUES ({0}, {0}, {time}+00:00', {time}+00:00'); ",
            literal(*user)
        );
        for (at, (book, quantity)) in (0..).zip(*items) {
            sql += &format!(
                "INSERT INTO cart_items (id, cart_id, book_id, quantity, created_at) \
                 VALUES ({}, {}, {}, {quantity}, {time}.{at:03}+00:00'); ",
                literal(user * 1_000 + 999 - at),
                literal(*user),
                literal(*book),
            );
        }
    }
    database.sql(&sql).await;
}

async fn cart(server: &TestServer, user: u32) -> Value {
    answer(server, GET, json!({"user_id": id(user)})).await
}

/// The numbers of the books in a cart.
fn books(cart: &Value) -> Vec<u32> {
    let items = cart["items"].as_array().cloned().unwrap_or_default();
    let number = |item: &Value| (1..100).find(|at| item["book_id"] == id(*at)).expect("a number");
    items.iter().map(number).collect()
}

async fn cart_without_items_is_read_as_empty(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    assert_eq!(cart(&server, 1).await, json!({"user_id": id(1)}));
    assert_eq!(database.value("SELECT count(*) FROM carts").await, "0", "a read has written");
    let missing = refusal(&server, GET, json!({"user_id": id(404)})).await;
    missing.is_missing(&["user_id"]).says("resource", "user").says("id", &id(404));

    fill(&database, &[(1, &[(3, 2), (1, 1_000), (2, 1)]), (2, &[])]).await;
    let filled = cart(&server, 1).await;
    let item = |at: u32, book, quantity| {
        let fraction = if at == 0 { String::new() } else { format!(".{at:03}") };
        json!({"book_id": id(book), "quantity": quantity,
            "create_time": format!("2026-01-01T00:00:00{fraction}Z")})
    };
    let wanted = json!({
        "id": id(1),
        "user_id": id(1),
        "items": [item(0, 3, 2), item(1, 1, 1_000), item(2, 2, 1)],
        "create_time": "2026-01-01T00:00:00Z",
        "update_time": "2026-01-01T00:00:00Z",
        "etag": filled["etag"],
    });
    assert_eq!(filled, wanted);
    let empty = cart(&server, 2).await;
    assert_eq!((&empty["id"], empty.get("items")), (&json!(id(2)), None));
    assert!(empty["etag"].is_string());
    assert_eq!(cart(&server, 3).await, json!({"user_id": id(3)}));
    for user in [1, 2, 3] {
        let texts = statements(&server, GET, json!({"user_id": id(user)})).await;
        assert_eq!(texts.len(), 2, "{user}: {texts:?}");
    }
}

async fn deleting_a_book_removes_it_from_carts(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    fill(&database, &[(1, &[(1, 1), (2, 1), (3, 1)]), (2, &[(2, 5)]), (3, &[(3, 1)])]).await;
    let before = [cart(&server, 1).await, cart(&server, 2).await, cart(&server, 3).await];
    answer(&server, "BookService/DeleteBook", json!({"id": id(1)})).await;
    let after = cart(&server, 1).await;
    assert_eq!(books(&after), [2, 3]);
    assert_ne!(after["etag"], before[0]["etag"]);
    assert_ne!(after["update_time"], before[0]["update_time"]);
    assert_eq!(after["create_time"], before[0]["create_time"]);
    assert_eq!([cart(&server, 2).await, cart(&server, 3).await], before[1..]);

    // A refused delete changes no cart.
    let stale = json!({"id": id(2), "etag": "old"});
    refusal(&server, "BookService/DeleteBook", stale).await.is_stale("etag");
    let gone = json!({"requests": [{"id": id(2)}, {"id": id(404)}]});
    let batch = "BookService/BatchDeleteBooks";
    refusal(&server, batch, gone).await.is_missing(&["requests[1].id"]);
    assert_eq!(
        [cart(&server, 1).await, cart(&server, 2).await],
        [after.clone(), before[1].clone()]
    );

    let gone = json!({"requests": [{"id": id(3)}, {"id": id(2)}]});
    answer(&server, batch, gone).await;
    for (user, before) in [(1, &after), (2, &before[1]), (3, &before[2])] {
        let empty = cart(&server, user).await;
        assert_eq!((books(&empty), &empty["id"]), (vec![], &json!(id(user))));
        assert_ne!(empty["etag"], before["etag"]);
    }
    let versions = "SELECT version FROM carts ORDER BY user_id";
    let versions: Vec<_> = database.sql(versions).await.into_iter().flatten().flatten().collect();
    assert_eq!(versions, ["3", "2", "2"], "each change is one version");
}

async fn deleting_a_user_deletes_the_cart(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    fill(&database, &[(1, &[(1, 1)]), (2, &[(1, 1), (2, 1)])]).await;
    let delete = "UserService/DeleteUser";
    let refused = refusal(&server, delete, json!({"id": id(1)})).await;
    refused.is(Code::FailedPrecondition, "RESOURCE_IN_USE", &["id"]);
    assert!(refused.message.contains("still referred to by a cart"), "{refused:?}");
    answer(&server, delete, json!({"id": id(1), "force": true})).await;
    refusal(&server, GET, json!({"user_id": id(1)})).await.is_missing(&["user_id"]);
    let left = "SELECT (SELECT count(*) FROM carts) * 10 + (SELECT count(*) FROM cart_items)";
    assert_eq!(database.value(left).await, "12");
    answer(&server, delete, json!({"id": id(3)})).await;
}

/// A write locks the cart first and then the books. A delete of books must take the locks in the
/// same order, or the two could deadlock; and it must see items that are added meanwhile.
#[tokio::test]
async fn book_delete_locks_carts_before_books() {
    let server = Arc::new(start(Engine::Postgres).await);
    let database = server.database();
    fill(&database, &[(1, &[(1, 1)]), (2, &[])]).await;
    let before = cart(&server, 2).await;
    let mut session = postgres(&database).connect().await;
    let run = async |session: &mut sqlx::PgConnection, sql: String| {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(session).await;
        done.expect("a statement that succeeds");
    };
    let lock = "BEGIN; SELECT id FROM carts ORDER BY id FOR UPDATE".to_owned();
    run(&mut session, lock).await;
    let delete = tokio::spawn({
        let server = Arc::clone(&server);
        let requests = json!({"requests": [{"id": id(1)}, {"id": id(2)}]});
        async move { call(&server, "BookService/BatchDeleteBooks", requests).await }
    });
    waits_for_lock(&database).await;
    let put = format!(
        "SET lock_timeout = '{}ms'; INSERT INTO cart_items (id, cart_id, book_id, quantity) \
         VALUES ('{}', '{}', '{}', 1); COMMIT",
        Duration::from_secs(5).as_millis(),
        id(70),
        id(2),
        id(2),
    );
    run(&mut session, put).await;
    session.close().await.expect("a session that ends");
    delete.await.expect("no panic").expect("deleted books");
    let after = cart(&server, 2).await;
    assert_eq!(books(&after), Vec::<u32>::new());
    assert_ne!(after["etag"], before["etag"]);
}
