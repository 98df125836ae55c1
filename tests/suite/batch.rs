//! The batch methods: all or nothing, in order, each violation at its entry.

use std::collections::BTreeSet;

use bookstore_proto::v1::{
    BatchCreateBooksRequest, BatchCreateCategoriesRequest, BatchDeleteBooksRequest,
    BatchGetBooksRequest, BatchGetCategoriesRequest, BatchUpdateBooksRequest,
    BatchUpdateCategoriesRequest, Book, ListBooksRequest,
};
use bookstore_tests::{Database, Engine, Row, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;

use crate::client::{
    FICTION, SCIENCE, a_book, books, categories, create_all, done, id, mask, message, refused, with,
};

on_every_engine!(
    batch_get_returns_books_in_request_order,
    batch_writes_return_books_in_request_order,
    batch_with_a_bad_entry_writes_nothing,
    constraint_violation_in_a_batch_names_its_entry,
    batch_of_a_thousand_entries_is_accepted,
    answer_larger_than_a_message_is_refused_or_paged,
);

fn of(ids: &[String]) -> BatchGetBooksRequest {
    BatchGetBooksRequest { ids: ids.to_vec(), ..Default::default() }
}

fn creates(all: Vec<Value>) -> BatchCreateBooksRequest {
    message(json!({"requests": all}))
}

fn updates(all: Vec<Value>) -> BatchUpdateBooksRequest {
    message(json!({"requests": all}))
}

fn deletes(all: Vec<Value>) -> BatchDeleteBooksRequest {
    message(json!({"requests": all}))
}

/// All rows, to assert that nothing has changed.
async fn rows(database: &Database) -> Vec<Row> {
    let mut rows = database.sql("SELECT * FROM books ORDER BY id").await;
    rows.extend(database.sql("SELECT * FROM categories ORDER BY id").await);
    rows
}

async fn batch_get_returns_books_in_request_order(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let created = create_all(&mut books, &["a", "b", "c", "d"].map(a_book)).await;
    let order = [3, 0, 3, 1, 3];
    let ids = order.map(|at: usize| created[at].id.clone());
    let wanted: Vec<Book> = order.map(|at| created[at].clone()).to_vec();
    assert_eq!(done(books.batch_get_books(of(&ids)).await).books, wanted);

    let ids = [&created[0].id, &id(404), &created[1].id, &id(405)].map(String::clone);
    refused(books.batch_get_books(of(&ids)).await)
        .is_missing(&["ids[1]"])
        .says("index", "1")
        .says("resource", "book")
        .says("id", &id(404));
    // The missing id follows a repeated one: the field counts entries, not books.
    let ids = [&created[0].id, &created[0].id, &created[0].id, &id(404)].map(String::clone);
    refused(books.batch_get_books(of(&ids)).await).is_missing(&["ids[3]"]).says("index", "3");

    let ids = [SCIENCE, FICTION, SCIENCE].map(str::to_owned).to_vec();
    let answer = done(categories.batch_get_categories(BatchGetCategoriesRequest { ids }).await);
    let names: Vec<_> = answer.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["Science", "Fiction", "Science"]);
}

async fn batch_writes_return_books_in_request_order(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    // Neither ids nor titles are in this order. The service creates the third id.
    let ids = [id(9), id(2), String::new(), id(5)];
    let entries = ids.iter().zip(["m", "z", "a", "k"]);
    let request = entries.map(|(id, title)| json!({"id": id, "book": a_book(title)})).collect();
    let created = done(books.batch_create_books(creates(request)).await).books;
    let titles: Vec<_> = created.iter().map(|book| book.title.as_str()).collect();
    assert_eq!(titles, ["m", "z", "a", "k"]);
    assert_eq!([&created[0].id, &created[1].id, &created[3].id], [&ids[0], &ids[1], &ids[3]]);
    let ids: Vec<String> = created.iter().map(|book| book.id.clone()).collect();
    assert_eq!(done(books.batch_get_books(of(&ids)).await).books, created);

    let entry = |at: usize, stock: i32, title: &str| {
        json!({
            "book": {"id": ids[at], "etag": created[at].etag, "stock": stock, "title": title},
            "update_mask": mask(if title.is_empty() { &["stock"] } else { &["title", "stock"] }),
        })
    };
    let request = updates(vec![entry(3, 33, ""), entry(0, 0, "new"), entry(1, 11, "")]);
    let updated = done(books.batch_update_books(request).await).books;
    let seen: Vec<_> = updated.iter().map(|book| (book.title.as_str(), book.stock)).collect();
    assert_eq!(seen, [("k", 33), ("new", 0), ("z", 11)]);
    let again = [3, 0, 1].map(|at: usize| ids[at].clone());
    assert_eq!(done(books.batch_get_books(of(&again)).await).books, updated);

    // One existing book and one created, returned in the order of the request.
    let upsert = json!({"book": with(a_book("up"), json!({"id": id(77)})), "allow_missing": true});
    let request = updates(vec![upsert, json!({"book": {"id": ids[2], "stock": 7}})]);
    let updated = done(books.batch_update_books(request).await).books;
    assert_eq!((updated[0].id.as_str(), updated[1].stock), (id(77).as_str(), 7));

    let request = vec![
        json!({"id": ids[1]}),
        json!({"id": id(404), "allow_missing": true}),
        json!({"id": ids[2], "etag": updated[1].etag}),
    ];
    done(books.batch_delete_books(deletes(request)).await);
    let left = done(books.list_books(ListBooksRequest::default()).await).books;
    let left: BTreeSet<_> = left.iter().map(|book| book.id.as_str()).collect();
    let (up, wanted) = (id(77), [ids[0].as_str(), ids[3].as_str()]);
    assert_eq!(left, wanted.into_iter().chain([up.as_str()]).collect());
}

