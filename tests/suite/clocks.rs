//! Clocks of instances that differ or are set back: times and orders never contradict what was read
//! before, so that polling by update_time misses nothing.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::{
    client::{a_book, id, with},
    standard::answer,
    transact::{Led, a_new_book},
    user::a_user,
};

on_every_engine!(
    change_is_later_than_the_one_before,
    added_book_is_last_in_the_cart,
    poll_by_update_time_misses_nothing,
);

/// Times of changes by an instance whose clock is ahead, at the ends of microseconds, milliseconds
/// and a second, and what callers see of the next ones.
const AHEAD: [(&str, &str); 4] = [
    ("2999-01-02T03:04:05.000006+00:00", "2999-01-02T03:04:05.000007Z"),
    ("2999-01-02T03:04:05.000999+00:00", "2999-01-02T03:04:05.001Z"),
    ("2999-01-02T03:04:59.999999+00:00", "2999-01-02T03:05:00Z"),
    ("2999-01-02T03:04:05+00:00", "2999-01-02T03:04:05.000001Z"),
];

fn time_of(resource: &Value) -> DateTime<Utc> {
    let time = resource["update_time"].as_str().and_then(|time| time.parse().ok());
    time.unwrap_or_else(|| panic!("no time: {resource}"))
}

async fn change_is_later_than_the_one_before(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = answer(&server, "UserService/CreateUser", json!({"user": a_user()})).await;
    let stocked = with(a_book("Dune"), json!({"stock": 9}));
    let book = answer(&server, "BookService/CreateBook", json!({"book": stocked})).await;
    let get = async || answer(&server, "BookService/GetBook", json!({"id": book["id"]})).await;
    for (ahead, next) in AHEAD {
        server.sql(&format!("UPDATE books SET updated_at = '{ahead}'")).await;
        let change = json!({"book": {"id": book["id"], "author": ahead}, "update_mask": "author"});
        let changed = answer(&server, "BookService/UpdateBook", change).await;
        assert_eq!(changed["update_time"], next, "after {ahead}");
        // Equal texts of equal times, or a filter would miss the row.
        let filter = json!({"filter": format!("update_time = \"{next}\"")});
        let listed = answer(&server, "BookService/ListBooks", filter).await;
        assert_eq!(listed["books"][0]["id"], book["id"], "{listed}");
    }
    // The other writes that change a book: an order takes copies and gives them back.
    let mut last = time_of(&get().await);
    let mut changed = async |what: &str| {
        let now = time_of(&get().await);
        assert!(now > last, "{what}: {now} after {last}");
        last = now;
    };
    let items = json!([{"book_id": book["id"], "quantity": 2}]);
    let order = json!({"user_id": user["id"], "shipping_address": "here", "items": items});
    let order = answer(&server, "OrderService/PlaceOrder", order).await;
    changed("an order").await;
    answer(&server, "OrderService/CancelOrder", json!({"id": order["id"]})).await;
    changed("a cancelled order").await;
}

async fn added_book_is_last_in_the_cart(engine: Engine) {
    let server = TestServer::start(engine).await;
    let user = answer(&server, "UserService/CreateUser", json!({"user": a_user()})).await;
    let add = async |number: u32| -> Value {
        let book = json!({"id": id(number), "book": with(a_book("A book"), json!({"stock": 9}))});
        answer(&server, "BookService/CreateBook", book).await;
        let item = json!({"user_id": user["id"], "book_id": id(number), "quantity": 1});
        answer(&server, "CartService/AddItem", item).await
    };
    let mut last = time_of(&add(7).await);
    // Another instance, whose clock is ahead, has added this book.
    let (ahead, _) = AHEAD[1];
    server.sql(&format!("UPDATE carts SET updated_at = '{ahead}'")).await;
    server.sql(&format!("UPDATE cart_items SET created_at = '{ahead}'")).await;
    for number in [5, 3, 4, 1] {
        let time = time_of(&add(number).await);
        assert!(time > last, "{time} after {last}");
        last = time;
    }
    let cart = answer(&server, "CartService/GetCart", json!({"user_id": user["id"]})).await;
    let items = cart["items"].as_array().into_iter().flatten();
    let books: Vec<_> = items.map(|item| item["book_id"].clone()).collect();
    assert_eq!(books, [7, 5, 3, 4, 1].map(|number| json!(id(number))), "{cart}");
}

/// A poller asks for what has changed since the newest time that it has seen, less the longest time
/// of a transaction. A transaction that commits late is not missed.
async fn poll_by_update_time_misses_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let overlap = chrono::Duration::seconds(5);
    let mut newest = DateTime::UNIX_EPOCH;
    let mut poll = async || -> Vec<String> {
        let since = (newest - overlap).to_rfc3339_opts(SecondsFormat::Micros, true);
        let request = json!({"filter": format!("update_time >= \"{since}\"")});
        let listed = answer(&server, "BookService/ListBooks", request).await;
        let books = listed["books"].as_array().cloned().unwrap_or_default();
        for book in &books {
            newest = newest.max(time_of(book));
        }
        books.iter().filter_map(|book| book["id"].as_str().map(str::to_owned)).collect()
    };
    // On SQLite there is no other write meanwhile.
    let mut late = Led::begun(&server).await;
    late.call(crate::transact::CREATE, a_new_book(1)).await.expect("a book");
    if engine == Engine::Postgres {
        answer(&server, "BookService/CreateBook", a_new_book(2)).await;
        assert_eq!(poll().await, [id(2)]);
    }
    late.commit().await.expect("a commit");
    assert!(poll().await.contains(&id(1)), "a commit that came late");
    // On one instance each time is later than those before, also of other rows.
    let mut last = newest;
    for number in 10..20 {
        let book = answer(&server, "BookService/CreateBook", a_new_book(number)).await;
        let time = time_of(&book);
        assert!(time > last, "{time} after {last}");
        last = time;
    }
}
