//! The views of a book, their cost, and pages with views.

use std::collections::HashSet;

use bookstore_proto::v1::{
    BatchGetBooksRequest, Book, BookView, GetBookRequest, ListBooksRequest,
    book_service_client::BookServiceClient,
};
use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, until};
use futures_util::future::join_all;
use prost_reflect::prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Request, transport::Channel};

use crate::{
    admin,
    client::{
        FICTION, SCIENCE, a_book, books, categories, create, create_all, done, id, message,
        refused, with,
    },
    list::statements,
};

on_every_engine!(
    book_view_adds_category_and_reviews,
    book_view_is_read_in_one_statement,
    list_with_categories_takes_one_more_statement,
    list_page_limit_counts_categories,
);

/// The most bytes of a page.
const PAGE: usize = 3 * 1_024 * 1_024;

fn get(book: &str, view: BookView) -> GetBookRequest {
    GetBookRequest { id: book.to_owned(), view: view.into() }
}

/// A request with a request id, by which the log has its statements.
fn called<M>(message: M, call: &str) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("request-id", call.parse().expect("ASCII"));
    request
}

/// The book without the fields of larger views.
fn bare(book: &Book) -> Book {
    Book {
        category: None,
        latest_reviews: Vec::new(),
        review_count: None,
        mean_rating: None,
        ..book.clone()
    }
}

async fn book_view_adds_category_and_reviews(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    // These fields are ignored in a request.
    let parts = json!({"category": {"name": "x"}, "review_count": 7, "mean_rating": 4,
        "latest_reviews": [{"rating": 4}]});
    let filed = with(a_book("filed"), with(parts, json!({"category_id": FICTION})));
    let filed = done(books.create_book(create(&id(1), filed)).await);
    assert_eq!(filed, bare(&filed), "a write returns the book without view fields");
    let loose = done(books.create_book(create(&id(2), a_book("loose"))).await);

    let category: bookstore_proto::v1::GetCategoryRequest = message(json!({"id": FICTION}));
    let fiction = done(categories(&server).get_category(category).await);
    for view in [BookView::Unspecified, BookView::Basic] {
        assert_eq!(done(books.get_book(get(&id(1), view)).await), filed);
    }
    for (book, category) in [(&filed, Some(&fiction)), (&loose, None)] {
        let read = done(books.get_book(get(&book.id, BookView::WithCategory)).await);
        assert_eq!(read.category.as_deref(), category);
        assert_eq!((read.review_count, bare(&read)), (None, book.clone()));
        let read = done(books.get_book(get(&book.id, BookView::Detail)).await);
        assert_eq!(read.category.as_deref(), category);
        assert_eq!((read.review_count, read.mean_rating), (Some(0), None));
        assert_eq!(read.latest_reviews, []);
        assert_eq!(bare(&read), *book);
        // A book that was read can be sent back as it is.
        let update = bookstore_proto::v1::UpdateBookRequest {
            book: Some(Book { stock: 4, ..read }),
            ..Default::default()
        };
        let updated = done(books.update_book(update).await);
        assert_eq!((updated.stock, bare(&updated)), (4, updated.clone()));
    }
    for view in [BookView::Basic, BookView::Detail] {
        refused(books.get_book(get(&id(404), view)).await).is_missing(&["id"]);
    }
}

/// A rating whose sum, in doubles, depends on the order.
fn rating(number: u32) -> f64 {
    1.0 + f64::from(number * 35 % 41) * 4.0 / 40.0 / 1.0001
}

/// The mean of the first 25 of them, from their exact sum.
const MEAN: f64 = 3.1477852214778523;

