//! Over very many books, every order that a list may have walks an index: on the first
//! page and behind ten thousand rows, with nothing sorted and no row read in vain.

use std::sync::Arc;

use bookstore_proto::v1::{
    GetBookRequest, ListBooksRequest, book_service_client::BookServiceClient,
};
use serde_json::Value;
use tonic::{Code, transport::Channel};

use super::plan_log::{PlanLog, Ran};
use crate::{Database, Engine, Origin, Postgres, PostgresDatabase, TestServer};

/// The orders, with a filter on the category where the flag is set.
const LISTS: &[(&str, bool)] = &[
    ("title", false),
    ("title desc", false),
    ("author", false),
    ("author desc", false),
    ("price", false),
    ("price desc", false),
    ("stock", false),
    ("stock desc", false),
    ("create_time", false),
    ("create_time desc", false),
    ("price desc, stock", false),
    ("create_time", true),
    ("create_time desc", true),
];

/// Sortable fields and their columns.
const COLUMNS: &[(&str, &str)] = &[
    ("title", "title"),
    ("author", "author"),
    ("price", "price_micros"),
    ("stock", "stock"),
    ("create_time", "created_at"),
];

const CATEGORY: &str = "01930000-0000-7000-8000-000000000003";

/// What no plan may do.
const REFUSED: &[&str] =
    &["Sort", "Incremental Sort", "Seq Scan", "Bitmap Heap Scan", "Bitmap Index Scan"];

/// Rows of a page while walking, and pages.
const PAGE: i32 = 1_000;
const PAGES: usize = 10;

