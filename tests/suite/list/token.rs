//! Page tokens: they survive a restart of the service, and are valid only for their list.

use std::sync::Arc;

use bookstore_proto::v1::{ListCategoriesRequest, ListCategoriesResponse};
use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine};
use serde_json::{Value, json};

use super::{list, titles};
use crate::client::{Books, a_book, books, categories, create_all, done, message, refused, with};

on_every_engine!(page_token_of_another_list_is_refused, page_token_works_after_a_restart);

async fn token(books: &mut Books, request: Value) -> String {
    let page = list(books, request).await.expect("a page");
    assert!(!page.next_page_token.is_empty(), "another page of the list");
    page.next_page_token
}

async fn page_token_of_another_list_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    create_all(&mut books, &["a", "b", "c", "d"].map(a_book)).await;
    let request = json!({"filter": "stock = 0", "order_by": "title", "page_size": 2});
    let good = token(&mut books, request.clone()).await;
    let with_token = with(request.clone(), json!({"page_token": good}));
    let page = list(&mut books, with_token.clone()).await.expect("the next page");
    assert_eq!(titles(&page.books), ["c", "d"]);

    for other in [
        json!({"filter": "stock = 1"}),
        json!({"filter": null}),
        json!({"order_by": "title desc"}),
        json!({"order_by": "title, stock"}),
        json!({"order_by": "author"}),
        json!({"order_by": null}),
    ] {
        let other = with(with_token.clone(), other);
        list(&mut books, other).await.expect_err("another list").is_invalid(&["page_token"]);
    }
    // The same list in another spelling.
    for same in [json!({"order_by": " title   asc "}), json!({"filter": "stock=0"})] {
        let same = with(with_token.clone(), same);
        let page = list(&mut books, same).await.expect("the same list");
        assert_eq!(titles(&page.books), ["c", "d"]);
    }

    // Lists of other resources, even with the same filter and order.
    let of_books = token(&mut books, json!({"order_by": "create_time", "page_size": 1})).await;
    let request = json!({"order_by": "create_time", "page_size": 1});
    let request: ListCategoriesRequest = message(request);
    let page: ListCategoriesResponse = done(categories.list_categories(request.clone()).await);
    let of_categories = page.next_page_token;
    let foreign = ListCategoriesRequest { page_token: of_books, ..request };
    refused(categories.list_categories(foreign).await).is_invalid(&["page_token"]);
    let foreign = json!({"order_by": "create_time", "page_token": of_categories});
    list(&mut books, foreign).await.expect_err("another list's token").is_invalid(&["page_token"]);

    for at in (0..good.len()).step_by(3).chain([good.len() - 1]) {
        let mut altered = good.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        for altered in [altered.as_str(), &good[..at]] {
            // An empty token asks for the first page.
            if !altered.is_empty() {
                let altered = with(with_token.clone(), json!({"page_token": altered}));
                list(&mut books, altered)
                    .await
                    .expect_err("an altered token")
                    .is_invalid(&["page_token"]);
            }
        }
    }
    for strange in
        [format!("{good}A"), format!("{good}="), " ".into(), "é".into(), "A".repeat(16_384)]
    {
        let strange = with(with_token.clone(), json!({"page_token": strange}));
        list(&mut books, strange).await.expect_err("no token").is_invalid(&["page_token"]);
    }
}

async fn page_token_works_after_a_restart(engine: Engine) {
    let mut first = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").start().await;
    let mut of_first = books(&first);
    create_all(&mut of_first, &["a", "b", "c", "d", "e"].map(a_book)).await;
    let request = json!({"order_by": "title", "page_size": 2});
    let given = token(&mut of_first, request.clone()).await;
    let with_token = with(request, json!({"page_token": given}));

    // Another service on the same database.
    let second = TestServer::builder(engine).on(first.database()).start().await;
    let mut of_second = books(&second);
    let page = list(&mut of_second, with_token.clone()).await.expect("its next page");
    assert_eq!(titles(&page.books), ["c", "d"]);
    let back = with(with_token.clone(), json!({"page_token": page.next_page_token}));
    let page = list(&mut of_first, back).await.expect("the last page");
    assert_eq!(titles(&page.books), ["e"]);

    // The same one after a restart.
    assert!(first.terminate().await.status.success());
    let again = TestServer::builder(engine).on(first.database()).start().await;
    let page = list(&mut books(&again), with_token.clone()).await.expect("its next page");
    assert_eq!(titles(&page.books), ["c", "d"]);

    // A service on another database has another key. On PostgreSQL tests copy the template's key.
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    if engine == Engine::Postgres {
        database.sql("UPDATE sealing_keys SET key = sha256(key)").await;
    }
    let separate = TestServer::builder(engine).on(database).start().await;
    let refusal = list(&mut books(&separate), with_token).await;
    refusal.expect_err("another list's token").is_invalid(&["page_token"]);
}
