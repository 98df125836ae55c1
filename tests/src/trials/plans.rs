//! Over very many books and orders, every possible order of a list walks an index: on the first
//! page and after ten thousand rows, without a sort and without needless reads.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    GetBookRequest, ListBooksRequest, ListOrdersRequest, book_service_client::BookServiceClient,
    order_service_client::OrderServiceClient,
};
use serde_json::Value;
use tonic::{Code, transport::Channel};

use super::plan_log::{PlanLog, Ran};
use crate::{Database, Engine, Origin, Postgres, PostgresDatabase, TestServer, run};

/// A list under test.
struct List {
    table: &'static str,
    /// The table that a second statement reads, or `None`.
    items: &'static str,
    /// The orders, each with the filtered field, if there is one.
    orders: &'static [(&'static str, &'static str)],
}

const LISTS: &[List] = &[
    List {
        table: "books",
        items: "",
        orders: &[
            ("title", ""),
            ("title desc", ""),
            ("author", ""),
            ("author desc", ""),
            ("price", ""),
            ("price desc", ""),
            ("stock", ""),
            ("stock desc", ""),
            ("create_time", ""),
            ("create_time desc", ""),
            ("price desc, stock", ""),
            ("create_time", "category_id"),
            ("create_time desc", "category_id"),
        ],
    },
    List {
        table: "orders",
        items: "order_items",
        orders: &[
            ("total", ""),
            ("total desc", ""),
            ("create_time", ""),
            ("create_time desc", ""),
            ("create_time desc, total", ""),
        ],
    },
];

/// Sortable fields and their columns.
const COLUMNS: &[(&str, &str)] = &[
    ("title", "title"),
    ("author", "author"),
    ("price", "price_micros"),
    ("stock", "stock"),
    ("total", "total_micros"),
    ("create_time", "created_at"),
];

/// The filter values, and the id of the user who has placed all orders.
const CATEGORY: &str = "01930000-0000-7000-8000-000000000003";

/// The plan nodes that are not allowed.
const REFUSED: &[&str] =
    &["Sort", "Incremental Sort", "Seq Scan", "Bitmap Heap Scan", "Bitmap Index Scan"];

/// Rows of a page while walking, and pages.
const PAGE: i32 = 1_000;
const PAGES: usize = 10;

/// How long a check of the schema may take over a million books.
const CHECK: Duration = Duration::from_secs(2);

/// Checks the schema: it reads the catalogs and no row, so rows make no difference.
async fn check(database: &Database, scale: u32) {
    let began = Instant::now();
    let output = run(&["migrate", "check"], &[("DATABASE_URL", &database.owner_url())]).await;
    let took = began.elapsed();
    assert_eq!(output.code, Some(0), "{output:?}");
    eprintln!("migrate check: {} ms over {scale} books", took.as_millis());
    // Beside other tests the time says nothing.
    assert!(scale < 1_000_000 || took < CHECK, "a check took {took:?}");
}

