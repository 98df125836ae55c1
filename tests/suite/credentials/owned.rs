//! What belongs to a caller: page tokens, idempotency keys and their outcomes. A caller that has
//! those of another one gets nothing by them.

use bookstore_proto::v1::{
    ExportBooksRequest, book_transfer_service_client::BookTransferServiceClient,
};
use bookstore_tests::{AccessFiles, Engine, TestServer, methods, on_every_engine};
use prost_reflect::MethodDescriptor;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use super::{bearer, for_members, populated};
use crate::{
    bad_input::{KINDS, descriptor},
    client::{FICTION, Refusal, a_book, books, create_all, id, literal},
    standard::call_with,
};

on_every_engine!(
    page_tokens_of_every_list_are_their_callers_own,
    page_tokens_of_exports_are_their_callers_own,
    idempotency_keys_of_every_resource_are_their_callers_own,
    outcomes_of_every_write_are_their_callers_own
);

/// A service with rows, and the headers of two callers.
async fn two_callers(engine: Engine) -> (AccessFiles, TestServer, String, String) {
    let files = AccessFiles::new(&for_members(""));
    let (ada, ben) = (files.token("ada"), files.token("ben"));
    let server = populated(engine, &files).await;
    (files, server, bearer(&ada), bearer(&ben))
}

/// Whether a method answers pages.
fn is_list(method: &MethodDescriptor) -> bool {
    let is_unary = !method.is_server_streaming();
    is_unary && method.output().get_field_by_name("next_page_token").is_some()
}

async fn page_tokens_of_every_list_are_their_callers_own(engine: Engine) {
    let (_files, server, ada, ben) = two_callers(engine).await;
    let lists: Vec<String> =
        methods().into_iter().filter(|method| is_list(&descriptor(method))).collect();
    assert!(lists.len() >= 9, "{lists:?}");
    for user in (crate::user::KIND.ids)() {
        let request = json!({"user_id": user, "book_id": id(1), "quantity": 1});
        let caller = [("authorization", ada.as_str())];
        call_with(&server, "CartService/AddItem", request, &caller).await.expect("a cart");
    }
    for method in lists {
        let mut request = json!({"page_size": 1});
        if descriptor(&method).input().get_field_by_name("query").is_some() {
            // The author of all books.
            request["query"] = json!("herbert");
        }
        let of = |request: Value, caller: &String| {
            let (server, method, caller) = (&server, method.clone(), caller.clone());
            async move { call_with(server, &method, request, &[("authorization", &caller)]).await }
        };
        let page = of(request.clone(), &ada).await.unwrap_or_else(|it| panic!("{method}: {it:?}"));
        let token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        assert!(!token.is_empty(), "{method} has a second page");
        request["page_token"] = json!(token);
        of(request.clone(), &ada).await.unwrap_or_else(|it| panic!("{method}: {it:?}"));
        let refusal = of(request, &ben).await.expect_err(&method);
        refusal.is_invalid(&["page_token"]);
    }
}

async fn page_tokens_of_exports_are_their_callers_own(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let (ada, ben) = (bearer(&files.token("ada")), bearer(&files.token("ben")));
    let mut open = TestServer::start(engine).await;
    let all: Vec<Value> = (0..1_000).map(|number| a_book(&format!("Book {number}"))).collect();
    create_all(&mut books(&open), &all).await;
    let database = open.database();
    open.terminate().await;
    let server = files.apply(TestServer::builder(engine)).on(database).start().await;
    let first = |token: &str, caller: &str| {
        let export = ExportBooksRequest { page_token: token.to_owned(), ..Default::default() };
        let mut request = Request::new(export);
        request.metadata_mut().insert("authorization", caller.parse().expect("a header"));
        let mut client = BookTransferServiceClient::new(server.channel());
        async move {
            let mut messages = client.export_books(request).await?.into_inner();
            Ok::<_, Status>(messages.message().await?.expect("a first message"))
        }
    };
    let message = first("", &ada).await.expect("an export");
    let token = message.next_page_token;
    assert!(!token.is_empty(), "a message says where the export could go on");
    first(&token, &ada).await.expect("one's own token");
    let status = first(&token, &ben).await.expect_err("another caller's token");
    Refusal::from(&status).is_invalid(&["page_token"]);
}

