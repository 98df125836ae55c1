//! Imports and exports over gRPC: the result of each row, and of the streams.

mod export;
mod races;
mod rows;
mod steps;
mod streams;

use std::fmt::Debug;

use bookstore_proto::v1::{
    Book, ExportBooksRequest, ImportBooksAcknowledgement, ImportBooksRequest, ImportBooksResponse,
    ImportBooksSummary, book_transfer_service_client::BookTransferServiceClient,
    import_books_response::Step,
};
use bookstore_tests::TestServer;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::{
    bad_input::{Case, bad},
    client::{Refusal, id, message, with},
};

/// The bad-input table's cases of these methods: imports of a single message, since the table sends
/// no second one.
pub(crate) fn cases() -> Vec<Case> {
    const IMPORT: &str = "BookTransferService/ImportBooks";
    const EXPORT: &str = "BookTransferService/ExportBooks";
    let options = |members: Value| json!({"options": with(json!({"import_id": id(900)}), members)});
    let refused = |step, reason| bad(IMPORT, step, &[]).because(Code::InvalidArgument, reason);
    let all = ["options.import_id", "options.mode", "options.key", "options.update_mask"];
    vec![
        bad(IMPORT, json!({"options": {}}), &["options.import_id"]),
        bad(
            IMPORT,
            options(json!({"import_id": "X", "mode": 9, "key": "title", "update_mask": "stock"})),
            &all,
        ),
        bad(
            IMPORT,
            options(json!({"mode": "IMPORT_MODE_UPSERT", "update_mask": "etag,nothing"})),
            &["options.update_mask"],
        ),
        bad(IMPORT, options(json!({"mode": 1, "update_mask": "*"})), &["options.update_mask"]),
        refused(json!({}), "IMPORT_OUT_OF_ORDER"),
        refused(json!({"batch": {"number": 1, "rows": [{}]}}), "IMPORT_OUT_OF_ORDER"),
        refused(json!({"end": {}}), "IMPORT_OUT_OF_ORDER"),
        refused(options(json!({})), "IMPORT_INCOMPLETE"),
        bad(
            EXPORT,
            json!({"filter": "nothing = 1", "order_by": "id", "page_token": "x"}),
            &["filter", "order_by"],
        ),
        bad(EXPORT, json!({"page_token": "x"}), &["page_token"]),
        bad(EXPORT, json!({"filter": "x".repeat(4_097)}), &["filter"]),
    ]
}

fn client(server: &TestServer) -> BookTransferServiceClient<Channel> {
    BookTransferServiceClient::new(server.channel())
}

/// An import whose steps are sent one by one. Dropping it cancels the call.
struct Import {
    steps: Option<mpsc::Sender<ImportBooksRequest>>,
    answers: Streaming<ImportBooksResponse>,
}

impl Import {
    /// Starts an import with these options and its id.
    async fn begin(server: &TestServer, import_id: &str, options: Value) -> Self {
        let mut import = Self::bare(server, Request::new(())).await;
        import.send(json!({"options": with(json!({"import_id": import_id}), options)})).await;
        import
    }

    /// Opens the stream with a request's metadata, and sends nothing yet.
    async fn bare(server: &TestServer, request: Request<()>) -> Self {
        let (steps, sent) = mpsc::channel(1);
        let request = request.map(|()| stream_of(sent));
        let answers = client(server).import_books(request).await.expect("an import");
        Self { steps: Some(steps), answers: answers.into_inner() }
    }

    /// Sends a step, written as JSON. The answers show whether the service reads it.
    async fn send(&mut self, step: Value) {
        self.send_message(message(step)).await;
    }

    async fn send_message(&mut self, step: ImportBooksRequest) {
        if let Some(steps) = &self.steps {
            drop(steps.send(step).await);
        }
    }

    /// Sends a batch and waits for its acknowledgement.
    async fn batch(
        &mut self,
        number: i64,
        rows: &[Value],
    ) -> Result<ImportBooksAcknowledgement, Status> {
        self.send(json!({"batch": {"number": number, "rows": rows}})).await;
        self.acknowledgement().await
    }

    async fn acknowledgement(&mut self) -> Result<ImportBooksAcknowledgement, Status> {
        match self.answers.message().await?.and_then(|answer| answer.step) {
            Some(Step::Acknowledgement(acknowledgement)) => Ok(acknowledgement),
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    /// Sends the end with these counts. The stream must end without an error after the summary.
    async fn end(mut self, batches: i64, rows: i64) -> Result<ImportBooksSummary, Status> {
        self.send(json!({"end": {"batches": batches, "rows": rows}})).await;
        let summary = match self.answers.message().await?.and_then(|answer| answer.step) {
            Some(Step::Summary(summary)) => summary,
            other => panic!("no summary: {other:?}"),
        };
        assert_eq!(self.answers.message().await?, None);
        Ok(summary)
    }

    /// The error of the stream if nothing more is sent.
    async fn refusal(mut self) -> Refusal {
        self.steps = None;
        refusal(self.answers.message().await)
    }
}

fn stream_of<T: Send + 'static>(sent: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(sent, async |mut sent| Some((sent.recv().await?, sent)))
}

/// An error in the form of all errors, with the request id.
#[track_caller]
fn refusal<T: Debug>(answer: Result<T, Status>) -> Refusal {
    let status = answer.expect_err("an error");
    assert!(status.metadata().contains_key("request-id"), "{status:?}");
    Refusal::from(&status)
}

/// A row of a batch. Its line is ten times its number.
fn row(number: u32, book: Value) -> Value {
    json!({"line": u64::from(number) * 10, "id": id(number), "book": book})
}

/// Imports one batch, which must succeed.
async fn import(server: &TestServer, options: Value, rows: &[Value]) -> ImportBooksAcknowledgement {
    let mut import = Import::begin(server, &uuid::Uuid::new_v4().to_string(), options).await;
    let acknowledgement = import.batch(1, rows).await.expect("a batch");
    let rows = i64::try_from(rows.len()).expect("a count");
    let summary = import.end(1, rows).await.expect("an end");
    let ImportBooksAcknowledgement { inserted, updated, rejected, .. } = acknowledgement;
    assert_eq!(summary, ImportBooksSummary { batches: 1, inserted, updated, rejected });
    assert_eq!(inserted + updated + rejected, rows);
    acknowledgement
}

fn upsert() -> Value {
    json!({"mode": "IMPORT_MODE_UPSERT"})
}

/// All books of an export.
async fn export(server: &TestServer, request: ExportBooksRequest) -> Vec<Book> {
    let mut stream = client(server).export_books(request).await.expect("an export").into_inner();
    let mut books = Vec::new();
    let mut last = None;
    while let Some(answer) = stream.message().await.expect("books") {
        assert!(last.is_none_or(|token: String| !token.is_empty()), "a message after the last one");
        books.extend(answer.books);
        last = Some(answer.next_page_token);
    }
    assert_eq!(last.as_deref(), Some(""), "the last message has no page token");
    books
}

/// The number of books, read directly from the database.
async fn count(server: &TestServer) -> i64 {
    let count = server.database().value("SELECT count(*) FROM books").await;
    count.parse().expect("a number")
}
