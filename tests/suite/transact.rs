//! `Transact`: transactions that their callers lead.

mod connections;
mod ends;

use std::net::SocketAddr;

use bookstore_proto::v1::{
    Begin, Committed, GetOutcomeRequest, Isolation, Outcome, Rollback, RolledBack, Savepoint,
    TransactRequest, TransactResponse, transact_request::Step, transact_response::Step as Answer,
    transaction_service_client::TransactionServiceClient,
};
use bookstore_tests::{Engine, TestServer, on_every_engine, raw};
use prost::Message;
use prost_reflect::DynamicMessage;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::{
    bad_input::descriptor,
    client::{Refusal, a_book, id},
    standard::{answer, refusal},
};

on_every_engine!(
    led_transaction_is_visible_only_after_commit,
    led_transaction_without_commit_is_rolled_back,
    refused_step_changes_nothing,
    rollback_to_a_savepoint_undoes_later_steps,
    transaction_steps_out_of_order_are_refused,
    key_of_a_committed_transaction_repeats_its_answer,
    read_only_transaction_refuses_writes,
);

pub(crate) const CREATE: &str = "BookService/CreateBook";
const GET: &str = "BookService/GetBook";

/// An open stream.
pub(crate) struct Led {
    steps: mpsc::Sender<TransactRequest>,
    answers: Streaming<TransactResponse>,
}

impl Led {
    pub(crate) async fn open(server: &TestServer, key: Option<&str>) -> Self {
        Self::open_at(server.address(), key).await
    }

    async fn open_at(address: SocketAddr, key: Option<&str>) -> Self {
        let metadata: Vec<_> = key.iter().map(|key| ("idempotency-key", *key)).collect();
        Self::open_with(address, &metadata).await
    }

