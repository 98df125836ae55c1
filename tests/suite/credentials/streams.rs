//! Calls that stream are judged again before each message: they end once their caller may not have
//! them any more.

use std::time::{Duration, SystemTime};

use bookstore_proto::v1::{
    Begin, ExportBooksRequest, ImportBooksOptions, ImportBooksRequest,
    book_transfer_service_client::BookTransferServiceClient, import_books_request,
    transact_request::Step,
};
use bookstore_tests::{AccessFiles, Engine, SOON, TestServer, on_every_engine, policy, until};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest as Question,
};

use super::{audited_with, bearer, for_members, list_as, refused};
use crate::{
    client::{a_book, books, create_all, with},
    transact::Led,
};

on_every_engine!(
    transactions_end_when_their_token_is_withdrawn,
    transactions_end_when_their_token_expires,
    transactions_end_when_the_policy_forbids_them,
    imports_and_reflection_end_when_their_token_is_withdrawn,
    exports_end_when_their_token_is_withdrawn
);

/// A transaction of a caller, with a book in it.
async fn begun(server: &TestServer, token: &str) -> Led {
    let header = bearer(token);
    let mut led = Led::open_with(server.address(), &[("authorization", &header)]).await;
    led.step(Step::Begin(Begin { timeout_ms: 60_000, ..Default::default() })).await.expect("begun");
    let book = json!({"book": a_book("never")});
    led.call("BookService/CreateBook", book).await.expect("a book in the transaction");
    led
}

/// Goes on with a transaction until it ends, and makes sure that it has changed nothing.
async fn ends(server: &TestServer, mut led: Led, reason: &str) {
    let mut refusal = None;
    until("the transaction ends", SOON, async || {
        let list = json!({"page_size": 1});
        refusal = led.call("CategoryService/ListCategories", list).await.err();
        refusal.is_some()
    })
    .await;
    let refusal = refusal.expect("a refusal");
    assert_eq!(refusal.reason, reason, "{refusal:?}");
    until("the transaction is rolled back", SOON, async || {
        server.sql("SELECT id FROM books").await.is_empty()
    })
    .await;
    audited_with(server, "refused", |line| line["reason"] == reason).await;
}

async fn transactions_end_when_their_token_is_withdrawn(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let ada = files.token("ada");
    let server = files.apply(TestServer::builder(engine)).start().await;
    let led = begun(&server, &ada).await;
    files.set_tokens("");
    ends(&server, led, "CREDENTIALS_INVALID").await;
}

async fn transactions_end_when_their_token_expires(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let soon = SystemTime::now() + Duration::from_secs(3);
    let ada = files.token_until("ada", Some(soon));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let led = begun(&server, &ada).await;
    ends(&server, led, "CREDENTIALS_EXPIRED").await;
}

async fn transactions_end_when_the_policy_forbids_them(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let ada = files.token("ada");
    let server = files.apply(TestServer::builder(engine)).start().await;
    let led = begun(&server, &ada).await;
    let forbids = |method: &str| match method {
        "TransactionService/Transact" => "other".to_owned(),
        _ => "member".to_owned(),
    };
    files.set_policy(&policy(forbids, ""));
    ends(&server, led, "METHOD_FORBIDDEN").await;
    list_as(&server, &ada).await.expect("a method that the caller may call");
}

/// The status with which a stream of answers ends.
async fn end_of<M>(answers: &mut tonic::Streaming<M>) -> Status {
    let end = async {
        loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(SOON, end).await.expect("an end")
}

async fn imports_and_reflection_end_when_their_token_is_withdrawn(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let ada = files.token("ada");
    let server = files.apply(TestServer::builder(engine)).start().await;
    let header = bearer(&ada);

    let (messages, stream) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(stream));
    request.metadata_mut().insert("authorization", header.parse().expect("a header"));
    let options = import_books_request::Step::Options(ImportBooksOptions {
        import_id: "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e".to_owned(),
        ..Default::default()
    });
    messages.send(ImportBooksRequest { step: Some(options.clone()) }).await.expect("a stream");
    let mut client = BookTransferServiceClient::new(server.channel());
    let import = client.import_books(request).await.expect("an import");

    let (questions, mut reflection) = reflect(server.channel(), &header).await;
    reflection.message().await.expect("an answer").expect("the services");

    files.set_tokens("");
    until("the token is withdrawn", SOON, async || list_as(&server, &ada).await.is_err()).await;
    messages.send(ImportBooksRequest { step: Some(options) }).await.expect("a stream");
    let status = end_of(&mut import.into_inner()).await;
    assert_eq!(refused(&status).reason, "CREDENTIALS_INVALID");
    questions.send(question()).await.expect("a stream");
    let status = end_of(&mut reflection).await;
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
}

/// An export has one request, so its answers alone can end it.
async fn exports_end_when_their_token_is_withdrawn(engine: Engine) {
    let mut open = TestServer::start(engine).await;
    // More than the transport takes of an answer that its caller doesn't read.
    let long = json!({"description": "x".repeat(10_000)});
    let all: Vec<Value> =
        (0..1_000).map(|number| with(a_book(&format!("{number}")), long.clone())).collect();
    create_all(&mut books(&open), &all).await;
    let database = open.database();
    open.terminate().await;
    let files = AccessFiles::new(&for_members(""));
    let ada = files.token("ada");
    let server = files.apply(TestServer::builder(engine)).on(database).start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address()));
    let endpoint = endpoint.expect("an address").initial_stream_window_size(65_535);
    let channel = endpoint.connect().await.expect("a connection");
    let mut request = Request::new(ExportBooksRequest::default());
    request.metadata_mut().insert("authorization", bearer(&ada).parse().expect("a header"));
    let export = BookTransferServiceClient::new(channel).export_books(request).await;
    let mut export = export.expect("an export").into_inner();
    export.message().await.expect("an answer").expect("the first books");
    files.set_tokens("");
    until("the token is withdrawn", SOON, async || list_as(&server, &ada).await.is_err()).await;
    let status = end_of(&mut export).await;
    assert_eq!(refused(&status).reason, "CREDENTIALS_INVALID");
}

fn question() -> ServerReflectionRequest {
    let message_request = Some(Question::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

/// A stream of reflection with its first question.
async fn reflect(
    channel: Channel,
    header: &str,
) -> (
    mpsc::Sender<ServerReflectionRequest>,
    tonic::Streaming<tonic_reflection::pb::v1::ServerReflectionResponse>,
) {
    let (questions, stream) = mpsc::channel(8);
    questions.send(question()).await.expect("a stream");
    let mut request = Request::new(ReceiverStream::new(stream));
    request.metadata_mut().insert("authorization", header.parse().expect("a header"));
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(request).await.expect("a stream");
    (questions, answers.into_inner())
}
