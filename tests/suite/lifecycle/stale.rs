//! A schema change under prepared statements: callers see no error.

use bookstore_proto::v1::{GetBookRequest, ListBooksRequest};
use bookstore_tests::{Database, Engine, TestServer, until};
use futures_util::future::{join, join_all};

use super::{Held, SOON, restock, sessions, with_a_book};
use crate::client;

/// The number of connections that read, and of those that write.
const EACH: usize = 3;

/// Reads or writes the book on every connection of the pool.
async fn by_every_connection(server: &TestServer, database: &Database, id: &str) {
    let held = Held::table(database).await;
    let (server_of, id_of) = (client::books(server), id.to_owned());
    let calls = tokio::spawn(async move {
        let (books, id) = (&server_of, &id_of);
        let reads = join_all((0..EACH).map(|_| async move {
            books.clone().get_book(GetBookRequest { id: id.clone(), ..Default::default() }).await
        }));
        let writes = join_all(
            (0..EACH).map(|_| async move { books.clone().update_book(restock(id, 1)).await }),
        );
        join(reads, writes).await
    });
    let all = (2 * EACH).to_string();
    until("every connection waits", SOON, async || {
        sessions(database, "wait_event_type = 'Lock'").await == all
    })
    .await;
    held.release().await;
    let (reads, writes) = calls.await.expect("no panic");
    reads.into_iter().chain(writes).for_each(|answer| drop(client::done(answer)));
}

#[tokio::test]
async fn stale_statement_after_a_column_change_is_retried() {
    let server = TestServer::builder(Engine::Postgres).env("DATABASE_POOL_SIZE", "6");
    let server = server.env("DATABASE_MAX_OVERFLOW", "0").start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let mut books = client::books(&server);
    let attempts = async |stock| {
        let answer = client::books(&server).update_book(restock(&id, stock)).await;
        let answer = answer.expect("a write");
        assert_eq!(answer.get_ref().stock, stock);
        answer.metadata().get("attempts").cloned().expect("the number of attempts")
    };
    by_every_connection(&server, &database, &id).await;
    client::done(books.list_books(ListBooksRequest::default()).await);
    assert_eq!(attempts(2).await, "1");
    for collation in ["\"C\"", "\"default\""] {
        let change =
            format!("ALTER TABLE books ALTER cover_image TYPE varchar(500) COLLATE {collation}");
        database.sql(&change).await;
        assert_eq!(attempts(3).await, "2", "the prepared statement is of the old schema");
        let listed = client::done(books.list_books(ListBooksRequest::default()).await);
        assert_eq!(listed.books.len(), 1);
        by_every_connection(&server, &database, &id).await;
        assert_eq!(attempts(4).await, "1", "every connection knows the new schema");
    }
}
