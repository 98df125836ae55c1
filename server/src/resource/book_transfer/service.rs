//! `BookTransferService` as tonic calls it, and the steps of its streams.

use bookstore_proto::v1::{
    ExportBooksRequest, ExportBooksResponse, ImportBooksAcknowledgement, ImportBooksBatch,
    ImportBooksEnd, ImportBooksRequest, ImportBooksResponse, ImportBooksSummary, ImportMode,
    book_transfer_service_server::{BookTransferService, BookTransferServiceServer},
    import_books_request::Step,
    import_books_response::Step as Answer,
};
use bookstore_store::now;
use futures_util::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait, service::RoutesBuilder};

use super::convert::{self, ImportPlan};
use crate::rpc::{calls::Calls, status, streams::StreamCall};

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    let service = BookTransferServiceServer::new(Service(calls));
    routes.add_service(service.max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl BookTransferService for Service {
    type ImportBooksStream = BoxStream<'static, Result<ImportBooksResponse, Status>>;

    async fn import_books(
        &self,
        request: Request<Streaming<ImportBooksRequest>>,
    ) -> Result<Response<Self::ImportBooksStream>, Status> {
        let call = StreamCall::begin(&self.0, &request)?;
        let import = Import::new(call, request.into_inner());
        Ok(Response::new(stream::try_unfold(import, Import::next).boxed()))
    }

    type ExportBooksStream = BoxStream<'static, Result<ExportBooksResponse, Status>>;

    async fn export_books(
        &self,
        request: Request<ExportBooksRequest>,
    ) -> Result<Response<Self::ExportBooksStream>, Status> {
        let call = StreamCall::begin(&self.0, &request)?;
        let export = ExportStream { call, next: Some(request.into_inner()) };
        Ok(Response::new(stream::try_unfold(export, ExportStream::next).boxed()))
    }
}

/// An import at one of its steps. A batch is read once the one before it is acknowledged: until
/// then flow control of HTTP/2 slows the caller down.
struct Import {
    call: StreamCall,
    messages: Streaming<ImportBooksRequest>,
    plan: Option<ImportPlan>,
    /// The number of the last batch.
    last: Option<i64>,
    rows: i64,
    sum: ImportBooksSummary,
    ended: bool,
}

impl Import {
    fn new(call: StreamCall, messages: Streaming<ImportBooksRequest>) -> Self {
        let sum = ImportBooksSummary::default();
        Self { call, messages, plan: None, last: None, rows: 0, sum, ended: false }
    }

    /// The next answer; none behind the summary.
    async fn next(mut self) -> Result<Option<(ImportBooksResponse, Self)>, Status> {
        while !self.ended {
            let Some(message) = self.call.receive(&mut self.messages).await? else {
                return Err(status::import_incomplete("the import ended without its end"));
            };
            let answer = match message.step {
                Some(Step::Options(options)) if self.plan.is_none() => {
                    self.call.judge(methods(options.mode() == ImportMode::Upsert), "options")?;
                    let plan = ImportPlan::of(&self.call, options)?;
                    let retention = self.call.key_retention();
                    let expired = plan.first_sent.map(|sent| sent + retention);
                    if let Some(since) = expired.filter(|since| *since <= now()) {
                        return Err(status::import_expired(since));
                    }
                    self.plan = Some(plan);
                    continue;
                }
                Some(Step::Options(_)) => {
                    return Err(status::import_out_of_order("the options came already"));
                }
                Some(Step::Batch(batch)) => Answer::Acknowledgement(self.batch(batch).await?),
                Some(Step::End(end)) => Answer::Summary(self.end(end)?),
                None => return Err(status::import_out_of_order("a message without a step")),
            };
            return Ok(Some((ImportBooksResponse { step: Some(answer) }, self)));
        }
        Ok(None)
    }

    async fn batch(
        &mut self,
        batch: ImportBooksBatch,
    ) -> Result<ImportBooksAcknowledgement, Status> {
        let plan = self.plan.as_ref().ok_or_else(without_options)?;
        // Again: the policy may be another one.
        self.call.judge(methods(plan.updates()), "batch")?;
        let number = batch.number;
        if let Some(last) = self.last
            && last.checked_add(1) != Some(number)
        {
            let message = format!("batch {number} came behind batch {last}");
            return Err(status::import_out_of_order(&message));
        }
        let rows = i64::try_from(batch.rows.len()).unwrap_or(i64::MAX);
        let (operation, once) = plan.batch(&self.call, batch)?;
        // The key is made later.
        let expires = now() + self.call.key_retention();
        let message = move |imported| convert::acknowledgement(number, imported, expires);
        let answer = self.call.write(operation, &once, message).await?;
        self.last = Some(number);
        self.rows += rows;
        self.sum.batches += 1;
        self.sum.inserted += answer.inserted;
        self.sum.updated += answer.updated;
        self.sum.rejected += answer.rejected;
        Ok(answer)
    }

    fn end(&mut self, end: ImportBooksEnd) -> Result<ImportBooksSummary, Status> {
        if self.plan.is_none() {
            return Err(without_options());
        }
        let end = convert::end(&self.call, end)?;
        if (end.batches, end.rows) != (self.sum.batches, self.rows) {
            let message = format!(
                "{} batches with {} rows came; the end tells of {} with {}",
                self.sum.batches, self.rows, end.batches, end.rows
            );
            return Err(status::import_incomplete(&message));
        }
        self.ended = true;
        Ok(self.sum)
    }
}

/// The methods that do what a batch of an import does, for the policy.
fn methods(updates: bool) -> &'static [&'static str] {
    const METHODS: [&str; 2] = [
        "/bookstore.v1.BookService/BatchCreateBooks",
        "/bookstore.v1.BookService/BatchUpdateBooks",
    ];
    if updates { &METHODS } else { &METHODS[..1] }
}

fn without_options() -> Status {
    status::import_out_of_order("the options come first")
}

/// An export between two messages, with the next request. The next page is read only after the
/// caller has taken the last message; no connection is held until then.
struct ExportStream {
    call: StreamCall,
    next: Option<ExportBooksRequest>,
}

impl ExportStream {
    async fn next(mut self) -> Result<Option<(ExportBooksResponse, Self)>, Status> {
        let Some(request) = self.next.take() else { return Ok(None) };
        let answer = self.call.read(request.clone()).await?;
        if !answer.next_page_token.is_empty() {
            let page_token = answer.next_page_token.clone();
            self.next = Some(ExportBooksRequest { page_token, ..request });
        }
        Ok(Some((answer, self)))
    }
}
