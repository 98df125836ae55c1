//! Imports concurrent with other writes of the same books.

use bookstore_proto::v1::{
    CreateCategoryRequest, DeleteBookRequest, DeleteCategoryRequest, ExportBooksRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Import, count, export, row, upsert};
use crate::client::{a_book, books, categories, done, id, message, with};

on_every_engine!(
    concurrent_imports_of_the_same_books_both_succeed,
    import_of_books_deleted_meanwhile_succeeds,
    import_into_a_category_deleted_meanwhile_succeeds,
);

/// Two streams send the same ids in opposite order.
async fn concurrent_imports_of_the_same_books_both_succeed(engine: Engine) {
    const BATCHES: u32 = 12;
    const ROWS: u32 = 60;
    let server = TestServer::start(engine).await;
    for (round, options) in [(0, json!({})), (1, upsert())] {
        let run = async |backwards: bool| {
            let mut import =
                Import::begin(&server, &Uuid::new_v4().to_string(), options.clone()).await;
            let (mut inserted, mut updated, mut rejected) = (0, 0, 0);
            for number in 0..BATCHES {
                let first = round * 10_000 + number * ROWS;
                let book = |number| row(number, a_book(if backwards { "b" } else { "a" }));
                let mut rows: Vec<Value> = (first..first + ROWS).map(book).collect();
                if backwards {
                    rows.reverse();
                }
                let answer = import.batch(i64::from(number) + 1, &rows).await.expect("a batch");
                inserted += answer.inserted;
                updated += answer.updated;
                rejected += answer.rejected;
            }
            import.end(i64::from(BATCHES), i64::from(BATCHES * ROWS)).await.expect("an end");
            (inserted, updated, rejected)
        };
        let (one, other) = tokio::join!(run(false), run(true));
        let all = i64::from(BATCHES * ROWS);
        assert_eq!(one.0 + other.0, all, "each is inserted once: {one:?}, {other:?}");
        assert_eq!(
            (one.1 + other.1, one.2 + other.2),
            if round == 0 { (0, all) } else { (all, 0) }
        );
        let versions = format!(
            "SELECT count(*) FROM books WHERE version = {} AND title IN ('a', 'b')",
            round + 1
        );
        assert_eq!(server.database().value(&versions).await, all.to_string());
        let collided =
            server.logs().so_far().into_iter().find(|line| line.contains("trying again"));
        assert_eq!(collided, None, "both take their locks in one order");
    }
}

async fn import_of_books_deleted_meanwhile_succeeds(engine: Engine) {
    const ROUNDS: i64 = 15;
    const ROWS: u32 = 40;
    let server = TestServer::start(engine).await;
    let rows: Vec<Value> = (0..ROWS).map(|number| row(number, a_book("Dune"))).collect();
    let mut import = Import::begin(&server, &id(900), upsert()).await;
    let (mut inserted, mut updated) = (0, 0);
    let mut gone = 0;
    for number in 1..=ROUNDS {
        let delete = |number: u32| {
            let mut books = books(&server);
            let request =
                DeleteBookRequest { id: id(number), allow_missing: true, ..Default::default() };
            async move { done(books.delete_book(request).await) }
        };
        let deletes = join_all((0..ROWS).step_by(3).rev().map(delete));
        let before = count(&server).await;
        let (answer, _) = tokio::join!(import.batch(number, &rows), deletes);
        let answer = answer.expect("a batch");
        inserted += answer.inserted;
        updated += answer.updated;
        assert_eq!(answer.inserted + answer.updated, i64::from(ROWS));
        let after = count(&server).await;
        gone += before + answer.inserted - after;
    }
    assert_eq!(count(&server).await, inserted - gone);
    assert!(updated > 0 && gone > 0, "the writes didn't overlap: {updated} updated, {gone} gone");
    import.end(ROUNDS, ROUNDS * i64::from(ROWS)).await.expect("an end");
}

/// No book keeps a deleted category, and no batch fails because of it.
async fn import_into_a_category_deleted_meanwhile_succeeds(engine: Engine) {
    const ROUNDS: u32 = 25;
    const ROWS: u32 = 20;
    let server = TestServer::start(engine).await;
    let (mut came, mut rejected) = (0, 0);
    let mut import = Import::begin(&server, &id(900), json!({})).await;
    for round in 0..ROUNDS {
        let category = id(1_000_000 + round);
        let new = json!({"id": category, "category": {"name": format!("category {round}")}});
        let new: CreateCategoryRequest = message(new);
        done(categories(&server).create_category(new).await);
        let book = with(a_book("Dune"), json!({"category_id": category}));
        let first = round * ROWS * 2;
        let rows: Vec<Value> =
            (first..first + ROWS).map(|number| row(number, book.clone())).collect();
        let delete = async {
            let request = DeleteCategoryRequest { id: category.clone(), ..Default::default() };
            categories(&server).delete_category(request).await
        };
        let (answer, deleted) = tokio::join!(import.batch(i64::from(round) + 1, &rows), delete);
        done(deleted);
        let answer = answer.expect("a batch");
        came += answer.inserted;
        rejected += answer.rejected;
        for rejection in &answer.rejections {
            assert_eq!(rejection.reason, "names no category that exists");
        }
        assert_eq!(answer.inserted + answer.rejected, i64::from(ROWS));
    }
    assert!(came > 0, "the writes didn't overlap: {came} imported, {rejected} rejected");
    let kept = export(&server, ExportBooksRequest::default()).await;
    assert_eq!(i64::try_from(kept.len()), Ok(came));
    assert!(kept.iter().all(|book| book.category_id.is_none()));
    // A book that lost its category has a new version.
    let versions = "SELECT count(*) FROM books WHERE version = 2";
    assert_eq!(server.database().value(versions).await, came.to_string());
}
