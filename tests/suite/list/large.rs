//! Pages over large rows: the service reads what fits into a page, and no more.

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Database, Engine, TestServer, on_every_engine};
use prost_reflect::prost::Message;

use crate::client::{books, done};

on_every_engine!(list_page_of_large_rows_reads_no_more_than_it_returns);

/// The number of books, and the size of each one's attributes, except for a few bytes.
const BOOKS: usize = 600;
const LARGE: usize = 60 * 1_024;

/// The most bytes of a page.
const PAGE: usize = 3 * 1_024 * 1_024;

/// The allowed growth of memory for three pages: rows, books, answers and the connections' buffers
/// take 15 to 20 MB. All rows alone are 37 MB.
const MEMORY: u64 = 40_000_000;

/// The backends of PostgreSQL that serve the program.
async fn sessions(database: &Database) -> Vec<String> {
    if let Database::Sqlite(_) = database {
        return Vec::new();
    }
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'bookstore' ORDER BY pid";
    database.sql(sql).await.into_iter().flatten().flatten().collect()
}

/// Inserts the books by SQL, so that the service has never held them.
async fn populate(database: &Database) {
    let (id, text, numbers) = match database {
        Database::Sqlite(_) => (
            "randomblob(16)",
            format!("replace(hex(zeroblob({LARGE} / 2)), '0', 'x')"),
            format!(
                "(WITH RECURSIVE n(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM n \
                 WHERE at < {BOOKS} - 1) SELECT at FROM n)"
            ),
        ),
        Database::Postgres(_) => (
            "gen_random_uuid()",
            format!("repeat('x', {LARGE})"),
            format!("(SELECT generate_series(0, {BOOKS} - 1) AS at)"),
        ),
    };
    let attributes = match database {
        Database::Sqlite(_) => format!("json_object('a', {text})"),
        Database::Postgres(_) => format!("jsonb_build_object('a', {text})"),
    };
    let sql = format!(
        "INSERT INTO books (id, title, author, price_micros, currency_code, attributes) \
         SELECT {id}, CAST(1000 + at AS text), 'x', 1, 'USD', {attributes} FROM {numbers} AS n"
    );
    database.sql(&sql).await;
}

async fn list_page_of_large_rows_reads_no_more_than_it_returns(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_POOL_SIZE", "1");
    let server = server.env("DATABASE_MAX_OVERFLOW", "0").start().await;
    let (database, mut books) = (server.database(), books(&server));
    populate(&database).await;
    let mut request =
        ListBooksRequest { page_size: 1, order_by: "title".into(), ..Default::default() };
    assert_eq!(done(books.list_books(request.clone()).await).books.len(), 1);
    let (before, there) = (server.peak_memory(), sessions(&database).await);

    request.page_size = 1_000;
    let mut titles = Vec::new();
    for _ in 0..3 {
        let page = done(books.list_books(request.clone()).await);
        assert!(page.encoded_len() <= PAGE, "{} bytes", page.encoded_len());
        // One more would exceed the page.
        assert!(page.encoded_len() > PAGE - 2 * LARGE, "only {} bytes", page.encoded_len());
        assert!(!page.next_page_token.is_empty());
        titles.extend(page.books.into_iter().map(|book| book.title));
        request.page_token = page.next_page_token;
    }
    let wanted: Vec<String> = (0..titles.len()).map(|at| (1_000 + at).to_string()).collect();
    assert_eq!(titles, wanted);
    // The unread rows were discarded, and the connection was kept.
    assert_eq!(sessions(&database).await, there);
    if let (Some(before), Some(after)) = (before, server.peak_memory()) {
        let more = after.saturating_sub(before);
        assert!(more < MEMORY, "{more} bytes more than {before}");
    }
}