async fn idempotency_keys_of_every_resource_are_their_callers_own(engine: Engine) {
    let (_files, server, ada, ben) = two_callers(engine).await;
    for (number, kind) in (1_u32..).zip(KINDS.iter().filter(|kind| kind.has("Update"))) {
        let key = id(900_000 + number);
        let method = kind.method("Update");
        let of = |caller: &String| {
            let (server, method, key) = (&server, method.clone(), key.clone());
            let (request, caller) = (kind.update(json!({})), caller.clone());
            async move {
                let metadata = [("authorization", &*caller), ("idempotency-key", &*key)];
                call_with(server, &method, request, &metadata).await
            }
        };
        let version = |answer: &Value| answer["etag"].as_str().map(str::to_owned);
        let first = of(&ada).await.unwrap_or_else(|it| panic!("{method}: {it:?}"));
        let replayed = of(&ada).await.unwrap_or_else(|it| panic!("{method}: {it:?}"));
        assert_eq!(version(&replayed), version(&first), "{method}: one write");
        // The same request with the same key is another caller's own write.
        let others = of(&ben).await.unwrap_or_else(|it| panic!("{method}: {it:?}"));
        assert_ne!(version(&others), version(&first), "{method}: a second write");
    }
    // Another request with the key of another caller is no reuse of it.
    let key = id(900_100);
    let rename = |name: &str| json!({"category": {"id": FICTION, "name": name}});
    for (caller, name) in [(&ada, "One"), (&ben, "Two")] {
        let metadata = [("authorization", &**caller), ("idempotency-key", &*key)];
        let method = "CategoryService/UpdateCategory";
        call_with(&server, method, rename(name), &metadata).await.expect("one's own key");
    }
    let metadata = [("authorization", &*ada), ("idempotency-key", &*key)];
    let reused =
        call_with(&server, "CategoryService/UpdateCategory", rename("Three"), &metadata).await;
    assert_eq!(reused.expect_err("one's own key").reason, "IDEMPOTENCY_KEY_REUSED");
}

/// For every method that may write, from the contract: a row of its outcome is found by its caller
/// alone.
async fn outcomes_of_every_write_are_their_callers_own(engine: Engine) {
    let (_files, server, ada, ben) = two_callers(engine).await;
    let outcome = |key: String, fence: bool, caller: String| {
        let server = &server;
        async move {
            let request = json!({"idempotency_key": key, "fence": fence});
            let metadata = [("authorization", caller.as_str())];
            let method = "TransactionService/GetOutcome";
            call_with(server, method, request, &metadata).await
        }
    };
    let known = outcome(id(1), false, String::new()).await;
    assert_eq!(known.expect_err("no credentials").code, Code::Unauthenticated);
    for (number, method) in (0_u32..).zip(methods()) {
        let key = id(910_000 + number);
        let stored = literal(engine, &key);
        let (mark, now) = match engine {
            Engine::Postgres => ("'\\x00'", "now()"),
            Engine::Sqlite => ("x'00'", "'2999-01-01 00:00:00+00:00'"),
        };
        let insert = format!(
            "INSERT INTO idempotency_keys (principal, key, method, request_mark, answer, created_at) \
             VALUES ('token:ada', {stored}, '/bookstore.v1.{method}', {mark}, {}, {now})",
            if engine == Engine::Postgres { "'\\x'" } else { "x''" }
        );
        server.sql(&insert).await;
        let own = outcome(key.clone(), false, ada.clone()).await.expect("one's own outcome");
        assert_eq!(own["outcome"], "OUTCOME_COMMITTED", "{method}");
        let others = outcome(key.clone(), false, ben.clone()).await.expect("an answer");
        assert_eq!(others["outcome"], "OUTCOME_NOT_FOUND", "{method}");
        // Nor can another caller fence it.
        let fenced = outcome(key.clone(), true, ben.clone()).await.expect("an answer");
        assert_eq!(fenced["outcome"], "OUTCOME_ABORTED", "{method}");
        let own = outcome(key, false, ada.clone()).await.expect("one's own outcome");
        assert_eq!(own["outcome"], "OUTCOME_COMMITTED", "{method}");
    }
}
