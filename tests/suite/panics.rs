//! A panic in a call is INTERNAL for its caller, with the request id, and affects no other call. No
//! method of the program panics, so this service is built in the test's process from the program's
//! parts and methods that do.

use std::{sync::Arc, time::Duration};

use bookstore_proto::v1::{
    Begin, Category, Commit, ExportBooksRequest, ExportBooksResponse, ImportBooksRequest,
    ImportBooksResponse, TransactRequest,
    book_transfer_service_client::BookTransferServiceClient,
    book_transfer_service_server::{BookTransferService, BookTransferServiceServer},
    transact_request::Step,
    transact_response::Step as Answer,
    transaction_service_client::TransactionServiceClient,
};
use bookstore_server::{
    budget::{self, Budget},
    config::Address,
    listener::{self, ConnectionLimits, Socket},
    rpc::{
        calls::Calls,
        check::Check,
        consistency::Consistency,
        health::Readiness,
        layers::{self, LayerContext},
        load::Load,
        registry::Registry,
        request::ReadRequest,
        rules::Rules,
        session::SessionCell,
    },
    shutdown::Stop,
    transaction,
};
use bookstore_store::{
    Connection, Needs, PoolOptions, Query, StatementLog, Store, StoreError, StoreOptions,
    TopologyOptions,
};
use bookstore_tests::{Database, Engine, Origin, run, until};
use futures_util::stream::{self, BoxStream, StreamExt};
use prost::Name;
use prost_reflect::ReflectMessage;
use prost_types::Any;
use tonic::{
    Code, Request, Response, Status, Streaming,
    service::RoutesBuilder,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::lifecycle::SOON;

/// Answers once, and then panics.
struct Faulty;

#[tonic::async_trait]
impl BookTransferService for Faulty {
    type ImportBooksStream = BoxStream<'static, Result<ImportBooksResponse, Status>>;

    async fn import_books(
        &self,
        _: Request<Streaming<ImportBooksRequest>>,
    ) -> Result<Response<Self::ImportBooksStream>, Status> {
        panic!("a panic on purpose")
    }

    type ExportBooksStream = BoxStream<'static, Result<ExportBooksResponse, Status>>;

    async fn export_books(
        &self,
        _: Request<ExportBooksRequest>,
    ) -> Result<Response<Self::ExportBooksStream>, Status> {
        let answers = stream::iter([false, true]).then(async |panics| {
            // Messages that are ready at once are sent together or not at all.
            tokio::task::yield_now().await;
            assert!(!panics, "a panic on purpose");
            Ok(ExportBooksResponse::default())
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// A request that panics in its validation.
#[derive(Clone, PartialEq, prost::Message, ReflectMessage)]
#[prost_reflect(
    descriptor_pool = "bookstore_proto::DESCRIPTOR_POOL",
    message_name = "bookstore.v1.GetCategoryRequest"
)]
struct FaultyRequest {}

impl Name for FaultyRequest {
    const NAME: &'static str = "GetCategoryRequest";
    const PACKAGE: &'static str = "bookstore.v1";
}

struct Nothing;

impl Query for Nothing {
    const NAME: &'static str = "Nothing";
    type Output = ();

    async fn fetch(&self, _: &Connection) -> Result<(), StoreError> {
        Ok(())
    }
}

impl ReadRequest for FaultyRequest {
    type Query = Nothing;
    type Answer = Category;

    fn query(self, _: &mut Check<'_>) -> Option<Nothing> {
        panic!("a panic on purpose")
    }

    fn answer(_: &Nothing, (): ()) -> Result<Category, StoreError> {
        Ok(Category::default())
    }
}

/// Serves on a migrated database, in this process.
async fn serve(database: &Database, stop: Stop) -> Channel {
    let store = Store::new(StoreOptions {
        nodes: vec![("primary".into(), database.url())],
        topology: TopologyOptions::default(),
        sealing_key: None,
        pool: PoolOptions::default(),
        command_timeout: SOON,
        read_timeout: SOON,
        statement_log: StatementLog::default(),
    });
    let store = store.expect("a store");
    let calls = Calls::new(store.clone(), Rules::of_contract().expect("rules"), 1 << 20);
    let mut registry = Registry::default();
    transaction::register(&mut registry);
    registry.direct::<ImportBooksRequest>();
    registry.direct::<ExportBooksRequest>();
    registry.read::<FaultyRequest>();
    let registry = Arc::new(registry);
    let mut routes = RoutesBuilder::default();
    routes.add_service(BookTransferServiceServer::new(Faulty));
    let limits = transaction::TransactionLimits { wait: SOON, total: SOON, idle: SOON };
    transaction::serve(&mut routes, calls.clone(), Arc::clone(&registry), limits);
    let readiness = Readiness::new(&[]);
    tokio::spawn(readiness.clone().follow(
        store,
        bookstore_tests::known_revisions(),
        Needs::default(),
    ));
    until("the database is probed", SOON, async || readiness.serves("ready") == Some(true)).await;
    let (size, calls_at_once) = (64 << 20, 10);
    let budget = Budget::new(budget::Limits {
        stored_keys: 8,
        stored_bytes: 1 << 20,
        connection: size,
        received: size,
        answered: size,
        decoded: size,
        calls: calls_at_once,
    });
    let shared = LayerContext {
        access: None,
        registry,
        readiness,
        load: Load::new(10, 0),
        budget: Arc::clone(&budget),
        request_timeout: SOON,
        stream_idle_timeout: SOON,
        max_message_size: 1 << 20,
        consistency: Consistency::Session,
        sealing_key: Box::new(move || calls.sealing_key()),
    };
    let services = layers::around(routes.routes().into_axum_router(), Arc::new(shared));
    let address = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let socket = Socket::bind(&address).await.expect("a port");
    let address = socket.address().expect("its address");
    let limits = ConnectionLimits {
        connections: 10,
        preface_timeout: SOON,
        age: None,
        drain: Duration::ZERO,
        idle: SOON,
    };
    let make_extensions = || {
        let mut shared = http::Extensions::new();
        shared.insert(SessionCell::default());
        shared
    };
    tokio::spawn(listener::serve(socket, None, services, make_extensions, budget, stop, limits));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("a connection")
}

fn named<T>(message: T, id: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("request-id", id.parse().expect("ASCII"));
    request
}

fn assert_internal(status: &Status, id: &str) {
    assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!((&*info.reason, &*info.metadata["request_id"]), ("INTERNAL", id));
}

#[tokio::test]
async fn panic_in_a_call_fails_only_that_call() {
    let database = Database::create(Engine::Sqlite, Origin::Migrated).await;
    let url = database.url();
    assert_eq!(run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await.code, Some(0));
    let stop = Stop::new();
    let channel = serve(&database, stop.clone()).await;
    let mut transfers = BookTransferServiceClient::new(channel.clone());
    let mut transactions = TransactionServiceClient::new(channel);

    // Each twice: the connection stays usable, and no resource is lost.
    for _ in 0..2 {
        let import = transfers.import_books(named(stream::empty(), "before")).await;
        assert_internal(&import.expect_err("a panic before the answer"), "before");

        let export = named(ExportBooksRequest::default(), "within");
        let mut export = transfers.export_books(export).await.expect("a stream").into_inner();
        assert!(export.message().await.expect("a message").is_some());
        assert_internal(&export.message().await.expect_err("a panic"), "within");

        let request = Any { type_url: format!("x/{}", FaultyRequest::full_name()), value: vec![] };
        let steps = [Step::Begin(Begin::default()), Step::Request(request)];
        let mut answers = transact(&mut transactions, steps.into()).await;
        assert!(matches!(next(&mut answers).await, Ok(Some(Answer::Begun(_)))));
        assert_internal(&next(&mut answers).await.expect_err("a panic"), "led");
    }
    let steps = [Step::Begin(Begin::default()), Step::Commit(Commit {})];
    let mut answers = transact(&mut transactions, steps.into()).await;
    assert!(matches!(next(&mut answers).await, Ok(Some(Answer::Begun(_)))));
    assert!(matches!(next(&mut answers).await, Ok(Some(Answer::Committed(_)))));
    stop.trigger();
}

type Answers = Streaming<bookstore_proto::v1::TransactResponse>;

/// Begins to lead a transaction. The stream stays open after its steps.
async fn transact(client: &mut TransactionServiceClient<Channel>, steps: Vec<Step>) -> Answers {
    let steps = steps.into_iter().map(|step| TransactRequest { step: Some(step) });
    let steps = stream::iter(steps).chain(stream::pending());
    client.transact(named(steps, "led")).await.expect("a stream").into_inner()
}

async fn next(answers: &mut Answers) -> Result<Option<Answer>, Status> {
    Ok(answers.message().await?.and_then(|answer| answer.step))
}
