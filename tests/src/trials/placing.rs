//! The cost of an order in one statement, compared with the same order statement by statement.

use std::time::{Duration, Instant};

use bookstore_proto::v1::{
    PlaceOrderItem, PlaceOrderRequest, order_service_client::OrderServiceClient,
};
use chrono::Utc;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::{Database, Engine, TestServer};

/// Rounds. The two forms alternate.
const ROUNDS: usize = 9;

/// The lines of an order, and the books that all of them order.
const LINES: usize = 3;
const BOOKS: u32 = 100;

/// The numbers of concurrent callers: without waits, and with some.
const CALLERS: [u32; 2] = [1, 16];

/// The transaction of an order that is placed statement by statement.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const COMMIT: &str = "COMMIT";

/// Places `scale` orders in each form and round, for each number of callers.
pub(super) async fn placing(scale: u32) {
    let server = TestServer::builder(Engine::Postgres).env("DATABASE_ECHO", "true").start().await;
    let database = server.database();
    fill(&database).await;
    let text = text(&server).await;
    for callers in CALLERS {
        let mut ratios = Vec::new();
        for round in 1..=ROUNDS {
            let mut medians = Vec::new();
            for form in [Form::One, Form::Many] {
                let (took, mut each) = run(&database, &text, form, callers, scale).await;
                each.sort_unstable();
                let at = |part: usize| each[(each.len() - 1) * part / 100];
                eprintln!(
                    "{callers} callers, round {round}, {form:?}: median {:?}, p99 {:?}, {:.0} a second",
                    at(50),
                    at(99),
                    f64::from(scale) / took.as_secs_f64()
                );
                medians.push(at(50).as_secs_f64());
            }
            ratios.push(medians[1] / medians[0]);
        }
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
        eprintln!(
            "{callers} callers: statement by statement takes {median:.2} times as long \
             ({least:.2} to {most:.2})"
        );
        // With many callers the machine's cores are the limit.
        assert!(callers > 1 || median > 1.0, "one statement is no faster");
    }
    let stocks = "SELECT (SELECT sum(quantity) FROM order_items) + (SELECT sum(stock) FROM books)";
    assert_eq!(database.value(stocks).await, (i64::from(BOOKS) * 1_000_000).to_string());
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// In one statement, as the service does it.
    One,
    /// Statement by statement, as its SQLite form does it, with PostgreSQL's locks.
    Many,
}