async fn book_view_is_read_in_one_statement(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true");
    let server = server.env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let mut books = books(&server);
    let filed = with(a_book("x"), json!({"category_id": SCIENCE}));
    create_all(&mut books, &[filed.clone(), filed.clone(), filed]).await;
    let literal = |id: String| match engine {
        Engine::Sqlite => format!("x'{}'", id.replace('-', "")),
        Engine::Postgres => format!("'{id}'"),
    };
    for number in 0..25 {
        let user = literal(id(100 + number));
        let email = format!("u{number}@example.org");
        server
            .sql(&format!(
                "INSERT INTO users (id, email, username, full_name, password_hash) \
                 VALUES ({user}, '{email}', 'x', 'x', 'x')"
            ))
            .await;
        // Pairs with the same time, and ids in another order.
        let (review, book) = (literal(id(200 + number * 7 % 25)), literal(id(1)));
        let (time, rating) = (number / 2, rating(number));
        let other = literal(id(300));
        server
            .sql(&format!(
                "INSERT INTO reviews (id, user_id, book_id, rating, comment, created_at) \
                 VALUES ({review}, {user}, {book}, {rating}, '{number}', \
                 '2020-02-29T23:59:{:02}+00:00')",
                10 + time
            ))
            .await;
        if number == 0 {
            // A review of another book, newer than all.
            let book = literal(id(2));
            server
                .sql(&format!(
                    "INSERT INTO reviews (id, user_id, book_id, rating) \
                     VALUES ({other}, {user}, {book}, 2.5)"
                ))
                .await;
        }
    }

    let read = done(books.get_book(called(get(&id(1), BookView::Detail), "many")).await);
    assert_eq!((read.review_count, read.mean_rating), (Some(25), Some(MEAN)));
    let mut newest: Vec<(u32, u32)> =
        (0..25).map(|number| (number / 2, 200 + number * 7 % 25)).collect();
    newest.sort_unstable();
    let wanted: Vec<String> = newest.iter().rev().take(10).map(|(_, review)| id(*review)).collect();
    let ids: Vec<String> = read.latest_reviews.iter().map(|review| review.id.clone()).collect();
    assert_eq!(ids, wanted);
    let first = &read.latest_reviews[0];
    assert_eq!((first.comment.as_deref(), first.rating), (Some("24"), rating(24)));
    assert!(!first.etag.is_empty() && first.book_id == id(1) && first.create_time.is_some());

    let read = done(books.get_book(called(get(&id(2), BookView::Detail), "one")).await);
    assert_eq!((read.review_count, read.mean_rating), (Some(1), Some(2.5)));
    let read = done(books.get_book(called(get(&id(3), BookView::Detail), "none")).await);
    assert_eq!((read.review_count, read.mean_rating), (Some(0), None));
    done(books.get_book(called(get(&id(1), BookView::WithCategory), "category")).await);
    done(books.get_book(called(get(&id(1), BookView::Basic), "basic")).await);
    for call in ["many", "one", "none", "category", "basic"] {
        let texts = statements(&server, call).await;
        assert_eq!(texts.len(), 1, "{call}: {texts:#?}");
    }
    answered_alike_in_batches(&server, books).await;
}

/// Reads that wait share statements, and are answered as those that read alone.
async fn answered_alike_in_batches(server: &TestServer, books: BookServiceClient<Channel>) {
    let views = [BookView::Detail, BookView::WithCategory, BookView::Basic];
    let calls = views.into_iter().flat_map(|view| (1..=3).map(move |number| (view, number)));
    let many = |view: BookView| {
        let ids = [2, 1, 3, 1].map(id).to_vec();
        BatchGetBooksRequest { ids, view: view.into() }
    };
    let one = async |(view, number)| done(books.clone().get_book(get(&id(number), view)).await);
    let batch = async |view| done(books.clone().batch_get_books(many(view)).await);
    let missing = async || {
        let request = BatchGetBooksRequest { ids: [1, 404].map(id).to_vec(), view: 0 };
        books.clone().batch_get_books(request).await.expect_err("a missing book").code()
    };
    let mut alone = Vec::new();
    for call in calls.clone() {
        alone.push(one(call).await);
    }
    let batches = [batch(views[1]).await, batch(views[2]).await];
    let admin = server.admin_address().await;
    until("reads share statements", SOON, async || {
        // As many as wait while two statements run.
        let all = calls.clone().cycle().take(90).map(one);
        let (all, with_category, basic, none) = tokio::join!(
            join_all(all),
            join_all((0..9).map(|_| batch(views[1]))),
            join_all((0..9).map(|_| batch(views[2]))),
            join_all((0..9).map(|_| missing()))
        );
        assert!(all.iter().zip(alone.iter().cycle()).all(|(read, alone)| read == alone));
        assert!(with_category.iter().all(|batch| *batch == batches[0]));
        assert!(basic.iter().all(|batch| *batch == batches[1]));
        assert!(none.iter().all(|code| *code == Code::NotFound));
        let (_, metrics) = admin::get(admin, "/metrics").await;
        let shared = metrics.lines().find(|it| it.starts_with("bookstore_reads_coalesced_total"));
        let shared = shared.and_then(|line| line.rsplit_once(' ')).map(|(_, count)| count);
        shared.is_some_and(|count| count.parse::<f64>().expect("a count") > 100.0)
    })
    .await;
}

