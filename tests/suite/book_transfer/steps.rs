//! The steps of an import: their order and their counts, and batches that are sent again.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;

use super::{Import, count, row, upsert};
use crate::client::{a_book, id, with};

on_every_engine!(
    import_steps_out_of_order_are_refused,
    import_end_with_wrong_counts_is_refused,
    import_batch_sent_again_is_written_once,
    same_batch_number_of_another_import_is_another_batch,
    import_that_goes_on_too_late_is_refused,
);

fn batch(number: i64, rows: &[Value]) -> Value {
    json!({"batch": {"number": number, "rows": rows}})
}

async fn import_steps_out_of_order_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let begin = async |number: u32| Import::begin(&server, &id(number), json!({})).await;
    // The first batch may have any number; each further one has the next.
    for (import, (first, next)) in [(900, (7, 9)), (901, (7, 7)), (902, (7, 6))] {
        let mut import = begin(import).await;
        import.batch(first, &[json!({"book": a_book("kept")})]).await.expect("a batch");
        import.send(batch(next, &[json!({"book": a_book("lost")})])).await;
        let refused = import.refusal().await;
        refused.is(Code::InvalidArgument, "IMPORT_OUT_OF_ORDER", &[]);
        assert_eq!(refused.message, format!("batch {next} came behind batch {first}"));
    }
    let mut import = begin(903).await;
    import.batch(i64::MAX, &[json!({"book": a_book("kept")})]).await.expect("a batch");
    import.send(batch(1, &[json!({"book": a_book("lost")})])).await;
    import.refusal().await.is(Code::InvalidArgument, "IMPORT_OUT_OF_ORDER", &[]);

    let mut import = begin(904).await;
    import.batch(1, &[json!({"book": a_book("kept")})]).await.expect("a batch");
    import.send(json!({"options": {"import_id": id(904)}})).await;
    import.refusal().await.is(Code::InvalidArgument, "IMPORT_OUT_OF_ORDER", &[]);

    // Steps after the end are not read.
    let mut import = begin(905).await;
    import.batch(1, &[json!({"book": a_book("kept")})]).await.expect("a batch");
    import.end(1, 1).await.expect("an end");
    let kept = "SELECT count(*) FROM books WHERE title = 'kept'";
    assert_eq!(server.database().value(kept).await, "6");
    assert_eq!(count(&server).await, 6);
}

async fn import_end_with_wrong_counts_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    for (import, (batches, rows)) in [(900, (1, 2)), (901, (2, 1)), (902, (0, 0))] {
        let mut import = Import::begin(&server, &id(import), json!({})).await;
        import.batch(1, &[json!({"book": a_book("kept")})]).await.expect("a batch");
        let refused = super::refusal(import.end(batches, rows).await);
        refused.is(Code::InvalidArgument, "IMPORT_INCOMPLETE", &[]);
        let message = format!("1 batches with 1 rows came; the end tells of {batches} with {rows}");
        assert_eq!(refused.message, message);
    }
    let mut import = Import::begin(&server, &id(903), json!({})).await;
    import.batch(1, &[json!({"book": a_book("kept")})]).await.expect("a batch");
    import.refusal().await.is(Code::InvalidArgument, "IMPORT_INCOMPLETE", &[]);
    let mut import = Import::begin(&server, &id(904), json!({})).await;
    import.send(json!({"end": {"batches": -1, "rows": -1}})).await;
    import.refusal().await.is_invalid(&["end.batches", "end.rows"]);

    // An import without rows is valid.
    let import = Import::begin(&server, &id(905), json!({})).await;
    assert_eq!(import.end(0, 0).await.expect("an end"), Default::default());
    assert_eq!(count(&server).await, 4);
}

