//! `ListBooks`: pages, totals, and the number of statements.

mod estimate;
mod filter;
mod large;
mod order;
mod token;

use bookstore_proto::{
    DESCRIPTOR_POOL,
    v1::{Book, GetBookRequest, ListBooksRequest, ListBooksResponse},
};
use bookstore_server::{
    resource::RESOURCES,
    rpc::behavior::{Behavior, behaviors},
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Request;

use crate::client::{Books, Refusal, a_book, books, create_all, done, id, message, with};

on_every_engine!(
    list_pages_have_the_requested_size,
    list_total_counts_the_books_of_the_filter,
    list_statements_do_not_grow_with_rows,
);

/// The answer to a List request in JSON.
async fn list(books: &mut Books, request: Value) -> Result<ListBooksResponse, Refusal> {
    let answer = books.list_books(message::<ListBooksRequest>(request)).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| Refusal::from(&status))
}

/// All books of a list, page by page, with the page size of `request`.
async fn walk(books: &mut Books, mut request: Value) -> Vec<Book> {
    let mut all = Vec::new();
    loop {
        let page = list(books, request.clone()).await.expect("a page");
        all.extend(page.books);
        if page.next_page_token.is_empty() {
            return all;
        }
        request["page_token"] = json!(page.next_page_token);
    }
}

fn titles(books: &[Book]) -> Vec<&str> {
    books.iter().map(|book| book.title.as_str()).collect()
}

async fn list_pages_have_the_requested_size(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    assert_eq!(list(&mut books, json!({})).await.expect("no books"), ListBooksResponse::default());
    let all: Vec<Value> = (0..120).map(|at| a_book(&format!("{at:03}"))).collect();
    create_all(&mut books, &all).await;

    let by_title = |members: Value| with(json!({"order_by": "title"}), members);
    for (size, length) in [(0, 50), (1, 1), (119, 119), (120, 120), (1_000, 120), (i32::MAX, 120)] {
        let page = list(&mut books, by_title(json!({"page_size": size}))).await.expect("a page");
        assert_eq!(page.books.len(), length, "page_size {size}");
        assert_eq!(page.next_page_token.is_empty(), length == 120, "page_size {size}");
        assert_eq!(page.total_size, None);
    }

    // Page size, skip and the total's mode may change from page to page.
    let first = list(&mut books, by_title(json!({"page_size": 10}))).await.expect("a page");
    let second = by_title(json!({"page_size": 3, "skip": 5, "page_token": first.next_page_token,
        "total_size_mode": "TOTAL_SIZE_MODE_EXACT"}));
    let second = list(&mut books, second).await.expect("a page");
    assert_eq!(titles(&second.books), ["015", "016", "017"]);
    assert_eq!(second.total_size, Some(120));
    let third = json!({"page_size": 1_000, "page_token": second.next_page_token});
    let third = list(&mut books, by_title(third)).await.expect("a page");
    assert_eq!((titles(&third.books)[0], third.books.len()), ("018", 102));
    assert_eq!((third.next_page_token.as_str(), third.total_size), ("", None));

    for (skip, first) in [(0, Some("000")), (119, Some("119")), (120, None), (10_000, None)] {
        let page = list(&mut books, by_title(json!({"skip": skip, "page_size": 1}))).await;
        let page = page.expect("a page");
        assert_eq!(titles(&page.books).first().copied(), first, "skip {skip}");
        assert_eq!(page.next_page_token.is_empty(), skip >= 119, "skip {skip}");
    }

    // Books deleted meanwhile leave no gap, and no book is on two pages.
    books
        .batch_delete_books(message::<bookstore_proto::v1::BatchDeleteBooksRequest>(
            json!({"requests": [{"id": id(10)}, {"id": id(11)}, {"id": id(1)}]}),
        ))
        .await
        .expect("books to delete");
    let next = json!({"page_size": 2, "page_token": first.next_page_token});
    let next = list(&mut books, by_title(next)).await.expect("a page");
    assert_eq!(titles(&next.books), ["011", "012"]);
}

async fn list_total_counts_the_books_of_the_filter(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let all: Vec<Value> = (0..25).map(|at| with(a_book("x"), json!({"stock": at % 5}))).collect();
    create_all(&mut books, &all).await;
    for (filter, mode, total) in [
        ("", "TOTAL_SIZE_MODE_EXACT", Some(25)),
        ("stock < 2", "TOTAL_SIZE_MODE_EXACT", Some(10)),
        ("stock > 9", "TOTAL_SIZE_MODE_EXACT", Some(0)),
        ("stock < 2", "TOTAL_SIZE_MODE_NONE", None),
        ("stock < 2", "TOTAL_SIZE_MODE_UNSPECIFIED", None),
    ] {
        let request = json!({"filter": filter, "total_size_mode": mode, "page_size": 4});
        let page = list(&mut books, request.clone()).await.expect("a page");
        assert_eq!(page.total_size, total, "{filter} {mode}");
        // The total is that of the whole list, also on a later page and after its end.
        if total == Some(10) {
            for more in [json!({"page_token": page.next_page_token}), json!({"skip": 9_999})] {
                let page = list(&mut books, with(request.clone(), more)).await.expect("a page");
                assert_eq!(page.total_size, total);
            }
        }
    }
}