async fn batch_with_a_bad_entry_writes_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let created = create_all(&mut books, &["a", "b", "c"].map(a_book)).await;
    let before = rows(&server.database()).await;
    let stock = |number: u32, etag: &str| json!({"book": {"id": id(number), "etag": etag, "stock": 5}, "update_mask": "stock"});
    let new = |number: u32, title: &str| json!({"id": id(number), "book": a_book(title)});

    refused(books.batch_create_books(creates(vec![new(10, "x"), new(11, "y"), new(2, "z")])).await)
        .is_taken(&["requests[2].id"])
        .says("index", "2");
    refused(books.batch_create_books(creates(vec![new(10, "x"), new(11, ""), new(12, "y")])).await)
        .is_invalid(&["requests[1].book.title"])
        .says("index", "1");
    let bad = vec![new(10, ""), new(10, "x"), json!({"id": "X", "book": {"stock": -1}}), json!({})];
    refused(books.batch_create_books(creates(bad)).await).is_invalid(&[
        "requests[0].book.title",
        "requests[1].id",
        "requests[2].id",
        "requests[2].book.title",
        "requests[2].book.author",
        "requests[2].book.price",
        "requests[2].book.stock",
        "requests[3].book",
    ]);

    let request = updates(vec![stock(1, ""), stock(2, &created[0].etag), stock(3, "")]);
    refused(books.batch_update_books(request).await)
        .is_stale("requests[1].book.etag")
        .says("index", "1");
    let request = updates(vec![stock(1, ""), stock(2, ""), stock(404, "")]);
    refused(books.batch_update_books(request).await)
        .is_missing(&["requests[2].book.id"])
        .says("index", "2");
    let request = updates(vec![stock(2, ""), stock(1, ""), stock(2, ""), stock(1, "")]);
    refused(books.batch_update_books(request).await)
        .is_invalid(&["requests[2].book.id", "requests[3].book.id"]);
    let half = json!({"book": {"id": id(20), "title": "half"}, "allow_missing": true});
    refused(books.batch_update_books(updates(vec![stock(1, ""), half])).await)
        .is_invalid(&["requests[1].book.author", "requests[1].book.price"])
        .says("index", "1");
    let lost = json!({"book": {"id": id(3), "category_id": id(404)}});
    refused(books.batch_update_books(updates(vec![stock(1, ""), lost])).await)
        .has_no_reference(&["requests[1].book.category_id"])
        .says("index", "1");

    let gone = |number: u32, etag: &str| json!({"id": id(number), "etag": etag});
    let request = deletes(vec![gone(1, ""), gone(404, "")]);
    refused(books.batch_delete_books(request).await)
        .is_missing(&["requests[1].id"])
        .says("index", "1");
    let request = deletes(vec![gone(1, ""), gone(2, ""), gone(3, "garbage")]);
    refused(books.batch_delete_books(request).await)
        .is_stale("requests[2].etag")
        .says("index", "2");
    let request = deletes(vec![gone(1, ""), gone(1, "")]);
    refused(books.batch_delete_books(request).await).is_invalid(&["requests[1].id"]);
    assert_eq!(rows(&server.database()).await, before);
}

