//! Server reflection: a question without an answer gets an error on the same stream, files have the
//! names that clients know, and no stream keeps the service or an aged connection.

use std::time::Duration;

use bookstore_tests::{Engine, SOON, TestServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest as Question,
    server_reflection_response::MessageResponse as Answer,
};

/// NOT_FOUND, as reflection's errors have it.
const NOT_FOUND: i32 = 5;

/// An open stream.
struct Stream {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Stream {
    async fn open(channel: Channel) -> Self {
        let (questions, receiver) = mpsc::channel(1);
        let mut client = ServerReflectionClient::new(channel);
        let opened = client.server_reflection_info(ReceiverStream::new(receiver));
        // The answer's metadata may come with the first answer.
        let question = Question::ListServices(String::new());
        let first =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        questions.send(first).await.expect("a question");
        let mut answers = opened.await.expect("a stream").into_inner();
        let services = answers.message().await.expect("an answer").expect("the services");
        let Some(Answer::ListServicesResponse(services)) = services.message_response else {
            panic!("{services:?}")
        };
        let names: Vec<_> = services.service.iter().map(|service| &*service.name).collect();
        for name in ["bookstore.v1.BookService", "grpc.health.v1.Health"] {
            assert!(names.contains(&name), "{names:?}");
        }
        Self { questions, answers }
    }

    async fn ask(&mut self, question: Question) -> Answer {
        let message_request = Some(question);
        let question = ServerReflectionRequest { host: "here".to_owned(), message_request };
        self.questions.send(question.clone()).await.expect("a question");
        let answer = self.answers.message().await.expect("an answer").expect("an open stream");
        assert_eq!(answer.original_request, Some(question));
        assert_eq!(answer.valid_host, "here");
        answer.message_response.expect("an answer")
    }

    /// The name of the file that answers.
    async fn file(&mut self, question: Question) -> Option<String> {
        use prost::Message as _;
        match self.ask(question).await {
            Answer::FileDescriptorResponse(files) => {
                let file = prost_types::FileDescriptorProto::decode(
                    files.file_descriptor_proto[0].as_slice(),
                );
                file.expect("a file").name
            }
            Answer::ErrorResponse(error) => {
                assert_eq!(error.error_code, NOT_FOUND, "{error:?}");
                assert!(!error.error_message.is_empty());
                None
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn reflection_answers_errors_and_known_file_names_on_one_stream() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stream = Stream::open(server.channel()).await;
    let symbol = |name: &str| Question::FileContainingSymbol(name.to_owned());
    assert_eq!(stream.file(symbol("no.such")).await, None);
    for (name, file) in [
        ("bookstore.v1.Book", "bookstore/v1/book.proto"),
        ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
        ("grpc.health.v1.Health", "grpc/health/v1/health.proto"),
        ("buf.validate.field", "buf/validate/validate.proto"),
        ("google.api.field_behavior", "google/api/field_behavior.proto"),
    ] {
        assert_eq!(stream.file(symbol(name)).await.as_deref(), Some(file), "{name}");
        let by_name = Question::FileByFilename(file.to_owned());
        assert_eq!(stream.file(by_name).await.as_deref(), Some(file));
    }
    assert_eq!(stream.file(Question::FileByFilename("no.proto".to_owned())).await, None);
    let unknown = Question::AllExtensionNumbersOfType("no.such".to_owned());
    assert_eq!(stream.file(unknown).await, None);
    let options = "google.protobuf.FieldOptions".to_owned();
    let Answer::AllExtensionNumbersResponse(numbers) =
        stream.ask(Question::AllExtensionNumbersOfType(options)).await
    else {
        panic!("no numbers")
    };
    // google.api.field_behavior.
    assert!(numbers.extension_number.contains(&1052), "{numbers:?}");
}

/// Tools keep their stream open. It is no work that a stop waits for.
#[tokio::test]
async fn open_reflection_stream_does_not_hold_the_stop() {
    let server = TestServer::builder(Engine::Sqlite).env("SHUTDOWN_PAUSE", "0s");
    let mut server = server.env("SHUTDOWN_TIMEOUT", "5m").start().await;
    let mut stream = Stream::open(server.channel()).await;
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_most(Duration::from_secs(10)), "{:?}", ended.took);
    assert!(stream.answers.message().await.expect("a good end").is_none());
}

/// A Watch and a stream of reflection would keep an aged connection for ever.
#[tokio::test]
async fn aged_connection_ends_its_watches() {
    let server = TestServer::builder(Engine::Sqlite).env("MAX_CONNECTION_AGE", "2s").start().await;
    let request = HealthCheckRequest { service: "ready".to_owned() };
    let watch = HealthClient::new(server.channel()).watch(request).await.expect("a watch");
    let mut watch = watch.into_inner();
    let mut stream = Stream::open(server.channel()).await;
    let ends = async {
        while watch.message().await.expect("a good end").is_some() {}
        assert!(stream.answers.message().await.expect("a good end").is_none());
    };
    tokio::time::timeout(SOON, ends).await.expect("an end");
}