/// Lists this many generated books, and orders, in every order.
pub(super) async fn plans(scale: u32) {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Migrated).await);
    let Database::Postgres(postgres) = &*database else { return };
    generate(&database, postgres, scale).await;
    check(&database, scale).await;
    let mut log = PlanLog::from_now(Postgres::shared().await.log(), postgres.name());
    // With one connection the log has the statements in the order of the calls.
    let server = TestServer::builder(Engine::Postgres)
        .on(Arc::clone(&database))
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .start()
        .await;
    let mut problems = Vec::new();
    for List { table, items, orders } in LISTS {
        let lists = |sql: &str| lists(sql, table);
        for (order, filtered) in *orders {
            let mixed = order.contains(',');
            let shared = if mixed { shared(&database, table, order).await } else { 0 };
            let filter = match *filtered {
                "" => String::new(),
                field => format!("{field} = \"{CATEGORY}\""),
            };
            let mut token = String::new();
            for page in 0..=PAGES {
                let (filter, order_by) = (filter.clone(), (*order).to_owned());
                token = next(server.channel(), table, filter, order_by, token).await;
                let is_last = |sql: &str| match *items {
                    "" => lists(sql),
                    items => sql.contains(items),
                };
                let ran = log.up_to(is_last).await;
                problems.extend(ran.iter().filter_map(|ran| reads_all(items, ran)));
                let ran = ran.iter().rfind(|ran| lists(&ran.sql)).expect("a page's statement");
                if page == 0 || page == PAGES {
                    let behind = (page > 0).then_some(shared);
                    problems.extend(judge(table, order, filtered, ran, behind));
                }
                assert!(!token.is_empty(), "more than {page} pages of {table} by {order}");
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    let mut client = BookServiceClient::new(server.channel());
    let (small, large) =
        (statements(&mut client, &mut log, 1).await, statements(&mut client, &mut log, PAGE).await);
    assert_eq!(small, large, "statements of a page of 1 and of {PAGE}");
}

/// Reads a page and returns the next page token.
async fn next(
    channel: Channel,
    table: &str,
    filter: String,
    order_by: String,
    page_token: String,
) -> String {
    let page_size = PAGE;
    match table {
        "books" => {
            let request =
                ListBooksRequest { page_size, page_token, filter, order_by, ..Default::default() };
            let page = BookServiceClient::new(channel).list_books(request).await;
            page.expect("a page of books").into_inner().next_page_token
        }
        _ => {
            let request =
                ListOrdersRequest { page_size, page_token, filter, order_by, ..Default::default() };
            let page = OrderServiceClient::new(channel).list_orders(request).await;
            page.expect("a page of orders").into_inner().next_page_token
        }
    }
}

/// The most rows that share a value of the order's first field.
async fn shared(database: &Database, table: &str, order: &str) -> u64 {
    let column = column_of(order);
    let sql = format!("SELECT max(n) FROM (SELECT count(*) AS n FROM {table} GROUP BY {column}) t");
    database.value(&sql).await.parse().expect("a count")
}

/// The column of an order's first field.
fn column_of(order: &str) -> &'static str {
    let field = order.split([' ', ',']).next().unwrap_or_default();
    COLUMNS.iter().find(|(name, _)| *name == field).map_or("", |(_, column)| column)
}

/// Fills the database and lets PostgreSQL log every plan of the service. It forces generic plans,
/// which busy sessions end up with.
async fn generate(database: &Database, postgres: &PostgresDatabase, scale: u32) {
    let sql = format!(
        "SELECT setseed(0.5);
         INSERT INTO books (id, title, author, price_micros, currency_code, stock, category_id,
                            created_at, updated_at)
         SELECT gen_random_uuid(), 'Title ' || md5(n::text), 'Author ' || n % 5000,
                floor(random() * 10000)::bigint * 10000, 'USD', floor(random() * 1000)::int,
                CASE WHEN n % 4 > 0 THEN '{CATEGORY}'::uuid END,
                now() - n * interval '1 second', now()
         FROM generate_series(1, {scale}) AS n;
         INSERT INTO users (id, email, username, full_name, password_hash)
         VALUES ('{CATEGORY}', 'reader@example.org', 'x', 'x', 'x');
         INSERT INTO orders (id, user_id, total_micros, currency_code, shipping_address,
                             created_at, updated_at)
         SELECT gen_random_uuid(), '{CATEGORY}', floor(random() * 10000)::bigint * 10000, 'USD',
                'x', now() - n * interval '1 second', now()
         FROM generate_series(1, {scale}) AS n;
         INSERT INTO order_items (id, order_id, book_id, quantity, price_micros)
         SELECT gen_random_uuid(), orders.id, book.id, 1, 1
         FROM orders CROSS JOIN (SELECT id FROM books LIMIT 2) AS book;
         ANALYZE"
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

fn lists(sql: &str, table: &str) -> bool {
    sql.contains(&format!("FROM \"{table}\"")) && sql.contains("ORDER BY")
}

/// The problems of a plan. `behind` is set after a page token: the most rows that may be read and
/// discarded.
fn judge(table: &str, order: &str, filtered: &str, ran: &Ran, behind: Option<u64>) -> Vec<String> {
    let list = format!("{table} by {order} {filtered}");
    let page = if behind.is_some() { "behind a token" } else { "first page" };
    let mut nodes = Vec::new();
    collect(&ran.plan, &mut nodes);
    let mut problems = Vec::new();
    let kind = |node: &&Value| node["Node Type"].as_str().unwrap_or_default().to_owned();
    for node in &nodes {
        if REFUSED.contains(&kind(node).as_str()) {
            problems.push(format!("it has a {}", kind(node)));
        }
    }
    let scan = nodes.iter().find(|node| kind(node).starts_with("Index"));
    let (index, bounds) = scan.map_or(("", ""), |scan| {
        let text = |key: &str| scan[key].as_str().unwrap_or_default();
        (text("Index Name"), text("Index Cond"))
    });
    let discarded = scan.and_then(|scan| scan["Rows Removed by Filter"].as_u64()).unwrap_or(0);
    if scan.is_none() {
        problems.push("it has no index scan".to_owned());
    }
    if let Some(allowed) = behind {
        let column = column_of(order);
        if !bounds.contains(column) || !bounds.contains(['<', '>']) {
            problems.push(format!("the index isn't bounded by {column}: {bounds:?}"));
        }
        if discarded > allowed {
            problems
                .push(format!("{discarded} rows are read and discarded, where {allowed} may be"));
        }
    }
    if !bounds.contains(filtered) {
        problems.push(format!("the index isn't bounded by {filtered}: {bounds:?}"));
    }
    eprintln!(
        "{list:<44} {page:<14} {index:<38} {:>8.3} ms, {discarded} rows discarded, {bounds}",
        ran.milliseconds
    );
    let describe = |problem| format!("{list}, {page}: {problem}\n  {}\n  {}", ran.sql, ran.plan);
    problems.into_iter().map(describe).collect()
}

/// The problem of a statement that reads the items of a page: that it reads all items.
fn reads_all(items: &str, ran: &Ran) -> Option<String> {
    let mut nodes = Vec::new();
    collect(&ran.plan, &mut nodes);
    let all = nodes.iter().any(|node| {
        node["Node Type"] == "Seq Scan" && node["Relation Name"].as_str() == Some(items)
    });
    all.then(|| format!("all {items} are read:\n  {}\n  {}", ran.sql, ran.plan))
}

fn collect<'a>(node: &'a Value, into: &mut Vec<&'a Value>) {
    into.push(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, into);
    }
}

/// The number of statements of a page, counted between two known ones.
async fn statements(
    client: &mut BookServiceClient<Channel>,
    log: &mut PlanLog,
    page_size: i32,
) -> usize {
    let request = ListBooksRequest { page_size, ..Default::default() };
    let answer = client.list_books(request).await.expect("a page").into_inner();
    assert_eq!(answer.books.len(), usize::try_from(page_size).unwrap_or_default());
    // The log has all statements of the page before the plan of this call.
    let unknown =
        GetBookRequest { id: "00000000-0000-7000-8000-000000000000".into(), ..Default::default() };
    let refused = client.get_book(unknown).await.expect_err("no such book");
    assert_eq!(refused.code(), Code::NotFound);
    let ran = log.up_to(|sql| sql.contains(r#"FROM "books""#) && !lists(sql, "books")).await;
    // Beside the calls the service reads the schema's state and tests idle connections. Only
    // statements on resources have quoted names.
    let asked = |ran: &&Ran| ran.sql.contains("FROM \"");
    ran.iter().filter(asked).count() - 1
}
