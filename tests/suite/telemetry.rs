//! OTLP exports: traces read back from a collector inside the test.

use std::time::Duration;

use bookstore_proto::v1::{
    Begin, Commit, ExportBooksRequest, GetBookRequest, ImportBooksRequest, ListBooksRequest,
    Savepoint, TransactRequest, book_transfer_service_client::BookTransferServiceClient,
    transact_request::Step, transaction_service_client::TransactionServiceClient,
};
use bookstore_tests::{Engine, Sink, TestServer, on_every_engine, until};
use futures_util::stream;
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use prost_types::Any;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{Request, Streaming};

use crate::{bad_input, client, lifecycle::SOON};

on_every_engine!(
    trace_contains_the_call_its_operation_and_its_statements,
    span_of_each_stream_step_contains_its_statements,
    silent_collector_blocks_neither_calls_nor_the_stop
);

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|it| it.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The span id of the callers, as bytes and as `traceparent` has it.
const CALLER: ([u8; 8], &str) =
    ([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31], "b7ad6b7169203331");

/// A trace id made from a byte.
fn trace(number: u8) -> [u8; 16] {
    [number; 16]
}

fn traceparent(number: u8) -> String {
    format!("00-{}-{}-01", format!("{number:02x}").repeat(16), CALLER.1)
}

/// A request within that trace.
fn traced<T>(number: u8, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = traceparent(number).parse().expect("ASCII");
    request.metadata_mut().insert("traceparent", parent);
    request
}

/// The spans of a trace, sorted by their start.
struct Trace(Vec<Span>);

impl Trace {
    fn of(spans: &[Span], number: u8) -> Self {
        let mut spans: Vec<Span> =
            spans.iter().filter(|span| span.trace_id == trace(number)).cloned().collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        Self(spans)
    }

    fn below(&self, parent: &[u8]) -> Vec<&Span> {
        self.0.iter().filter(|span| span.parent_span_id == parent).collect()
    }

    /// The call's span, of which there must be one.
    fn call(&self) -> &Span {
        let calls = self.below(&CALLER.0);
        assert_eq!(calls.len(), 1, "{:#?}", self.0);
        assert_eq!(calls[0].kind(), SpanKind::Server);
        calls[0]
    }

    /// The names of the call's operations. Statements are below each of them, and none is directly
    /// below the call.
    fn operations(&self) -> Vec<&str> {
        let operations = self.below(&self.call().span_id);
        for operation in &operations {
            assert_ne!(operation.kind(), SpanKind::Client, "{operation:#?}");
            let statements = self.below(&operation.span_id);
            assert!(!statements.is_empty(), "{operation:#?} in {:#?}", self.0);
            for statement in statements {
                assert_eq!(statement.kind(), SpanKind::Client);
                let text = |key| text(&statement.attributes, key);
                assert!(text("db.namespace").is_some(), "{statement:#?}");
                assert!(text("db.query.text").is_some(), "{statement:#?}");
            }
        }
        operations.into_iter().map(|operation| &*operation.name).collect()
    }
}

async fn with_sink(engine: Engine) -> (Sink, TestServer) {
    let sink = Sink::start().await;
    let server = TestServer::builder(engine)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", sink.endpoint())
        .start()
        .await;
    (sink, server)
}

/// All spans of a service, which exports them before its end.
async fn spans(sink: &Sink, mut server: TestServer) -> Vec<Span> {
    assert_eq!(server.terminate().await.status.code(), Some(0));
    sink.take_spans()
}

async fn trace_contains_the_call_its_operation_and_its_statements(engine: Engine) {
    let (sink, server) = with_sink(engine).await;
    let list = ListBooksRequest { filter: "title = \"Xyzzy\"".to_owned(), ..Default::default() };
    client::books(&server).list_books(traced(1, list)).await.expect("a list");
    let trace = Trace::of(&spans(&sink, server).await, 1);
    assert!(!format!("{:?}", trace.0).contains("Xyzzy"), "{:#?}", trace.0);
    let call = trace.call();
    assert_eq!(call.name, "bookstore.v1.BookService/ListBooks");
    assert_eq!(text(&call.attributes, "rpc.method").as_deref(), Some("ListBooks"));
    assert_eq!(trace.operations(), ["ListBooks"]);
    // Attributes that the trace contains anyway aren't exported again.
    for span in &trace.0 {
        for twice in ["method", "operation", "trace_id"] {
            assert_eq!(text(&span.attributes, twice), None, "{span:#?}");
        }
    }
    assert!(text(&call.attributes, "request_id").is_some(), "the request id: {call:#?}");
}

