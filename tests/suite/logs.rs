//! The service's log of calls and statements, and the metadata that connects callers to it.

use bookstore_proto::v1::{
    Begin, CreateCategoryRequest, GetBookRequest, ListBooksRequest, Rollback, Savepoint,
    transact_request::Step,
};
use bookstore_tests::{Engine, REVISIONS, TestServer, on_every_engine, run};
use serde_json::{Value, json};
use tonic::{Code, Request, metadata::MetadataMap};

use crate::{
    client::{self, with},
    standard::call_with,
    transact::{CREATE, Led},
};

on_every_engine!(
    call_is_logged_as_one_line,
    line_of_a_write_has_the_ids_that_it_changed,
    line_of_a_transaction_has_the_ids_that_it_committed,
    line_of_a_repeated_write_names_it_so,
    statement_echo_contains_no_values,
    slow_statement_is_logged_without_values,
    answer_metadata_names_node_attempts_and_timing,
);

/// The log target of statements.
const SQL: &str = "bookstore::sql";

/// No message of the service contains this itself.
const SECRET: &str = "Xyzzy-4711";

fn with_id<T>(message: T, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("request-id", id.parse().expect("ASCII"));
    request
}

/// The line of a call. A later call shows that there is no second line.
async fn line_of(server: &TestServer, id: &str) -> Value {
    let is_line = |line: &str, id: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["message"] == "call" && line["request_id"] == id
    };
    let line = server.logs().wait_for(|line| is_line(line, id)).await;
    let after = format!("after-{id}");
    let request = with_id(GetBookRequest::default(), &after);
    client::books(server).get_book(request).await.expect_err("an empty id");
    server.logs().wait_for(|line| is_line(line, &after)).await;
    let lines = server.logs().so_far();
    assert_eq!(lines.iter().filter(|line| is_line(line, id)).count(), 1, "{lines:#?}");
    serde_json::from_str(&line).expect("JSON")
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> &'a str {
    let value = metadata.get(key).unwrap_or_else(|| panic!("no {key} in {metadata:?}"));
    value.to_str().expect("ASCII")
}

async fn line_of_a_write_has_the_ids_that_it_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let [one, two, three] = [1, 2, 3].map(client::id);
    let book = |number| json!({"id": client::id(number), "book": client::a_book("x")});
    let several: Vec<Value> = (2..=8).map(book).collect();
    let three_of_seven = format!("{two}, {three}, {} and 4 more", client::id(4));
    let any = |name: &str, request: Value| {
        let kind = format!("type.googleapis.com/bookstore.v1.{name}Request");
        with(json!({"@type": kind}), request)
    };
    for (number, (method, request, metadata, ids)) in [
        ("BookService/CreateBook", book(1), None, json!(one)),
        ("BookService/CreateBook", book(1), None, Value::Null),
        ("BookService/CreateBook", book(99), Some(("validate-only", "true")), Value::Null),
        ("BookService/BatchCreateBooks", json!({"requests": several}), None, json!(three_of_seven)),
        ("BookService/GetBook", json!({"id": one}), None, Value::Null),
        (
            "BookService/UpdateBook",
            json!({"book": {"id": one, "stock": 7}}),
            Some(("field-mask", "stock")),
            json!(one),
        ),
        (
            "TransactionService/Execute",
            json!({"requests": [any("CreateBook", book(9))]}),
            None,
            json!(client::id(9)),
        ),
        (
            "TransactionService/Execute",
            json!({"requests": [
                any("DeleteBook", json!({"id": client::id(9)})),
                any("CreateBook", book(10)),
                any("BatchDeleteBooks", json!({"requests": [{"id": client::id(7)}, {"id": client::id(8)}]})),
            ]}),
            None,
            json!(format!("{}, {}, {} and 1 more", client::id(9), client::id(10), client::id(7))),
        ),
        ("BookService/DeleteBook", json!({"id": two}), None, json!(two)),
        (
            "BookService/BatchDeleteBooks",
            json!({"requests": [{"id": one}, {"id": three}]}),
            None,
            json!(format!("{one}, {three}")),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("write-{number}");
        let metadata: Vec<_> =
            [Some(("request-id", &*id)), metadata].into_iter().flatten().collect();
        let answer = call_with(&server, method, request, &metadata).await;
        let line = line_of(&server, &id).await;
        assert_eq!(line.get("ids").unwrap_or(&Value::Null), &ids, "{method}: {line} {answer:?}");
    }
}