async fn constraint_violation_in_a_batch_names_its_entry(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let before = rows(&server.database()).await;
    let named = |names: &[&str]| -> BatchCreateCategoriesRequest {
        let requests: Vec<Value> =
            names.iter().map(|name| json!({"category": {"name": name}})).collect();
        message(json!({"requests": requests}))
    };
    refused(categories.batch_create_categories(named(&["New", "Other", "New"])).await)
        .is_taken(&["requests[2].category.name"])
        .says("index", "2");
    refused(categories.batch_create_categories(named(&["New", "Fiction", "x", "Science"])).await)
        .is_taken(&["requests[1].category.name", "requests[3].category.name"])
        .says("index", "1");
    let rename = |id: &str, name: &str| json!({"category": {"id": id, "name": name}});
    let request: BatchUpdateCategoriesRequest =
        message(json!({"requests": [rename(FICTION, "New"), rename(SCIENCE, "New")]}));
    refused(categories.batch_update_categories(request).await)
        .is_taken(&["requests[1].category.name"])
        .says("index", "1");

    // A field outside the mask isn't written, so it can't violate uniqueness.
    let beside = json!({"category": {"id": SCIENCE, "name": "Technology"}, "allow_missing": true,
        "update_mask": "description"});
    let request: BatchUpdateCategoriesRequest =
        message(json!({"requests": [beside, rename(FICTION, "History")]}));
    refused(categories.batch_update_categories(request).await)
        .is_taken(&["requests[1].category.name"])
        .says("index", "1");

    let of = |category: &str| json!({"book": with(a_book("x"), json!({"category_id": category}))});
    let request =
        vec![of(FICTION), of(&id(404)), json!({"book": a_book("x")}), of(SCIENCE), of(&id(405))];
    refused(books.batch_create_books(creates(request)).await)
        .has_no_reference(&["requests[1].book.category_id", "requests[4].book.category_id"])
        .says("index", "1");
    // Late entries are written by another statement than the first ones.
    let mut request: Vec<Value> = (0..700).map(|_| of(FICTION)).collect();
    request[640] = of(&id(404));
    refused(books.batch_create_books(creates(request)).await)
        .has_no_reference(&["requests[640].book.category_id"])
        .says("index", "640");
    assert_eq!(rows(&server.database()).await, before);
}

async fn batch_of_a_thousand_entries_is_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let new = |number: u32| json!({"id": id(number), "book": a_book(&format!("book {number}"))});
    let all = |count: u32, entry: &dyn Fn(u32) -> Value| (1..=count).map(entry).collect();
    refused(books.batch_create_books(creates(all(1_001, &new))).await).is_invalid(&["requests"]);
    let created = done(books.batch_create_books(creates(all(1_000, &new))).await).books;
    assert_eq!(created.len(), 1_000);
    assert!(created.iter().zip(1..).all(|(book, number)| book.id == id(number)));

    let ids: Vec<String> = (1..=1_000).rev().map(id).collect();
    let read = done(books.batch_get_books(of(&ids)).await).books;
    assert!(read.iter().eq(created.iter().rev()), "books out of the order of the ids");
    refused(books.batch_get_books(of(&[ids.as_slice(), &ids[..1]].concat())).await)
        .is_invalid(&["ids"]);

    let stock = |number: u32| json!({"book": {"id": id(number), "stock": number}});
    refused(books.batch_update_books(updates(all(1_001, &stock))).await).is_invalid(&["requests"]);
    let updated = done(books.batch_update_books(updates(all(1_000, &stock))).await).books;
    assert!(updated.iter().zip(1..).all(|(book, stock)| book.stock == stock));

    let gone = |number: u32| json!({"id": id(number), "etag": updated[number as usize - 1].etag});
    let one_more = json!({"id": id(1_001)});
    let mut request = deletes(all(1_000, &gone));
    request.requests.push(message(one_more));
    refused(books.batch_delete_books(request.clone()).await).is_invalid(&["requests"]);
    request.requests.pop();
    done(books.batch_delete_books(request).await);
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "0");
    refused(books.batch_get_books(of(&[])).await).is_invalid(&["ids"]);
    refused(books.batch_create_books(creates(vec![])).await).is_invalid(&["requests"]);
    refused(books.batch_update_books(updates(vec![])).await).is_invalid(&["requests"]);
    refused(books.batch_delete_books(deletes(vec![])).await).is_invalid(&["requests"]);
}

/// Books of 60 KB: 80 of them exceed an answer of 4 MiB, and a page of 3 MiB holds 52.
async fn answer_larger_than_a_message_is_refused_or_paged(engine: Engine) {
    const LARGE: usize = 60_000;
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let large = |at: usize| {
        with(a_book(&format!("{at:03}")), json!({"attributes": {"a": "x".repeat(LARGE)}}))
    };
    let created = create_all(&mut books, &(0..80).map(large).collect::<Vec<_>>()).await;
    let ids: Vec<String> = created.iter().map(|book| book.id.clone()).collect();
    let before = rows(&server.database()).await;

    refused(books.batch_get_books(of(&ids)).await)
        .is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[])
        .says("limit", "4194304");
    let some = [&ids[..40], &ids[..20]].concat();
    assert_eq!(done(books.batch_get_books(of(&some)).await).books.len(), 60);
    let stock = |id: &String| json!({"book": {"id": id, "stock": 7}});
    let request = updates(ids.iter().map(stock).collect());
    refused(books.batch_update_books(request).await)
        .is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[])
        .says("limit", "4194304");
    assert_eq!(rows(&server.database()).await, before);

    // A page ends early; the list continues.
    let mut request =
        ListBooksRequest { page_size: 70, order_by: "title".into(), ..Default::default() };
    let (mut titles, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = done(books.list_books(request.clone()).await);
        pages.push(page.books.len());
        titles.extend(page.books.into_iter().map(|book| book.title));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let wanted: Vec<String> = (0..80).map(|at| format!("{at:03}")).collect();
    assert_eq!(titles, wanted);
    assert_eq!(pages, [3 * 1_024 * 1_024 / LARGE, 80 - 3 * 1_024 * 1_024 / LARGE]);
}