/// The statements of a long stream are below the span of the step that ran them.
async fn span_of_each_stream_step_contains_its_statements(engine: Engine) {
    let (sink, server) = with_sink(engine).await;
    let any = |name: &str, value: Vec<u8>| {
        Step::Request(Any { type_url: format!("x/bookstore.v1.{name}"), value })
    };
    let create = client::create(&client::id(1), client::a_book("Dune")).encode_to_vec();
    let get = GetBookRequest { id: client::id(1), ..Default::default() }.encode_to_vec();
    let savepoint = Savepoint { name: "here".to_owned() };
    let steps = [
        Step::Begin(Begin::default()),
        any("CreateBookRequest", create),
        Step::Savepoint(savepoint.clone()),
        any("GetBookRequest", get),
        Step::RollbackTo(savepoint),
        Step::Commit(Commit {}),
    ];
    let steps = stream::iter(steps.map(|step| TransactRequest { step: Some(step) }));
    let mut transactions = TransactionServiceClient::new(server.channel());
    let answers = transactions.transact(traced(1, steps)).await.expect("a stream");
    assert_eq!(read(answers.into_inner()).await, 6);

    let row = |number| json!({"line": number, "book": client::a_book("Dune")});
    let batch = |number| json!({"batch": {"number": number, "rows": [row(1), row(2)]}});
    let id = uuid::Uuid::new_v4().to_string();
    let steps = [
        json!({"options": {"import_id": id}}),
        batch(1),
        batch(2),
        json!({"end": {"batches": 2, "rows": 4}}),
    ];
    let steps = stream::iter(steps.map(client::message::<ImportBooksRequest>));
    let mut transfers = BookTransferServiceClient::new(server.channel());
    let answers = transfers.import_books(traced(2, steps)).await.expect("a stream");
    assert_eq!(read(answers.into_inner()).await, 3);
    let export = transfers.export_books(traced(3, ExportBooksRequest::default()));
    assert_eq!(read(export.await.expect("a stream").into_inner()).await, 1);

    let spans = spans(&sink, server).await;
    let operations = [
        "TransactBegin",
        "CreateBooks",
        "TransactSavepoint",
        "GetBook",
        "TransactRollbackTo",
        "TransactCommit",
    ];
    assert_eq!(Trace::of(&spans, 1).operations(), operations);
    assert_eq!(Trace::of(&spans, 2).operations(), ["ImportBooks", "ImportBooks"]);
    assert_eq!(Trace::of(&spans, 3).operations(), ["ExportBooks"]);
}

/// Reads a stream to its end; returns the number of messages.
async fn read<T>(mut answers: Streaming<T>) -> usize {
    let mut count = 0;
    while answers.message().await.expect("an answer").is_some() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn spans_of_probes_and_reflection_have_their_method_names() {
    let (sink, server) = with_sink(Engine::Sqlite).await;
    let calls = [
        ("grpc.health.v1.Health/Check", vec![]),
        // Field 7 asks for the list of services.
        ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", vec![0x3a, 0]),
        ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", vec![0x3a, 0]),
    ];
    for (number, (method, body)) in (1..).zip(calls.clone()) {
        let metadata = [("traceparent", &*traceparent(number))];
        let path = format!("/{method}");
        bad_input::send(server.channel(), &path, body, &metadata).await.expect("an answer");
    }
    let spans = spans(&sink, server).await;
    for (number, (method, _)) in (1..).zip(calls) {
        let trace = Trace::of(&spans, number);
        assert_eq!(trace.call().name, method);
        let name = method.split_once('/').map(|(_, name)| name.to_owned());
        assert_eq!(text(&trace.call().attributes, "rpc.method"), name);
    }
    // The harness called this method.
    assert!(spans.iter().any(|span| span.name == "grpc.health.v1.Health/Watch"), "{spans:#?}");
}

/// Propagators that aren't configured are ignored in traces and in the log. Unknown names are
/// logged.
#[tokio::test]
async fn only_configured_propagators_join_a_trace() {
    for (list, joins, unknown) in
        [("none", false, None), ("baggage", false, None), ("b3,tracecontext", true, Some("b3"))]
    {
        let sink = Sink::start().await;
        let server = TestServer::builder(Engine::Sqlite)
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", sink.endpoint())
            .env("OTEL_PROPAGATORS", list)
            .start()
            .await;
        let id = "traced";
        let mut request = traced(1, ListBooksRequest::default());
        request.metadata_mut().insert("request-id", id.parse().expect("ASCII"));
        client::books(&server).list_books(request).await.expect("a list");
        let line = server.logs().wait_for(|line| line.contains("\"request_id\":\"traced\"")).await;
        let trace = format!("\"trace_id\":\"{}\"", "01".repeat(16));
        assert_eq!(line.contains(&trace), joins, "{list}: {line}");
        let warned = server.logs().so_far();
        let mut warned = warned.iter().filter(|line| line.contains("OTEL_PROPAGATORS"));
        match unknown {
            Some(name) => assert!(warned.any(|line| line.contains(name)), "{list}"),
            None => assert_eq!(warned.next(), None, "{list}"),
        }
        let spans = spans(&sink, server).await;
        let calls: Vec<_> = spans.iter().filter(|span| span.name.ends_with("/ListBooks")).collect();
        assert_eq!(calls.len(), 1, "{spans:#?}");
        assert_eq!(calls[0].parent_span_id == CALLER.0, joins, "{list}: {calls:#?}");
    }
}

/// Missing traces would be noticed only when they are needed, so the log reports the collector
/// once.
#[tokio::test]
async fn unreachable_collector_is_logged_once_and_reconnected() {
    // Nothing listens there yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = TestServer::builder(Engine::Sqlite)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("http://{address}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
        .start()
        .await;
    let list = async || {
        client::books(&server).list_books(ListBooksRequest::default()).await.expect("a list");
    };
    list().await;
    server.logs().wait_for(|line| line.contains("the collector takes no traces")).await;
    let sink = Sink::on(listener);
    until("spans arrive", SOON, async || {
        list().await;
        sink.count("bookstore.v1.BookService/ListBooks") > 0
    })
    .await;
    server.logs().wait_for(|line| line.contains("the collector takes traces again")).await;
    let logged = server.logs().so_far();
    let logged = logged.iter().filter(|line| line.contains("takes no traces")).count();
    assert_eq!(logged, 1, "one line, however many spans are dropped");
}

async fn silent_collector_blocks_neither_calls_nor_the_stop(engine: Engine) {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let mut server =
        TestServer::builder(engine).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).start().await;
    for _ in 0..100 {
        client::books(&server).list_books(ListBooksRequest::default()).await.expect("a list");
    }
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_most(Duration::from_secs(10)), "{:?}", ended.took);
}