/// The ids of steps that failed, that a savepoint undid, and that only read are not among them.
async fn line_of_a_transaction_has_the_ids_that_it_committed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let book = |number| json!({"id": client::id(number), "book": client::a_book("x")});
    let savepoint = || Savepoint { name: "s".to_owned() };
    for (id, commits) in [("committed", true), ("rolled-back", false)] {
        let mut led = Led::open_with(server.address(), &[("request-id", id)]).await;
        led.step(Step::Begin(Begin::default())).await.expect("a transaction");
        led.call(CREATE, book(1)).await.expect("a book");
        led.call(CREATE, book(1)).await.expect_err("a taken id");
        led.step(Step::Savepoint(savepoint())).await.expect("a savepoint");
        led.call(CREATE, book(2)).await.expect("a book");
        led.step(Step::RollbackTo(savepoint())).await.expect("the savepoint");
        led.call(CREATE, book(3)).await.expect("a book");
        led.call("BookService/GetBook", json!({"id": client::id(3)})).await.expect("a book");
        led.call("BookService/DeleteBook", json!({"id": client::id(3)})).await.expect("a deletion");
        let ids = match commits {
            true => {
                led.commit().await.expect("a commit");
                json!(format!("{}, {}, {}", client::id(1), client::id(3), client::id(3)))
            }
            false => {
                led.step(Step::Rollback(Rollback {})).await.expect("a rollback");
                Value::Null
            }
        };
        drop(led);
        let line = line_of(&server, id).await;
        assert_eq!(line.get("ids").unwrap_or(&Value::Null), &ids, "{line}");
        if commits {
            let delete = json!({"id": client::id(1)});
            call_with(&server, "BookService/DeleteBook", delete, &[]).await.expect("a deletion");
        }
    }
}

async fn line_of_a_repeated_write_names_it_so(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = client::id(77);
    let create = json!({"id": client::id(1), "book": client::a_book("x")});
    for (id, replayed) in [("once", Value::Null), ("again", json!(true))] {
        let metadata = [("request-id", id), ("idempotency-key", &*key)];
        call_with(&server, CREATE, create.clone(), &metadata).await.expect("a book");
        let line = line_of(&server, id).await;
        assert_eq!(line.get("replayed").unwrap_or(&Value::Null), &replayed, "{line}");
        assert_eq!(line["ids"], json!(client::id(1)), "{line}");
    }
}

