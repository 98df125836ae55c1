//! The orders and the carts that hold a book, by the field `items.book_id`.

use bookstore_tests::{Engine, on_every_engine};
use serde_json::{Value, json};

use super::{LIST, Placed, numbers, place, start};
use crate::{
    bad_input::{Case, bad},
    cart,
    client::id,
    standard::{answer, statements},
};

on_every_engine!(orders_are_found_by_a_book, carts_are_found_by_a_book);

const CARTS: &str = "CartService/ListCarts";

/// Refusals of lists by a book.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [LIST, CARTS] {
        let not_equal = format!("items.book_id != {}", id(1));
        for filter in
            ["items.book_id = x", "items.book_id > 5", "items:*", "items.id = 5", &not_equal]
        {
            cases.push(bad(method, json!({"filter": filter}), &["filter"]));
        }
        cases.push(bad(method, json!({"order_by": "items.book_id"}), &["order_by"]));
    }
    for (name, value) in
        [("page_size", json!(-1)), ("skip", json!(10_001)), ("page_token", json!("x"))]
    {
        cases.push(bad(CARTS, json!({name: value}), &[name]));
    }
    cases
}

async fn orders_are_found_by_a_book(engine: Engine) {
    let server = start(engine).await;
    let orders: [Placed<'_>; 5] = [
        (1, 1, "PENDING", &[(1, 1, 1), (2, 1, 1)]),
        (2, 2, "PENDING", &[(2, 1, 1)]),
        (3, 1, "SHIPPED", &[(1, 2, 1), (3, 1, 1)]),
        (4, 1, "PENDING", &[]),
        (5, 3, "PENDING", &[(1, 1, 1)]),
    ];
    place(&server.database(), &orders).await;
    let book = |number| format!("items.book_id = \"{}\"", id(number));
    for (filter, wanted) in [
        (book(1), vec![5, 3, 1]),
        (book(2), vec![2, 1]),
        (book(3), vec![3]),
        (book(4), vec![]),
        (format!("items.book_id:{}", id(2)), vec![2, 1]),
        (format!("{} AND {}", book(1), book(2)), vec![1]),
        (format!("{} OR {}", book(3), book(2)), vec![3, 2, 1]),
        (format!("NOT {}", book(1)), vec![4, 2]),
        (format!("-{} -{}", book(1), book(2)), vec![4]),
        (format!("{} AND user_id = {}", book(1), id(1)), vec![3, 1]),
        (format!("NOT ({} AND status = ORDER_STATUS_SHIPPED)", book(1)), vec![5, 4, 2, 1]),
        (format!("NOT (NOT {})", book(1)), vec![5, 3, 1]),
        (format!("NOT (-{} -{})", book(3), book(2)), vec![3, 2, 1]),
        (format!("NOT ({} OR {})", book(1), book(2)), vec![4]),
        (format!("({} OR {}) AND {}", book(2), book(3), book(1)), vec![3, 1]),
        (format!("{} OR NOT {}", book(3), book(1)), vec![4, 3, 2]),
        (format!("{} OR user_id = {} OR {}", book(3), id(3), book(2)), vec![5, 3, 2, 1]),
        ((2..=45).map(book).collect::<Vec<_>>().join(" OR "), vec![3, 2, 1]),
        ("items.book_id:*".to_owned(), vec![5, 3, 2, 1]),
        ("NOT items.book_id:*".to_owned(), vec![4]),
    ] {
        let request = json!({"filter": filter, "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
        let page = answer(&server, LIST, request).await;
        assert_eq!(numbers(&page), wanted, "{filter}");
        let total = page["total_size"].as_str().unwrap_or("0");
        assert_eq!(total, wanted.len().to_string(), "{filter}");
    }
    // Page by page, in the other direction, and in as many statements as without the filter.
    let mut request = json!({"filter": book(1), "order_by": "create_time", "page_size": 2});
    let first = answer(&server, LIST, request.clone()).await;
    assert_eq!(numbers(&first), [1, 3]);
    request["page_token"] = first["next_page_token"].clone();
    assert_eq!(numbers(&answer(&server, LIST, request.clone()).await), [5]);
    assert_eq!(statements(&server, LIST, request).await.len(), 2);
}

async fn carts_are_found_by_a_book(engine: Engine) {
    let server = start(engine).await;
    let database = server.database();
    cart::fill(&database, &[(1, &[(1, 2), (2, 1)]), (2, &[(2, 5)]), (3, &[])]).await;
    let users = |page: &Value| -> Vec<u32> {
        let carts = page["carts"].as_array().cloned().unwrap_or_default();
        let user = |cart: &Value| (1..9).find(|at| cart["user_id"] == id(*at)).expect("a user");
        let mut users: Vec<u32> = carts.iter().map(user).collect();
        users.sort_unstable();
        users
    };
    for (filter, wanted) in [
        (String::new(), vec![1, 2, 3]),
        (format!("items.book_id = {}", id(2)), vec![1, 2]),
        (format!("items.book_id = {} AND user_id = {}", id(2), id(2)), vec![2]),
        (format!("items.book_id = {}", id(3)), vec![]),
        ("NOT items.book_id:*".to_owned(), vec![3]),
    ] {
        let page = answer(&server, CARTS, json!({"filter": filter})).await;
        assert_eq!(users(&page), wanted, "{filter}");
    }
    // A listed cart is the one that its user reads.
    let filter = format!("user_id = {}", id(1));
    let page = answer(&server, CARTS, json!({"filter": filter})).await;
    let read = answer(&server, "CartService/GetCart", json!({"user_id": id(1)})).await;
    assert_eq!(page["carts"], json!([read]));
    // Two statements, however many carts.
    for (request, count) in [(json!({"page_size": 1}), 2), (json!({}), 2)] {
        assert_eq!(statements(&server, CARTS, request).await.len(), count);
    }
    let mut request = json!({"page_size": 2, "order_by": "create_time desc"});
    let mut seen = Vec::new();
    loop {
        let page = answer(&server, CARTS, request.clone()).await;
        seen.extend(users(&page));
        match page["next_page_token"].as_str() {
            Some(token) => request["page_token"] = json!(token),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
}
