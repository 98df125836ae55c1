//! Estimated totals: near the real number, without reading the rows.

use std::sync::Arc;

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Database, Engine, SOON, TestServer, on_every_engine, until};
use serde_json::json;

use crate::client::{books, done, message};

on_every_engine!(estimated_total_is_near_and_reads_no_row);

/// The number of books; the filter matches a fifth of them.
const BOOKS: i64 = 5_000;
const FILTER: &str = "stock < 2 AND author = \"x\"";

async fn populate(database: &Database) {
    let (id, numbers) = match database {
        Database::Sqlite(_) => (
            "randomblob(16)",
            format!(
                "(WITH RECURSIVE n(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM n \
                 WHERE at < {BOOKS} - 1) SELECT at FROM n)"
            ),
        ),
        Database::Postgres(_) => {
            ("gen_random_uuid()", format!("(SELECT generate_series(0, {BOOKS} - 1) AS at)"))
        }
    };
    let sql = format!(
        "INSERT INTO books (id, title, author, price_micros, currency_code, stock) \
         SELECT {id}, CAST(1000 + at AS text), 'x', 1, 'USD', at % 10 FROM {numbers} AS n"
    );
    database.sql(&sql).await;
    database.sql("ANALYZE books").await;
}

/// The number of rows and index entries of books that ended sessions have read.
async fn read_so_far(database: &Database) -> i64 {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name = 'bookstore'";
    let ended = async || database.value(sessions).await == "0";
    until("the service's sessions end", SOON, ended).await;
    let sql = "SELECT seq_tup_read + idx_tup_fetch + (SELECT sum(idx_tup_read) \
               FROM pg_stat_user_indexes WHERE relname = 'books') \
               FROM pg_stat_user_tables WHERE relname = 'books'";
    database.value(sql).await.parse().expect("a number")
}

/// The total in the answer of a list.
async fn total(server: &TestServer, mode: &str) -> i64 {
    let request = json!({"filter": FILTER, "order_by": "title", "page_size": 1,
        "total_size_mode": mode});
    let page = done(books(server).list_books(message::<ListBooksRequest>(request)).await);
    assert!(!page.next_page_token.is_empty());
    page.total_size.expect("a total")
}

async fn estimated_total_is_near_and_reads_no_row(engine: Engine) {
    let start = |database| TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").on(database);
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").start().await;
    let database = server.database();
    populate(&database).await;
    let estimated = total(&server, "TOTAL_SIZE_MODE_ESTIMATED").await;
    if engine == Engine::Sqlite {
        assert_eq!(estimated, BOOKS / 5);
        return;
    }
    assert!((BOOKS / 6..BOOKS / 4).contains(&estimated), "{estimated} of {}", BOOKS / 5);

    // PostgreSQL counts a session's reads at its end.
    assert!(server.terminate().await.status.success());
    let before = read_so_far(&database).await;
    let mut server = start(Arc::clone(&database)).start().await;
    total(&server, "TOTAL_SIZE_MODE_ESTIMATED").await;
    assert!(server.terminate().await.status.success());
    let estimated = read_so_far(&database).await;
    // The page reads two rows, and skips some that the filter excludes.
    assert!(estimated - before < 50, "{} rows were read", estimated - before);

    // An exact count shows in the same counters.
    let mut server = start(Arc::clone(&database)).start().await;
    assert_eq!(total(&server, "TOTAL_SIZE_MODE_EXACT").await, BOOKS / 5);
    assert!(server.terminate().await.status.success());
    let exact = read_so_far(&database).await;
    assert!(exact - estimated >= BOOKS / 5, "{} rows were read", exact - estimated);
}