    pub(crate) async fn open_with(address: SocketAddr, metadata: &[(&'static str, &str)]) -> Self {
        let (steps, stream) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(stream));
        for (key, value) in metadata {
            request.metadata_mut().insert(*key, value.parse().expect("ASCII"));
        }
        // A new connection, which is closed with the stream.
        let mut client = TransactionServiceClient::new(raw(address).await);
        let answers = client.transact(request).await.expect("a stream").into_inner();
        Self { steps, answers }
    }

    pub(crate) async fn begun(server: &TestServer) -> Self {
        Self::begun_at(server.address()).await
    }

    pub(crate) async fn begun_at(address: SocketAddr) -> Self {
        let mut led = Self::open_at(address, None).await;
        let begun = led.step(Step::Begin(Begin::default())).await;
        assert!(matches!(begun, Ok(Answer::Begun(_))), "{begun:?}");
        led
    }

    pub(crate) async fn step(&mut self, step: Step) -> Result<Answer, Status> {
        // The service may have ended the stream already, and the stream has the reason.
        drop(self.steps.send(TransactRequest { step: Some(step) }).await);
        let answer = self.answers.message().await?.expect("an answer to each step");
        Ok(answer.step.expect("an answer with a step"))
    }

    /// Makes a call inside the transaction.
    pub(crate) async fn call(&mut self, method: &str, request: Value) -> Result<Value, Refusal> {
        let contract = descriptor(method);
        let name = contract.input().full_name().to_owned();
        let value = crate::client::dynamic(contract.input(), request).encode_to_vec();
        let request = Any { type_url: format!("type.googleapis.com/{name}"), value };
        match self.step(Step::Request(request)).await.map_err(|status| Refusal::from(&status))? {
            Answer::Response(Any { type_url, value }) => {
                let name = contract.output().full_name().to_owned();
                assert_eq!(type_url, format!("type.googleapis.com/{name}"));
                let message = DynamicMessage::decode(contract.output(), &*value);
                Ok(serde_json::to_value(message.expect("the method's answer")).expect("JSON"))
            }
            Answer::Failure(failure) => {
                let details = tonic_types::pb::Status {
                    code: failure.code,
                    message: failure.message.clone(),
                    details: failure.details,
                };
                let details = details.encode_to_vec().into();
                let code = Code::from(failure.code);
                Err(Refusal::from(&Status::with_details(code, failure.message, details)))
            }
            other => panic!("{method}: {other:?}"),
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<Committed, Status> {
        match self.step(Step::Commit(bookstore_proto::v1::Commit {})).await? {
            Answer::Committed(committed) => {
                assert!(self.answers.message().await?.is_none(), "the stream's end");
                Ok(committed)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn named(name: &str) -> Savepoint {
    Savepoint { name: name.to_owned() }
}

pub(crate) fn a_new_book(number: u32) -> Value {
    json!({"id": id(number), "book": a_book("led")})
}

async fn books(server: &TestServer) -> String {
    server.database().value("SELECT count(*) FROM books").await
}

async fn led_transaction_is_visible_only_after_commit(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut led = Led::begun(&server).await;
    let category = json!({"id": id(1), "category": {"name": "Led"}});
    led.call("CategoryService/CreateCategory", category).await.expect("a category");
    for number in 1..=3 {
        led.call(CREATE, a_new_book(number)).await.expect("a book");
    }
    // The transaction sees its own writes, other calls don't.
    let change = json!({"book": {"id": id(2), "category_id": id(1), "stock": 4}});
    led.call("BookService/UpdateBook", change).await.expect("an existing book");
    let read = led.call(GET, json!({"id": id(2)})).await.expect("a book");
    assert_eq!((&read["stock"], &read["categoryId"]), (&json!(4), &json!(id(1))));
    refusal(&server, GET, json!({"id": id(2)})).await.is_missing(&["id"]);
    led.commit().await.expect("a commit");
    assert_eq!(answer(&server, GET, json!({"id": id(2)})).await["stock"], 4);
    assert_eq!(books(&server).await, "3");
}

async fn led_transaction_without_commit_is_rolled_back(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    let undone = led.step(Step::Rollback(Rollback {})).await;
    assert!(matches!(undone, Ok(Answer::RolledBack(RolledBack {}))), "{undone:?}");

    // The caller half-closes the stream.
    let Led { steps, mut answers } = {
        let mut led = Led::begun(&server).await;
        led.call(CREATE, a_new_book(1)).await.expect("a book");
        led
    };
    drop(steps);
    let last = answers.message().await.expect("an answer").and_then(|answer| answer.step);
    assert!(matches!(last, Some(Answer::RolledBack(_))), "{last:?}");

    // The caller cancels the call.
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    drop(led);
    // The next write waits for the end of that transaction.
    answer(&server, CREATE, a_new_book(1)).await;
    assert_eq!(books(&server).await, "1");
}

async fn refused_step_changes_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    // The first entry is applied before the second one fails.
    let requests = json!({"requests": [
        {"book": {"id": id(1), "stock": 9}}, {"book": {"id": id(404), "stock": 9}}]});
    let refused =
        led.call("BookService/BatchUpdateBooks", requests).await.expect_err("no such book");
    refused.is_missing(&["requests[1].book.id"]);
    // A failed statement, whose explanation only this transaction can see.
    let refused = led.call(CREATE, a_new_book(1)).await.expect_err("an existing resource");
    refused.is_taken(&["id"]);
    let wrong = json!({"book": {"title": "x"}});
    let refused = led.call(CREATE, wrong).await.expect_err("values that break rules");
    refused.is_invalid(&["book.author", "book.price"]);
    let refused = led.call(GET, json!({"id": id(404)})).await.expect_err("no such book");
    refused.is_missing(&["id"]);
    let nested = led.call("TransactionService/Execute", json!({})).await.expect_err("no nesting");
    nested.is_invalid(&["request"]);
    let book = led.call(GET, json!({"id": id(1)})).await.expect("the book");
    assert!(book.get("stock").is_none(), "a part of a batch is applied: {book}");
    led.commit().await.expect("a commit");
    assert_eq!(books(&server).await, "1");
}

async fn rollback_to_a_savepoint_undoes_later_steps(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut led = Led::begun(&server).await;
    for number in 1..=4 {
        led.call(CREATE, a_new_book(number)).await.expect("a book");
        let saved = led.step(Step::Savepoint(named(&format!("after_{number}")))).await;
        assert!(matches!(saved, Ok(Answer::Saved(_))), "{saved:?}");
    }
    // Twice to the same savepoint, and then to an earlier one, which removes the later ones.
    for name in ["after_3", "after_3", "after_1"] {
        let undone = led.step(Step::RollbackTo(named(name))).await;
        assert!(matches!(undone, Ok(Answer::RolledBackTo(_))), "{undone:?}");
    }
    for (step, field) in [
        (Step::RollbackTo(named("after_3")), "rollback_to.name"),
        (Step::RollbackTo(named("before_write")), "rollback_to.name"),
        (Step::Savepoint(named("")), "savepoint.name"),
        (Step::Savepoint(named("a\"; DROP TABLE books; --")), "savepoint.name"),
    ] {
        let Ok(Answer::Failure(failure)) = led.step(step).await else { panic!("{field}") };
        assert_eq!(failure.code, i32::from(Code::InvalidArgument));
        assert!(failure.message.starts_with(field), "{failure:?}");
    }
    led.call(CREATE, a_new_book(9)).await.expect("a book");
    led.commit().await.expect("a commit");
    let ids = server.sql("SELECT id FROM books ORDER BY id").await;
    assert_eq!(ids, [[Some(id(1))], [Some(id(9))]]);
}

async fn transaction_steps_out_of_order_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut led = Led::open(&server, None).await;
    let status = led.step(Step::Rollback(Rollback {})).await.expect_err("nothing has begun");
    Refusal::from(&status).is_invalid(&["step"]);
    let mut led = Led::begun(&server).await;
    let status = led.step(Step::Begin(Begin::default())).await.expect_err("a begun transaction");
    Refusal::from(&status).is_invalid(&["step"]);
    for begin in [
        Begin { timeout_ms: 60_001, ..Begin::default() },
        Begin { timeout_ms: -1, ..Begin::default() },
        Begin { isolation: 4, ..Begin::default() },
    ] {
        let mut led = Led::open(&server, None).await;
        let status = led.step(Step::Begin(begin)).await.expect_err("a value that breaks a rule");
        assert_eq!(Refusal::from(&status).reason, "FIELD_INVALID");
    }
}

async fn key_of_a_committed_transaction_repeats_its_answer(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = Uuid::new_v4().to_string();
    let mut led = Led::open(&server, Some(&key)).await;
    led.step(Step::Begin(Begin::default())).await.expect("a transaction");
    led.call(CREATE, json!({"book": a_book("once")})).await.expect("a book");
    assert!(!led.commit().await.expect("a commit").replayed);
    let mut again = Led::open(&server, Some(&key)).await;
    let reported = again.step(Step::Begin(Begin::default())).await.expect("an answer");
    let Answer::Committed(reported) = reported else { panic!("not committed: {reported:?}") };
    assert!(reported.replayed && !reported.consistency_token.is_empty(), "{reported:?}");
    assert!(again.answers.message().await.expect("an end").is_none());
    assert_eq!(books(&server).await, "1");

    let mut client = TransactionServiceClient::new(server.channel());
    let ask = GetOutcomeRequest { idempotency_key: key, fence: false };
    let reported = client.get_outcome(ask).await.expect("an outcome").into_inner();
    assert_eq!(reported.outcome(), Outcome::Committed);
    let response = reported.response.expect("the answer").value;
    let response = TransactResponse::decode(&*response).expect("the last message");
    let committed = Committed { replayed: true, ..Committed::default() };
    assert_eq!(response.step, Some(Answer::Committed(committed)));

    // A transaction without a commit is not applied.
    let key = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let mut led = Led::open(&server, Some(&key)).await;
        let begun = led.step(Step::Begin(Begin::default())).await;
        assert!(matches!(begun, Ok(Answer::Begun(_))), "{begun:?}");
        led.step(Step::Rollback(Rollback {})).await.expect("a rollback");
    }
}

async fn read_only_transaction_refuses_writes(engine: Engine) {
    let server = TestServer::start(engine).await;
    answer(&server, CREATE, a_new_book(1)).await;
    let mut led = Led::open(&server, None).await;
    let isolation = Isolation::RepeatableRead.into();
    let begin = Begin { read_only: true, isolation, ..Begin::default() };
    led.step(Step::Begin(begin)).await.expect("a transaction");
    led.call(GET, json!({"id": id(1)})).await.expect("a book");
    // A password is compared by itself: a transaction holds a connection meanwhile.
    let verify = json!({"email": "a@b", "password": "correct horse"});
    let refused = led.call("UserService/VerifyPassword", verify).await;
    refused.expect_err("it stands alone").is_invalid(&["request"]);
    let refused = led.call(CREATE, a_new_book(2)).await.expect_err("it only reads");
    refused.is_invalid(&["request"]);
    // It keeps reading its snapshot while others write.
    answer(&server, "BookService/UpdateBook", json!({"book": {"id": id(1), "stock": 8}})).await;
    let book = led.call(GET, json!({"id": id(1)})).await.expect("a book");
    assert!(book.get("stock").is_none(), "{book}");
    led.commit().await.expect("a commit");
}

/// Each reads what the other one writes: one of them must retry.
#[tokio::test]
async fn serializable_write_skew_is_refused() {
    let server = TestServer::start(Engine::Postgres).await;
    for number in 1..=2 {
        answer(&server, CREATE, a_new_book(number)).await;
    }
    let (mut one, mut two) = (Led::open(&server, None).await, Led::open(&server, None).await);
    let isolation = Isolation::Serializable.into();
    for (led, reads) in [(&mut one, 2), (&mut two, 1)] {
        led.step(Step::Begin(Begin { isolation, ..Begin::default() }))
            .await
            .expect("a transaction");
        led.call(GET, json!({"id": id(reads)})).await.expect("a book");
    }
    let update = |number: u32| json!({"book": {"id": id(number), "stock": 5}});
    one.call("BookService/UpdateBook", update(1)).await.expect("a book");
    two.call("BookService/UpdateBook", update(2)).await.expect("a book");
    one.commit().await.expect("the first one");
    let status = two.commit().await.expect_err("a write skew");
    Refusal::from(&status).is(Code::Aborted, "TRANSACTION_CONFLICT", &[]);
}