/// The statements of a call, by their texts.
pub(crate) async fn statements(server: &TestServer, call: &str) -> Vec<String> {
    let ended = |line: &Value| line["request_id"] == call && line["message"] == "call";
    server.logs().wait_for(|line| serde_json::from_str(line).is_ok_and(|line| ended(&line))).await;
    let lines = server.logs().json();
    // The echoed statement, or on a busy machine the warning of a slow one in its place.
    let statements = lines
        .iter()
        .filter(|line| line["target"] == "bookstore::sql" && line["request_id"] == call)
        .map(|line| line["sql"].as_str().expect("a text").to_owned());
    statements.collect()
}

async fn list_statements_do_not_grow_with_rows(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let mut books = books(&server);
    let all: Vec<Value> = (0..1_001).map(|at| a_book(&format!("{at}"))).collect();
    create_all(&mut books, &all).await;

    let mut counts = Vec::new();
    for (call, size, mode) in [
        ("one", 1, "TOTAL_SIZE_MODE_NONE"),
        ("many", 1_000, "TOTAL_SIZE_MODE_NONE"),
        ("one-counted", 1, "TOTAL_SIZE_MODE_EXACT"),
        ("many-counted", 1_000, "TOTAL_SIZE_MODE_EXACT"),
        ("one-estimated", 1, "TOTAL_SIZE_MODE_ESTIMATED"),
        ("many-estimated", 1_000, "TOTAL_SIZE_MODE_ESTIMATED"),
    ] {
        let request = json!({"page_size": size, "total_size_mode": mode, "order_by": "title"});
        let mut request = Request::new(message::<ListBooksRequest>(request));
        request.metadata_mut().insert("request-id", call.parse().expect("ASCII"));
        let page = done(books.list_books(request).await);
        assert_eq!(page.books.len(), size);
        counts.push(statements(&server, call).await.len());
    }
    assert_eq!(counts, [1, 1, 2, 2, 2, 2], "statements of each list");

    let mut request = Request::new(GetBookRequest { id: id(1), ..Default::default() });
    request.metadata_mut().insert("request-id", "get".parse().expect("ASCII"));
    done(books.get_book(request).await);
    let texts = statements(&server, "get").await;
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(!texts[0].contains(&id(1)), "values are bound: {texts:?}");
}

/// Callers read the comments; the service uses the tables.
#[test]
fn contract_comments_list_the_filter_and_sort_fields() {
    for resource in RESOURCES {
        let Some(list) = &resource.list else { continue };
        let fields = list.fields;
        let service = DESCRIPTOR_POOL.get_service_by_name(resource.name).expect("a service");
        let mut methods = service.methods();
        let lists = |name: &str| name.starts_with("List") || name.starts_with("Export");
        let method = methods.find(|found| lists(found.name())).expect("a list");
        let file = method.parent_file().file_descriptor_proto().clone();
        let locations = file.source_code_info.expect("comments").location;
        let at = locations.iter().find(|location| location.path == method.path());
        let comment = at.expect("the method").leading_comments().to_owned();
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        for (name, value) in [
            ("Filterable", fields.filterable()),
            ("Sortable", fields.sortable()),
            ("Default order", fields.default_order.to_owned()),
        ] {
            let wanted = format!(" {name}: {value}. ");
            assert!(comment.contains(&wanted), "{}: not{wanted}in: {comment}", method.full_name());
        }
    }
}

/// An update compares an immutable field with its column, which that table names.
#[test]
fn every_immutable_field_has_a_column() {
    let mut immutable = 0;
    for resource in RESOURCES {
        let service = DESCRIPTOR_POOL.get_service_by_name(resource.name).expect("a service");
        let mut methods = service.methods();
        let get = methods.find(|found| found.name().starts_with("Get"));
        // A service without one uses another service's resource.
        let Some(get) = get else { continue };
        for field in
            get.output().fields().filter(|field| behaviors(field).contains(&Behavior::Immutable))
        {
            immutable += 1;
            let mut known = resource.list.iter().flat_map(|list| list.fields.fields);
            let known = known.any(|known| known.name == field.name());
            assert!(known, "{} is missing in the tables of fields", field.full_name());
        }
    }
    assert!(immutable > 0);
}
