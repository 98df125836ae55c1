//! The page for Rust has the text of these functions, and they do what the page says.

use std::{fs, time::Duration};

use bookstore_client::{
    CallOptions, Client, Error, IntoCall, Uuid,
    v1::{
        Begin, Book, Category, CreateBookRequest, CreateCategoryRequest, GetBookRequest, Order,
        PlaceOrderRequest, UpdateBookRequest,
    },
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::json;

use super::{STOCK, connect, fill, order, url};
use crate::{client, tidy};

on_every_engine!(snippets_do_what_the_page_says);

async fn get_in_time(client: &Client, request: GetBookRequest) -> Result<Book, Error> {
    let call = request.into_call().deadline(Duration::from_secs(2));
    Ok(client.books().get_book(call).await?.into_inner())
}

async fn place(client: &Client, request: PlaceOrderRequest, key: Uuid) -> Result<Order, Error> {
    let call = request.into_call().idempotency_key(key);
    Ok(client.orders().place_order(call).await?.into_inner())
}

async fn create_both(
    client: &Client,
    create_category: CreateCategoryRequest,
    create_book: CreateBookRequest,
) -> Result<Book, Error> {
    let key = Uuid::now_v7();
    let answers = client
        .execute()
        .request(&create_category)
        .request(&create_book)
        .with(|call| call.idempotency_key(key))
        .send()
        .await?;
    let book: Book = answers.get(1)?;
    Ok(book)
}

fn restock(book: &Book) -> UpdateBookRequest {
    client::message(json!({
        "book": {"id": book.id, "etag": book.etag, "stock": book.stock + 1},
        "update_mask": "stock",
    }))
}

async fn restocked(client: &Client, id: String) -> Result<i32, Error> {
    let stock = client
        .transact(Begin::default(), Duration::from_secs(10), async |transaction| {
            let get = GetBookRequest { id: id.clone(), ..Default::default() };
            let book: Book = transaction.call(&get).await?;
            let _: Book = transaction.call(&restock(&book)).await?;
            Ok(book.stock)
        })
        .await?;
    Ok(stock)
}

async fn snippets_do_what_the_page_says(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = connect(url(&server));
    fill(&client).await;
    let key = Uuid::new_v4();
    let first = place(&client, order("1 Quiet Street"), key).await.expect("an order");
    let second = place(&client, order("1 Quiet Street"), key).await.expect("the same order");
    assert_eq!(first.id, second.id);
    let category = Category { name: "Poetry".to_owned(), ..Category::default() };
    let category = CreateCategoryRequest { category: Some(category), id: String::new() };
    let book = client::create(&client::id(3), client::a_book("Emma"));
    assert_eq!(create_both(&client, category, book).await.expect("both").id, client::id(3));
    assert_eq!(restocked(&client, client::id(2)).await.expect("a commit"), STOCK - 1);
    let get = GetBookRequest { id: client::id(2), ..Default::default() };
    assert_eq!(get_in_time(&client, get).await.expect("a book").stock, STOCK);
}

#[test]
fn rust_page_has_the_text_of_the_snippets() {
    let read = |path: &str| fs::read_to_string(tidy::root().join(path)).expect(path);
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    let page = read("docs/clients/rust.md");
    let source = packed(&read("tests/suite/clients/snippets.rs"));
    let blocks = page.split("```rust,ignore\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 4, "{blocks:?}");
    for block in blocks {
        assert!(source.contains(&packed(block)), "no test has this text of the page: {block}");
    }
}
