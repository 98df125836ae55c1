//! Concurrent writes of the same rows: each ends as if it ran alone, before or after the other.

use bookstore_proto::v1::{
    BatchCreateBooksRequest, Book, CreateBookRequest, CreateCategoryRequest, DeleteCategoryRequest,
    GetBookRequest, GetCategoryRequest, UpdateCategoryRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use futures_util::future::{join, join_all};
use serde_json::json;
use tonic::Code;

use crate::client::{
    FICTION, Refusal, a_book, books, categories, create, done, id, message, refused, with,
};

on_every_engine!(
    batches_of_the_same_ids_in_opposite_order_both_succeed,
    refused_category_delete_leaves_its_books,
    category_delete_unlinks_books_created_meanwhile,
);

/// The same books in opposite order: the second caller waits and finds the rows, and neither gets a
/// conflict that a retry would not solve.
async fn batches_of_the_same_ids_in_opposite_order_both_succeed(engine: Engine) {
    const PAIRS: u32 = 20;
    const BOOKS: u32 = 50;
    let server = TestServer::start(engine).await;
    let batch = |pair: u32, backwards: bool| {
        let mut numbers: Vec<u32> = (pair * BOOKS..(pair + 1) * BOOKS).collect();
        if backwards {
            numbers.reverse();
        }
        let entry = |number: &u32| json!({"id": id(*number), "book": a_book("Dune")});
        let entries: Vec<_> = numbers.iter().map(entry).collect();
        let request: BatchCreateBooksRequest = message(json!({"requests": entries}));
        let mut books = books(&server);
        async move { books.batch_create_books(request).await }
    };
    let pairs = (0..PAIRS).map(|pair| join(batch(pair, false), batch(pair, true)));
    for pair in join_all(pairs).await {
        let mut refusals = Vec::new();
        for answer in [pair.0, pair.1] {
            match answer {
                Ok(answer) => assert_eq!(answer.into_inner().books.len(), BOOKS as usize),
                Err(status) => refusals.push(Refusal::from(&status)),
            }
        }
        assert_eq!(refusals.len(), 1, "one is done and one refused: {refusals:?}");
        let reported = (refusals[0].code, refusals[0].reason.as_str());
        assert_eq!(reported, (Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS"), "{refusals:?}");
    }
    let count = server.database().value("SELECT count(*) FROM books").await;
    assert_eq!(count, (PAIRS * BOOKS).to_string());
}

async fn refused_category_delete_leaves_its_books(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let within = with(a_book("Dune"), json!({"category_id": FICTION}));
    let book = done(books.create_book(create(&id(1), within)).await);
    let get = || GetCategoryRequest { id: FICTION.to_owned() };
    let category = done(categories.get_category(get()).await);
    let rename = json!({"category": {"id": FICTION, "description": "made up"}});
    let renamed = done(categories.update_category(message::<UpdateCategoryRequest>(rename)).await);
    assert_ne!(renamed.etag, category.etag);

    let delete =
        |etag: &str| message::<DeleteCategoryRequest>(json!({"id": FICTION, "etag": etag}));
    refused(categories.delete_category(delete(&category.etag)).await).is_stale("etag");
    let after =
        done(books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await);
    assert_eq!(after, book);
    assert_eq!(done(categories.get_category(get()).await), renamed);

    done(categories.delete_category(delete(&renamed.etag)).await);
    let after =
        done(books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await);
    assert_eq!(after.category_id, None);
    assert_ne!(after.etag, book.etag, "a change has its own version");
}

/// Books are created in a category that is being deleted: none keeps it, and each that loses it
/// gets a new version.
async fn category_delete_unlinks_books_created_meanwhile(engine: Engine) {
    const ROUNDS: u32 = 30;
    const BOOKS: u32 = 6;
    let server = TestServer::start(engine).await;
    let (books, categories) = (books(&server), categories(&server));
    let (mut came, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let category = id(1_000_000 + round);
        let new = json!({"id": category, "category": {"name": format!("category {round}")}});
        done(categories.clone().create_category(message::<CreateCategoryRequest>(new)).await);
        let arrive = |number: u32| {
            let within = with(a_book("Dune"), json!({"category_id": category}));
            let request: CreateBookRequest = create(&id(round * BOOKS + number), within);
            let mut books = books.clone();
            async move { books.create_book(request).await }
        };
        // Some are sent before the delete, some after.
        let delete = async {
            let request = DeleteCategoryRequest { id: category.clone(), ..Default::default() };
            categories.clone().delete_category(request).await
        };
        let early = join_all((0..BOOKS / 2).map(arrive));
        let late = join_all((BOOKS / 2..BOOKS).map(arrive));
        let (early, deleted, late) = tokio::join!(early, delete, late);
        done(deleted);
        for answer in early.into_iter().chain(late) {
            match answer {
                Ok(answer) => {
                    came += 1;
                    let created = answer.into_inner();
                    let mut books = books.clone();
                    let now = done(
                        books
                            .get_book(GetBookRequest {
                                id: created.id.clone(),
                                ..Default::default()
                            })
                            .await,
                    );
                    lost_its_category(&created, &now);
                }
                Err(status) => {
                    refused += 1;
                    let refusal = Refusal::from(&status);
                    let known = ["REFERENCE_NOT_FOUND", "TRANSACTION_CONFLICT"];
                    assert!(known.contains(&refusal.reason.as_str()), "{refusal:?}");
                }
            }
        }
    }
    assert!(
        came > 0 && refused > 0,
        "the writes didn't overlap: {came} created, {refused} refused"
    );
}

fn lost_its_category(created: &Book, now: &Book) {
    assert!(created.category_id.is_some());
    assert_eq!(now.category_id, None, "a deleted category");
    assert_ne!(now.etag, created.etag, "a change has its own version");
    assert!(now.update_time != created.update_time, "a change has its own time");
}