async fn list_with_categories_takes_one_more_statement(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let mut books = books(&server);
    let of = [json!({"category_id": FICTION}), json!({"category_id": SCIENCE}), json!({})];
    let all: Vec<Value> =
        (0..90).map(|at| with(a_book(&format!("{at:03}")), of[at % 3].clone())).collect();
    let created = create_all(&mut books, &all).await;
    let names: Vec<Option<&str>> =
        (0..90).map(|at| [Some("Fiction"), Some("Science"), None][at % 3]).collect();
    let named = |books: &[Book]| -> Vec<Option<String>> {
        let name = |book: &Book| book.category.as_ref().map(|category| category.name.clone());
        books.iter().map(name).collect()
    };
    let wanted = |range: std::ops::Range<usize>| -> Vec<Option<String>> {
        names[range].iter().map(|name| name.map(str::to_owned)).collect()
    };

    let list = |members: Value| -> ListBooksRequest {
        message(with(json!({"order_by": "title", "view": "BOOK_VIEW_WITH_CATEGORY"}), members))
    };
    let few = done(books.list_books(called(list(json!({"page_size": 2})), "few")).await);
    assert_eq!(named(&few.books), wanted(0..2));
    // The view may change from page to page.
    let token = json!({"page_size": 5, "view": null, "page_token": few.next_page_token});
    let basic = done(books.list_books(list(token)).await);
    assert_eq!(basic.books, created[2..7]);
    let token = json!({"page_size": 1_000, "page_token": basic.next_page_token});
    let rest = done(books.list_books(called(list(token), "rest")).await);
    assert_eq!((named(&rest.books), rest.next_page_token.as_str()), (wanted(7..90), ""));
    assert_eq!(rest.books.iter().map(bare).collect::<Vec<_>>(), created[7..]);

    let ids = created.iter().map(|book| book.id.clone()).collect();
    let request = BatchGetBooksRequest { ids, view: BookView::WithCategory.into() };
    let read = done(books.batch_get_books(called(request, "batch")).await);
    assert_eq!(named(&read.books), wanted(0..90));
    // Where no book has a category there is no second statement.
    let loose = json!({"filter": "NOT category_id:*", "page_size": 1_000});
    let loose = done(books.list_books(called(list(loose), "loose")).await);
    assert_eq!(named(&loose.books), vec![None; 30]);
    for (call, wanted) in [("few", 2), ("rest", 2), ("batch", 2), ("loose", 1)] {
        let texts = statements(&server, call).await;
        assert_eq!(texts.len(), wanted, "{call}: {texts:#?}");
    }
}

async fn list_page_limit_counts_categories(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    // Descriptions of 40,000 bytes: a hundred categories exceed a page, and so does one category in
    // a hundred books.
    let description = "𝔘".repeat(10_000);
    for piece in 0..2 {
        let request = |number: u32| {
            let number = 1_000 + piece * 50 + number;
            let category = json!({"name": format!("{number}"), "description": description.clone()});
            json!({"id": id(number), "category": category})
        };
        let requests = json!({"requests": (0..50).map(request).collect::<Vec<_>>()});
        done(
            categories
                .batch_create_categories(
                    message::<bookstore_proto::v1::BatchCreateCategoriesRequest>(requests),
                )
                .await,
        );
    }
    let of = |number: u32| with(a_book(&format!("{number}")), json!({"category_id": id(number)}));
    let same = (0..100).map(|_| of(1_000));
    let others = (1_000..1_100).map(of);
    let all: Vec<Value> = same.chain(others).collect();
    let created = create_all(&mut books, &all).await;

    for filter in [format!("category_id = {}", id(1_000)), format!("category_id != {}", id(1_000))]
    {
        let mut request: ListBooksRequest = message(json!({"filter": filter, "page_size": 1_000,
            "view": "BOOK_VIEW_WITH_CATEGORY"}));
        let (mut seen, mut pages) = (HashSet::new(), 0);
        loop {
            let page = done(books.list_books(request.clone()).await);
            assert!(page.encoded_len() <= PAGE, "{} bytes", page.encoded_len());
            for book in &page.books {
                let category = book.category.as_deref().expect("a category");
                assert_eq!(Some(&category.id), book.category_id.as_ref());
                assert_eq!(category.description.as_ref(), Some(&description));
                assert!(seen.insert(book.id.clone()), "{} came twice", book.id);
            }
            pages += 1;
            if page.next_page_token.is_empty() {
                break;
            }
            // One more would exceed the page.
            assert!(page.encoded_len() > PAGE - 50_000, "{} bytes", page.encoded_len());
            request.page_token = page.next_page_token;
        }
        assert_eq!((seen.len(), pages), (if filter.contains('!') { 99 } else { 101 }, 2));
    }

    for range in [0..110, 90..200] {
        let ids = created[range.clone()].iter().map(|book| book.id.clone()).collect();
        let request = BatchGetBooksRequest { ids, view: BookView::WithCategory.into() };
        refused(books.batch_get_books(request.clone()).await)
            .is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[])
            .says("limit", "4194304");
        let basic = BatchGetBooksRequest { view: BookView::Basic.into(), ..request };
        assert_eq!(done(books.batch_get_books(basic).await).books, created[range]);
    }
}
