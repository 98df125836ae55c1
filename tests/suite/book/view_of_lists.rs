//! The view BOOK_VIEW_DETAIL of a list: the reviews of all books of a page, in one statement.

use bookstore_proto::v1::{Book, BookView, GetBookRequest, ListBooksRequest};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use prost_reflect::prost::Message as _;
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    client::{FICTION, a_book, books, create_all, done, id, literal, message, with},
    list::statements,
};

on_every_engine!(list_with_reviews_equals_the_books_one_by_one, list_page_limit_counts_reviews,);

/// The most bytes of a page.
const PAGE: usize = 3 * 1_024 * 1_024;

/// Inserts users and reviews: of each book as many as its number says.
async fn review(server: &TestServer, counts: &[(u32, u32)], comment: &str) {
    let engine = server.database().engine();
    let literal = |number| literal(engine, &id(number));
    for user in 0..counts.iter().map(|(_, count)| *count).max().unwrap_or_default() {
        let key = literal(100 + user);
        server
            .sql(&format!(
                "INSERT INTO users (id, email, username, full_name, password_hash) \
                 VALUES ({key}, 'u{user}@example.org', 'x', 'x', 'x')"
            ))
            .await;
    }
    for (book, count) in counts {
        for number in 0..*count {
            let (key, user, of) =
                (literal(10_000 + book * 100 + number), literal(100 + number), literal(*book));
            let (rating, second) = (1.0 + f64::from(number % 9) / 2.0, number / 2);
            server
                .sql(&format!(
                    "INSERT INTO reviews (id, user_id, book_id, rating, comment, created_at) \
                     VALUES ({key}, {user}, {of}, {rating}, '{comment}{number}', \
                     '2020-02-29T23:59:{second:02}+00:00')"
                ))
                .await;
        }
    }
}

fn list(members: Value) -> ListBooksRequest {
    message(with(json!({"order_by": "title", "view": "BOOK_VIEW_DETAIL"}), members))
}

async fn list_with_reviews_equals_the_books_one_by_one(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let mut books = books(&server);
    let mut all: Vec<Value> = (0..40).map(|at| a_book(&format!("{at:03}"))).collect();
    all[1] = with(all[1].clone(), json!({"category_id": FICTION}));
    let created = create_all(&mut books, &all).await;
    review(&server, &[(1, 1), (2, 25), (4, 10), (5, 11), (40, 3)], "of ").await;
    let mut one_by_one: Vec<Book> = Vec::new();
    for book in &created {
        let request = GetBookRequest { id: book.id.clone(), view: BookView::Detail.into() };
        one_by_one.push(done(books.get_book(request).await));
    }
    assert_eq!(one_by_one[1].review_count, Some(25));
    assert_eq!(one_by_one[1].latest_reviews.len(), 10);
    let called = |request: ListBooksRequest, call: &'static str| {
        let mut request = Request::new(request);
        request.metadata_mut().insert("request-id", call.parse().expect("ASCII"));
        request
    };
    let page = done(books.list_books(called(list(json!({})), "all")).await);
    assert_eq!(page.books, one_by_one);
    // In any order, on any page.
    let last = list(json!({"order_by": "title desc", "page_size": 3, "skip": 35}));
    let last = done(books.list_books(called(last, "last")).await);
    assert_eq!(last.books, [4, 3, 2].map(|at: usize| one_by_one[at].clone()));
    let few = list(json!({"filter": "title = nothing"}));
    assert_eq!(done(books.list_books(called(few, "none")).await).books, []);
    // The categories and the reviews are a statement each, however many books there are.
    for (call, wanted) in [("all", 3), ("last", 2), ("none", 1)] {
        let texts = statements(&server, call).await;
        assert_eq!(texts.len(), wanted, "{call}: {texts:#?}");
    }
}

async fn list_page_limit_counts_reviews(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let all: Vec<Value> = (0..30).map(|at| a_book(&format!("{at:03}"))).collect();
    let created = create_all(&mut books, &all).await;
    let counts: Vec<(u32, u32)> = (1..=30).map(|book| (book, 10)).collect();
    // 19,900 bytes each: ten reviews of thirty books exceed a page.
    review(&server, &counts, &"𝔘".repeat(4_975)).await;
    let (mut seen, mut pages, mut request) = (Vec::new(), 0, list(json!({"page_size": 1_000})));
    loop {
        let page = done(books.list_books(request.clone()).await);
        assert!(page.encoded_len() <= PAGE, "{} bytes", page.encoded_len());
        for book in &page.books {
            assert_eq!((book.review_count, book.latest_reviews.len()), (Some(10), 10));
        }
        seen.extend(page.books.iter().map(|book| book.id.clone()));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let wanted: Vec<String> = created.iter().map(|book| book.id.clone()).collect();
    assert_eq!((seen, pages), (wanted, 2));
}