async fn fill(database: &Database) {
    let sql = format!(
        "INSERT INTO users (id, email, username, full_name, password_hash)
         VALUES ('{}', 'reader@example.org', 'x', 'x', 'x');
         INSERT INTO books (id, title, author, price_micros, currency_code, stock)
         SELECT ('0195a000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'x', 'x', 5000000,
                'EUR', 1000000
         FROM generate_series(1, {BOOKS}) AS n",
        id(0)
    );
    database.sql(&sql).await;
}

/// Places an order through the service, and captures its statement. It commits by itself.
async fn text(server: &TestServer) -> String {
    let request = PlaceOrderRequest {
        user_id: id(0).to_string(),
        shipping_address: "1 Main Street".into(),
        items: vec![PlaceOrderItem { book_id: id(1).to_string(), quantity: 1 }],
        ..PlaceOrderRequest::default()
    };
    let mut orders = OrderServiceClient::new(server.channel());
    orders.place_order(request).await.expect("an order");
    let places = |line: &str| line.contains("PlaceOrder") && line.contains(r#""message":"call""#);
    server.logs().wait_for(places).await;
    let lines = server.logs().json();
    let statements = lines.iter().filter(|line| {
        // A slow statement has another message in the log.
        let is_statement = line["message"] == "statement" || line["message"] == "slow statement";
        is_statement && line["method"] == "/bookstore.v1.OrderService/PlaceOrder"
    });
    let mut texts = statements.filter_map(|line| line["sql"].as_str());
    texts.find(|sql| sql.contains(r#"INSERT INTO "orders""#)).expect("the statement").to_owned()
}

async fn run(
    database: &Database,
    text: &str,
    form: Form,
    callers: u32,
    scale: u32,
) -> (Duration, Vec<Duration>) {
    let mut running = Vec::new();
    let began = Instant::now();
    for _ in 0..callers {
        let (url, text) = (database.url(), text.to_owned());
        running.push(tokio::spawn(async move {
            let mut session = PgConnection::connect(&url).await.expect("a connection");
            let mut each = Vec::new();
            for _ in 0..scale / callers {
                let began = Instant::now();
                let placed = place(&mut session, &text, form).await;
                placed.expect("an order");
                each.push(began.elapsed());
            }
            each
        }));
    }
    let mut each = Vec::new();
    for caller in running {
        each.extend(caller.await.expect("no panic of a caller"));
    }
    (began.elapsed(), each)
}

async fn place(session: &mut PgConnection, text: &str, form: Form) -> Result<(), sqlx::Error> {
    let picked = rand::seq::index::sample(&mut rand::rng(), BOOKS as usize, LINES);
    let books: Vec<Uuid> = picked.iter().map(|at| id(at as u64 + 1)).collect();
    let (order, now) = (Uuid::now_v7(), Utc::now());
    let ids: Vec<Uuid> = books.iter().map(|_| Uuid::now_v7()).collect();
    match form {
        Form::One => {
            sqlx::query(AssertSqlSafe(text.to_owned()))
                .bind(order)
                .bind(id(0))
                .bind("1 Main Street")
                .bind(now)
                .bind(&books)
                .bind(vec![1_i32; LINES])
                .bind(&ids)
                .fetch_all(session)
                .await?;
        }
        Form::Many => {
            sqlx::raw_sql(BEGIN).execute(&mut *session).await?;
            many(session, order, &books, &ids, now).await?;
            sqlx::raw_sql(COMMIT).execute(session).await?;
        }
    }
    Ok(())
}

/// Reads what the order needs, locks it, and writes row by row.
async fn many(
    session: &mut PgConnection,
    order: Uuid,
    books: &[Uuid],
    ids: &[Uuid],
    now: chrono::DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    for (sql, key) in [
        ("SELECT id FROM orders WHERE id = $1", order),
        ("SELECT id FROM users WHERE id = $1", id(0)),
    ] {
        sqlx::query(sql).bind(key).fetch_optional(&mut *session).await?;
    }
    let lock = "SELECT id, stock, price_micros, currency_code FROM books WHERE id = ANY($1) \
                ORDER BY id FOR NO KEY UPDATE";
    sqlx::query(lock).bind(books).fetch_all(&mut *session).await?;
    let insert = "INSERT INTO orders (id, user_id, status, total_micros, currency_code, \
                  shipping_address, created_at, updated_at, version) \
                  VALUES ($1, $2, 'PENDING', $3, 'EUR', '1 Main Street', $4, $4, 1)";
    let total = 5_000_000 * LINES as i64;
    let insert = sqlx::query(insert).bind(order).bind(id(0)).bind(total).bind(now);
    insert.execute(&mut *session).await?;
    let items = "INSERT INTO order_items (id, order_id, book_id, quantity, price_micros, \
                 created_at, updated_at, version) \
                 SELECT item, $1, book, 1, 5000000, $2, $2, 1 \
                 FROM unnest($3::uuid[], $4::uuid[]) AS line (item, book)";
    let items = sqlx::query(items).bind(order).bind(now).bind(ids).bind(books);
    items.execute(&mut *session).await?;
    for book in books {
        let take = "UPDATE books SET stock = stock - 1, version = version + 1, updated_at = $2 \
                    WHERE id = $1";
        sqlx::query(take).bind(book).bind(now).execute(&mut *session).await?;
    }
    Ok(())
}

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0195_a000_0000_4000, 0x8000_0000_0000_0000 | number)
}