/// A committed batch is known for as long as its acknowledgement says. Later it would be applied
/// again, which is refused.
async fn import_that_goes_on_too_late_is_refused(engine: Engine) {
    let server = TestServer::builder(engine).env("IDEMPOTENCY_RETENTION", "1h").start().await;
    let mut import = Import::begin(&server, &id(900), json!({})).await;
    let before = chrono::Utc::now();
    let first = import.batch(1, &[json!({"book": a_book("kept")})]).await.expect("a batch");
    let until = first.key_expire_time.expect("a time").seconds;
    let hour = chrono::TimeDelta::hours(1);
    assert!(until >= (before + hour).timestamp(), "{until}");
    assert!(until <= (chrono::Utc::now() + hour).timestamp(), "{until}");
    import.end(1, 1).await.expect("an end");

    let sent = |ago: i64| {
        let sent = chrono::Utc::now() - chrono::TimeDelta::minutes(ago);
        json!({"first_sent_time": sent.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)})
    };
    let mut late = Import::begin(&server, &id(900), sent(61)).await;
    late.send(batch(1, &[json!({"book": a_book("kept")})])).await;
    let refused = late.refusal().await;
    refused.is(Code::FailedPrecondition, "IMPORT_EXPIRED", &[]);
    // In time the same batch is known; the time is no part of what must be the same.
    let mut again = Import::begin(&server, &id(900), sent(59)).await;
    let known = again.batch(1, &[json!({"book": a_book("kept")})]).await.expect("it is known");
    assert_eq!(known, first);
    assert_eq!(count(&server).await, 1);
}

/// Rows that would be duplicates or be refused if they were written again.
fn rows() -> Vec<Value> {
    let attributes = json!({"a": 1, "b": {"c": [1, 2], "d": null, "e": "x"}, "f": true});
    vec![
        json!({"line": 1, "book": with(a_book("made"), json!({"attributes": attributes}))}),
        row(2, a_book("given")),
        row(3, a_book("")),
        row(2, a_book("twice")),
    ]
}

async fn import_batch_sent_again_is_written_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    for (import, options) in [(900, json!({})), (901, upsert())] {
        let before = count(&server).await;
        let mut first = Import::begin(&server, &id(import), options.clone()).await;
        let one = first.batch(1, &rows()).await.expect("a batch");
        let two = first.batch(2, &rows()).await.expect("a batch");
        drop(first);
        let books = server.sql("SELECT * FROM books ORDER BY id").await;
        assert_eq!(count(&server).await, before + one.inserted + two.inserted);

        // From the first batch, and from the missing one.
        let mut again = Import::begin(&server, &id(import), options.clone()).await;
        assert_eq!(again.batch(1, &rows()).await.expect("a batch"), one);
        assert_eq!(again.batch(2, &rows()).await.expect("a batch"), two);
        assert_eq!(server.sql("SELECT * FROM books ORDER BY id").await, books);
        let summary = again.end(2, 8).await.expect("an end");
        assert_eq!(summary.inserted, one.inserted + two.inserted);
        assert_eq!(summary.rejected, one.rejected + two.rejected);
        let mut rest = Import::begin(&server, &id(import), options).await;
        assert_eq!(rest.batch(2, &rows()).await.expect("a batch"), two);
        let three = rest.batch(3, &rows()).await.expect("a batch");
        assert_eq!(three.inserted, 1);
        rest.end(2, 8).await.expect("an end");
    }
}

async fn same_batch_number_of_another_import_is_another_batch(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut first = Import::begin(&server, &id(900), upsert()).await;
    first.batch(1, &rows()).await.expect("a batch");
    let books = server.sql("SELECT * FROM books ORDER BY id").await;
    let other = [row(2, a_book("another")), row(9, a_book("new"))];
    let masked = with(upsert(), json!({"update_mask": "stock"}));
    for (options, rows) in [(upsert(), other.to_vec()), (json!({}), rows()), (masked, rows())] {
        let mut again = Import::begin(&server, &id(900), options).await;
        again.send(batch(1, &rows)).await;
        let refused = again.refusal().await;
        assert_eq!(
            (refused.code, &*refused.reason),
            (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
        );
        assert_eq!(server.sql("SELECT * FROM books ORDER BY id").await, books);
    }
    // With another import id it is another batch.
    let mut other = Import::begin(&server, &id(901), upsert()).await;
    let answer = other.batch(1, &rows()).await.expect("a batch");
    assert_eq!((answer.inserted, answer.updated, answer.rejected), (1, 1, 2));
}
