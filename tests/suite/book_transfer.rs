//! Imports and exports over the wire: what becomes of each row, and of the streams.

use bookstore_proto::v1::{
    ExportBooksRequest, ImportBooksRequest, ImportBooksResponse,
    book_transfer_service_client::BookTransferServiceClient,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    bad_input::{Case, bad},
    client::{a_book, id, message, with},
};

on_every_engine!(rows_come_and_go);

/// What the bad-input table has of these methods: an import of one message each, for there is
/// no second one.
pub(crate) fn cases() -> Vec<Case> {
    const IMPORT: &str = "BookTransferService/ImportBooks";
    const EXPORT: &str = "BookTransferService/ExportBooks";
    let options = |members: Value| json!({"options": with(json!({"import_id": id(900)}), members)});
    let order = |step| bad(IMPORT, step, &[]).because(Code::InvalidArgument, "IMPORT_OUT_OF_ORDER");
    let whole = |step| bad(IMPORT, step, &[]).because(Code::InvalidArgument, "IMPORT_INCOMPLETE");
    vec![
        bad(IMPORT, json!({"options": {}}), &["options.import_id"]),
        bad(
            IMPORT,
            options(json!({"import_id": "X", "mode": 9, "key": "title", "update_mask": "stock"})),
            &["options.import_id", "options.mode", "options.key", "options.update_mask"],
        ),
        bad(
            IMPORT,
            options(json!({"mode": "IMPORT_MODE_UPSERT", "update_mask": "etag,nothing"})),
            &["options.update_mask"],
        ),
        bad(IMPORT, options(json!({"mode": 1, "update_mask": "*"})), &["options.update_mask"]),
        order(json!({})),
        order(json!({"batch": {"number": 1, "rows": [{}]}})),
        order(json!({"end": {}})),
        whole(options(json!({}))),
        bad(
            EXPORT,
            json!({"filter": "nothing = 1", "order_by": "id", "page_token": "x"}),
            &["filter", "order_by"],
        ),
        bad(EXPORT, json!({"page_token": "x"}), &["page_token"]),
    ]
}

/// The steps of an import as JSON, and what they are answered with.
async fn import(
    server: &TestServer,
    steps: &[Value],
) -> (Vec<ImportBooksResponse>, Option<Status>) {
    let steps: Vec<ImportBooksRequest> = steps.iter().cloned().map(message).collect();
    let mut client = BookTransferServiceClient::new(server.channel());
    let mut answers = Vec::new();
    let stream = client.import_books(futures_util::stream::iter(steps)).await;
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (answers, Some(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

async fn rows_come_and_go(engine: Engine) {
    let server = TestServer::start(engine).await;
    let row =
        |number: u32, title: &str| json!({"line": number, "id": id(number), "book": a_book(title)});
    let (answers, status) = import(
        &server,
        &[
            json!({"options": {"import_id": id(900)}}),
            json!({"batch": {"number": 1, "rows": [row(2, "B"), row(1, "A"), row(3, "")]}}),
            json!({"batch": {"number": 2, "rows": [row(2, "again")]}}),
            json!({"end": {"batches": 2, "rows": 4}}),
        ],
    )
    .await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(answers.len(), 3, "{answers:#?}");
    let mut client = BookTransferServiceClient::new(server.channel());
    let request = ExportBooksRequest { order_by: "title".into(), ..Default::default() };
    let mut stream = client.export_books(request).await.expect("a stream").into_inner();
    let first = stream.message().await.expect("a message").expect("books");
    let titles: Vec<_> = first.books.iter().map(|book| book.title.as_str()).collect();
    assert_eq!(titles, ["A", "B"]);
    assert_eq!(stream.message().await.expect("an end"), None);
}
