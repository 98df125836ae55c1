//! What goes out by OTLP: a trace read back from a collector of the test's own.

use std::time::Duration;

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, TestServer, on_every_engine};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::client;

on_every_engine!(
    a_trace_has_the_call_its_operation_and_its_statements,
    a_dead_collector_is_nothing
);

struct Sink(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let _ = self.0.send(span);
        }
        Ok(Response::new(Default::default()))
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|it| it.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

async fn a_trace_has_the_call_its_operation_and_its_statements(engine: Engine) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, mut received) = mpsc::unbounded_channel();
    let sink = Server::builder().add_service(TraceServiceServer::new(Sink(sender)));
    tokio::spawn(sink.serve_with_incoming(TcpIncoming::from(listener)));
    let mut server = TestServer::builder(engine)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint)
        .start()
        .await;
    let trace: [u8; 16] = std::array::from_fn(|at| u8::try_from(at + 1).expect("small"));
    let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = ListBooksRequest { filter: "title = \"Xyzzy\"".to_owned(), ..Default::default() };
    let mut request = Request::new(list);
    let parent = format!("00-{hex}-b7ad6b7169203331-01");
    request.metadata_mut().insert("traceparent", parent.parse().expect("ASCII"));
    client::books(&server).list_books(request).await.expect("a list");
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(0));

    let mut spans = Vec::new();
    // All of it has been sent before the end.
    while let Ok(span) = received.try_recv() {
        if span.trace_id == trace {
            spans.push(span);
        }
    }
    assert!(!format!("{spans:?}").contains("Xyzzy"), "{spans:#?}");
    let child_of = |parent: &[u8]| -> Vec<&Span> {
        spans.iter().filter(|span| span.parent_span_id == parent).collect()
    };
    let calls = child_of(&[0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(calls.len(), 1, "{spans:#?}");
    assert_eq!(calls[0].name, "bookstore.v1.BookService/ListBooks");
    assert_eq!(calls[0].kind(), SpanKind::Server);
    assert_eq!(text(&calls[0].attributes, "rpc.method").as_deref(), Some("ListBooks"));
    let operations = child_of(&calls[0].span_id);
    assert_eq!(operations.len(), 1, "{spans:#?}");
    let statements = child_of(&operations[0].span_id);
    assert!(!statements.is_empty(), "{spans:#?}");
    for statement in statements {
        assert_eq!(statement.kind(), SpanKind::Client);
        assert!(text(&statement.attributes, "db.namespace").is_some(), "{statement:#?}");
        assert!(text(&statement.attributes, "db.query.text").is_some(), "{statement:#?}");
    }
}

async fn a_dead_collector_is_nothing(engine: Engine) {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let mut server =
        TestServer::builder(engine).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).start().await;
    for _ in 0..100 {
        client::books(&server).list_books(ListBooksRequest::default()).await.expect("a list");
    }
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}