/// Lists `books` generated books in every order.
pub(super) async fn plans(books: u32) {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Migrated).await);
    let Database::Postgres(postgres) = &*database else { return };
    generate(&database, postgres, books).await;
    let shared = "SELECT max(n) FROM (SELECT count(*) AS n FROM books GROUP BY price_micros) t";
    let shared: u64 = database.value(shared).await.parse().expect("a count");
    let mut log = PlanLog::from_now(Postgres::shared().await.log(), postgres.name());
    // With one connection the log has the statements in the order of the calls.
    let server = TestServer::builder(Engine::Postgres)
        .on(Arc::clone(&database))
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .start()
        .await;
    let mut client = BookServiceClient::new(server.channel());
    let mut faults = Vec::new();
    for (order, filtered) in LISTS {
        let filter =
            if *filtered { format!("category_id = \"{CATEGORY}\"") } else { String::new() };
        let order_by = (*order).to_owned();
        let mut request =
            ListBooksRequest { page_size: PAGE, filter, order_by, ..Default::default() };
        for page in 0..=PAGES {
            let answer = client.list_books(request.clone()).await.expect("a page").into_inner();
            let ran = log.up_to(lists_books).await;
            let ran = ran.iter().rfind(|ran| lists_books(&ran.sql)).expect("what was waited for");
            if page == 0 || page == PAGES {
                let behind = (page > 0).then_some(if order.contains(',') { shared } else { 0 });
                let name = format!("{order}{}", if *filtered { " of a category" } else { "" });
                faults.extend(judge(&name, ran, behind));
            }
            assert!(!answer.next_page_token.is_empty(), "more than {page} pages of {order}");
            request.page_token = answer.next_page_token;
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let (small, large) =
        (statements(&mut client, &mut log, 1).await, statements(&mut client, &mut log, PAGE).await);
    assert_eq!(small, large, "statements of a page of 1 and of {PAGE}");
}

/// Fills the database, and has every plan of the service logged: the one that is made once
/// for all values, since that is what a busy session ends up with.
async fn generate(database: &Database, postgres: &PostgresDatabase, books: u32) {
    let sql = format!(
        "SELECT setseed(0.5);
         INSERT INTO books (id, title, author, price_micros, currency_code, stock, category_id,
                            created_at, updated_at)
         SELECT gen_random_uuid(), 'Title ' || md5(n::text), 'Author ' || n % 5000,
                floor(random() * 10000)::bigint * 10000, 'USD', floor(random() * 1000)::int,
                CASE WHEN n % 4 > 0 THEN '{CATEGORY}'::uuid END,
                now() - n * interval '1 second', now()
         FROM generate_series(1, {books}) AS n;
         ANALYZE books"
    );
    database.sql(&sql).await;
    let name = postgres.name();
    for (setting, value) in [
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_format", "json"),
        ("plan_cache_mode", "force_generic_plan"),
    ] {
        database.sql(&format!("ALTER DATABASE {name} SET {setting} = '{value}'")).await;
    }
}

fn lists_books(sql: &str) -> bool {
    sql.contains(r#"FROM "books""#) && sql.contains("ORDER BY")
}

/// What is wrong with a plan. `behind` is set behind a page token: the most rows that may
/// be read and thrown away.
fn judge(list: &str, ran: &Ran, behind: Option<u64>) -> Vec<String> {
    let page = if behind.is_some() { "behind a token" } else { "first page" };
    let mut nodes = Vec::new();
    collect(&ran.plan, &mut nodes);
    let mut faults = Vec::new();
    let kind = |node: &&Value| node["Node Type"].as_str().unwrap_or_default().to_owned();
    for node in &nodes {
        if REFUSED.contains(&kind(node).as_str()) {
            faults.push(format!("it has a {}", kind(node)));
        }
    }
    let scan = nodes.iter().find(|node| kind(node).starts_with("Index"));
    let (index, bounds) = scan.map_or(("", ""), |scan| {
        let text = |key: &str| scan[key].as_str().unwrap_or_default();
        (text("Index Name"), text("Index Cond"))
    });
    let in_vain = scan.and_then(|scan| scan["Rows Removed by Filter"].as_u64()).unwrap_or(0);
    if scan.is_none() {
        faults.push("it has no index scan".to_owned());
    }
    if let Some(allowed) = behind {
        let field = list.split([' ', ',']).next().unwrap_or_default();
        let column = COLUMNS.iter().find(|(name, _)| *name == field).map_or("", |(_, name)| name);
        if !bounds.contains(column) || !bounds.contains(['<', '>']) {
            faults.push(format!("the index isn't bounded by {column}: {bounds:?}"));
        }
        if in_vain > allowed {
            faults.push(format!("{in_vain} rows are read in vain, where {allowed} may be"));
        }
    }
    if list.ends_with("category") && !bounds.contains("category_id") {
        faults.push(format!("the index isn't bounded by category_id: {bounds:?}"));
    }
    eprintln!(
        "{list:<32} {page:<14} {index:<38} {:>8.3} ms, {in_vain} rows in vain, {bounds}",
        ran.milliseconds
    );
    let told = |fault| format!("{list}, {page}: {fault}\n  {}\n  {}", ran.sql, ran.plan);
    faults.into_iter().map(told).collect()
}

fn collect<'a>(node: &'a Value, into: &mut Vec<&'a Value>) {
    into.push(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, into);
    }
}

/// How many statements a page runs, all between two that are known.
async fn statements(
    client: &mut BookServiceClient<Channel>,
    log: &mut PlanLog,
    page_size: i32,
) -> usize {
    let request = ListBooksRequest { page_size, ..Default::default() };
    let answer = client.list_books(request).await.expect("a page").into_inner();
    assert_eq!(answer.books.len(), usize::try_from(page_size).unwrap_or_default());
    // Whatever the page ran stands in the log before the plan of this call.
    let unknown =
        GetBookRequest { id: "00000000-0000-7000-8000-000000000000".into(), ..Default::default() };
    let refused = client.get_book(unknown).await.expect_err("no such book");
    assert_eq!(refused.code(), Code::NotFound);
    let ran = log.up_to(|sql| sql.contains(r#"FROM "books""#) && !lists_books(sql)).await;
    // The question for the schema comes each second, whoever calls.
    let schema = ["seaql_migrations", "sealing_keys", "pg_is_in_recovery"];
    let asked = |ran: &&Ran| !schema.iter().any(|part| ran.sql.contains(part));
    ran.iter().filter(asked).count() - 1
}