async fn call_is_logged_as_one_line(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = client::books(&server);
    let create = || client::create(&client::id(1), client::a_book("Dune"));
    let created = books.create_book(with_id(create(), "first")).await.expect("a book");
    assert_eq!(text(created.metadata(), "request-id"), "first");
    let taken = books.create_book(with_id(create(), "second")).await.expect_err("a taken id");
    assert_eq!(text(taken.metadata(), "request-id"), "second");
    for (id, code) in [("first", "OK"), ("second", "ALREADY_EXISTS")] {
        let line = line_of(&server, id).await;
        assert_eq!(line["method"], "/bookstore.v1.BookService/CreateBook");
        assert_eq!(line["code"], code);
        assert_eq!(line["level"], "INFO");
        // For operators: callers learn `primary` or `replica`.
        assert!(line["node"].as_str().is_some_and(|node| node != "primary"), "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|took| took > 0.0), "{line}");
        let timestamp = line["timestamp"].as_str().unwrap_or_default();
        assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'), "{line}");
    }

    // A call without an id gets one, by which the log has its line.
    let made = books.list_books(ListBooksRequest::default()).await.expect("a list");
    let made = text(made.metadata(), "request-id").to_owned();
    assert_eq!(line_of(&server, &made).await["code"], "OK");

    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (at, (traceparent, known)) in [
        (format!("00-{trace}-b7ad6b7169203331-01"), true),
        ("00-nonsense".to_owned(), false),
        (format!("00-{trace}-0000000000000000-01"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("traced-{at}");
        let mut request = with_id(ListBooksRequest::default(), &id);
        request.metadata_mut().insert("traceparent", traceparent.parse().expect("ASCII"));
        books.list_books(request).await.expect("any traceparent");
        let line = line_of(&server, &id).await;
        assert_eq!(line["trace_id"].as_str() == Some(trace), known, "{traceparent}: {line}");
    }
}

/// Puts the secret wherever a caller can: into writes, filters and invalid requests.
async fn send_secrets(server: &TestServer) {
    let mut books = client::books(server);
    let book = client::create(&client::id(1), client::a_book(SECRET));
    books.create_book(book.clone()).await.expect("a book");
    let mut again = book;
    again.book.get_or_insert_default().author = SECRET.to_owned();
    books.create_book(again).await.expect_err("a taken id");
    let filter = format!("title = \"{SECRET}\" OR attributes.x = \"{SECRET}\"");
    let list = ListBooksRequest { filter, ..Default::default() };
    let found = books.list_books(list).await.expect("a list").into_inner();
    assert_eq!(found.books.len(), 1);
    let mut categories = client::categories(server);
    let category = || -> CreateCategoryRequest {
        client::message(serde_json::json!({"category": {"name": SECRET}}))
    };
    categories.create_category(category()).await.expect("a category");
    let taken = categories.create_category(category()).await.expect_err("a taken name");
    assert_eq!(taken.code(), Code::AlreadyExists);
    line_of(server, "the-last").await;
}

/// The logged statements of calls; those that read the schema's state belong to no call.
fn statements(server: &TestServer) -> Vec<Value> {
    let logged = server.logs().json().into_iter().filter(|line| line["target"] == SQL);
    logged.filter(|line| line["request_id"].is_string()).collect()
}

fn assert_nothing_secret(server: &TestServer) {
    let lines = server.logs().so_far();
    let telling: Vec<_> = lines.iter().filter(|line| line.contains(SECRET)).collect();
    assert!(telling.is_empty(), "{telling:#?}");
}

/// The log is written in batches by a thread, which waits for none while the service is idle.
#[tokio::test]
async fn line_appears_soon_also_when_idle() {
    let server = TestServer::start(Engine::Sqlite).await;
    for number in 0..5 {
        let id = format!("soon-{number}");
        let watch = bookstore_tests::Stopwatch::start();
        let get = with_id(GetBookRequest::default(), &id);
        client::books(&server).get_book(get).await.expect_err("an empty id");
        server.logs().wait_for(|line| line.contains(&id)).await;
        let took = watch.stop();
        assert!(took.at_most(std::time::Duration::from_millis(200)), "{took:?}");
    }
}

async fn statement_echo_contains_no_values(engine: Engine) {
    let server = TestServer::builder(engine)
        .env("DATABASE_ECHO", "true")
        .env("DATABASE_SLOW_QUERY", "0s")
        .env("LOG_LEVEL", "debug")
        .start()
        .await;
    let request = with_id(ListBooksRequest::default(), "the-last");
    send_secrets_then(&server, request).await;
    let logged = statements(&server);
    for (part, wanted) in [
        (r#"INSERT INTO "books""#, "INFO"),
        (r#"FROM "books" WHERE"#, "INFO"),
        (r#"INSERT INTO "categories""#, "INFO"),
    ] {
        let found =
            logged.iter().find(|line| line["sql"].as_str().is_some_and(|sql| sql.contains(part)));
        let found = found.unwrap_or_else(|| panic!("{part} isn't logged: {logged:#?}"));
        assert_eq!(found["level"], wanted, "{found}");
        assert!(found["elapsed_ms"].is_number(), "{found}");
    }
    assert_nothing_secret(&server);

    // Without the setting no statement is logged.
    let quiet = TestServer::builder(engine).env("DATABASE_SLOW_QUERY", "0s").start().await;
    let request = with_id(ListBooksRequest::default(), "the-last");
    send_secrets_then(&quiet, request).await;
    assert_eq!(statements(&quiet), Vec::<Value>::new());
    assert_nothing_secret(&quiet);
}

async fn send_secrets_then(server: &TestServer, last: Request<ListBooksRequest>) {
    client::books(server).list_books(last).await.expect("a list");
    send_secrets(server).await;
}

async fn slow_statement_is_logged_without_values(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_SLOW_QUERY", "0.001ms").start().await;
    let request = with_id(ListBooksRequest::default(), "the-last");
    send_secrets_then(&server, request).await;
    let logged = statements(&server);
    let insert = logged.iter().find(|line| {
        line["sql"].as_str().is_some_and(|sql| sql.contains(r#"INSERT INTO "books""#))
    });
    let insert = insert.unwrap_or_else(|| panic!("no slow insert: {logged:#?}"));
    assert_eq!((&insert["level"], &insert["message"]), (&"WARN".into(), &"slow statement".into()));
    assert!(insert["elapsed_ms"].as_f64().is_some_and(|took| took > 0.0), "{insert}");
    assert_eq!(insert["operation"], "CreateBooks");
    assert_nothing_secret(&server);
}

async fn answer_metadata_names_node_attempts_and_timing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = client::books(&server);
    let book = client::create(&client::id(1), client::a_book("Dune"));
    let write = books.create_book(book).await.expect("a book");
    let read = books
        .get_book(GetBookRequest { id: client::id(1), ..Default::default() })
        .await
        .expect("a book");
    assert_eq!(text(write.metadata(), "attempts"), "1");
    assert!(!read.metadata().contains_key("attempts"));
    for metadata in [write.metadata(), read.metadata()] {
        assert_eq!(text(metadata, "served-by"), "primary");
        let timing = text(metadata, "server-timing");
        assert!(timing.contains("db;dur=") && timing.contains("total;dur="), "{timing}");
        assert!(!metadata.contains_key("idempotent-replay"));
    }
    let refused = books.get_book(GetBookRequest::default()).await.expect_err("an empty id");
    assert!(text(refused.metadata(), "server-timing").starts_with("total;dur="));
    assert!(!refused.metadata().contains_key("served-by"), "no node was asked");
    let duplicate = client::create(&client::id(1), client::a_book("Dune"));
    let duplicate = books.create_book(duplicate).await.expect_err("an id that is taken");
    assert_eq!(text(duplicate.metadata(), "attempts"), "1");
    assert_eq!(text(duplicate.metadata(), "served-by"), "primary");
}

/// The log has a thread of its own. Its last line is written before the process ends.
#[tokio::test]
async fn panic_that_ends_the_process_has_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let revisions = folder.path().join("revisions.json");
    let file = serde_json::json!({"revisions": [{
        "name": "m99990101_000000_panic", "up": [{"code": "panic"}], "down": [{"sql": "SELECT 1"}],
    }]});
    std::fs::write(&revisions, file.to_string()).expect("a file");
    for round in 0..5 {
        let url = format!("sqlite://{}/{round}.db?mode=rwc", folder.path().display());
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("LOG_FORMAT", "json"),
            (REVISIONS, revisions.to_str().expect("a path")),
        ];
        let ended = run(&["migrate", "up"], &settings).await;
        assert_eq!(ended.code, Some(101), "{ended:?}");
        let lines =
            ended.errors.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["target"] == "bookstore::panic");
        let line = line.unwrap_or_else(|| panic!("no line in {ended:?}"));
        assert_eq!(
            (&line["message"], &line["level"]),
            (&"a revision's panic".into(), &"ERROR".into())
        );
        assert_eq!(line["thread"], "main");
    }
}
