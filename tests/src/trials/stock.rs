//! Many callers order few books while others cancel orders: the sum of sold and left copies never
//! changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bookstore_proto::v1::{
    Book, CancelOrderRequest, CreateBookRequest, CreateUserRequest, Money, PlaceOrderItem,
    PlaceOrderRequest, User, book_service_client::BookServiceClient,
    order_service_client::OrderServiceClient, user_service_client::UserServiceClient,
};
use rand::{Rng, seq::SliceRandom};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{Database, Engine, TestServer, raw};

/// Concurrent callers.
const CALLERS: u32 = 64;

/// The number of books, and the initial stock of each.
pub(super) const BOOKS: u32 = 6;
pub(super) const STOCK: i32 = 1_000;

/// Makes `scale` calls on each engine.
pub(super) async fn stock(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Every answer depends on the stock only, however long the call waits for a connection.
        let server = TestServer::builder(engine).env("LOG_LEVEL", "error");
        let server = server.env("DATABASE_POOL_TIMEOUT", "2m").start().await;
        open(server.channel()).await;
        let (database, done) = (server.database(), Arc::new(AtomicBool::new(false)));
        let watch = tokio::spawn(watch(Arc::clone(&database), Arc::clone(&done)));
        let began = Instant::now();
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let orders = OrderServiceClient::new(raw(server.address()).await);
            callers.push(tokio::spawn(buy(orders, scale / CALLERS)));
        }
        let mut tally = Tally::default();
        for caller in callers {
            let bought = caller.await.expect("no panic of a caller");
            tally.placed += bought.placed;
            tally.short += bought.short;
            tally.cancelled += bought.cancelled;
        }
        let took = began.elapsed();
        done.store(true, Ordering::Relaxed);
        let reads = watch.await.expect("the watcher");
        let books = balance(&database).await;
        assert!(books.iter().all(|sum| *sum == i64::from(STOCK)), "{books:?}: not {STOCK} of each");
        assert!(tally.placed > 0 && tally.short > 0 && tally.cancelled > 0, "{tally:?}");
        eprintln!("{engine:?}: {tally:?} in {took:?}, read {reads} times meanwhile");
    }
}

/// The callers' answers.
#[derive(Debug, Default)]
struct Tally {
    placed: u32,
    short: u32,
    cancelled: u32,
}

/// For each book the sum of its stock and of its sold copies.
pub(super) async fn balance(database: &Database) -> Vec<i64> {
    let sql = "SELECT stock + coalesce((SELECT sum(quantity) FROM order_items JOIN orders \
               ON orders.id = order_id WHERE book_id = books.id AND status <> 'CANCELLED'), 0) \
               FROM books ORDER BY books.id";
    let rows = database.sql(sql).await;
    let sum = |row: &crate::Row| row[0].as_ref().and_then(|text| text.parse().ok());
    rows.iter().map(|row| sum(row).expect("a sum")).collect()
}

/// Reads as many committed states as it can: in none are more copies sold than there were.
async fn watch(database: Arc<Database>, done: Arc<AtomicBool>) -> u32 {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        let wrong = balance(&database).await.into_iter().find(|sum| *sum != i64::from(STOCK));
        assert_eq!(wrong, None, "stock and orders of a book don't add up");
        assert_eq!(database.value("SELECT count(*) FROM books WHERE stock < 0").await, "0");
        reads += 1;
    }
    reads
}

pub(super) async fn open(channel: Channel) {
    let user = User {
        email: "buyer@example.com".into(),
        username: "buyer".into(),
        full_name: "A Buyer".into(),
        password: "correct horse battery".into(),
        ..Default::default()
    };
    let request = CreateUserRequest { user: Some(user), id: id(0) };
    UserServiceClient::new(channel.clone()).create_user(request).await.expect("a user");
    for number in 1..=BOOKS {
        let price = Some(Money { currency_code: "USD".into(), units: 5, nanos: 0 });
        let (title, author) = (format!("Book {number}"), "A. Writer".into());
        let book = Book { title, author, price, stock: STOCK, ..Default::default() };
        let request = CreateBookRequest { book: Some(book), id: id(number) };
        BookServiceClient::new(channel.clone()).create_book(request).await.expect("a book");
    }
}

/// Orders some books with lines in random order; about one order in two is cancelled later.
async fn buy(mut orders: OrderServiceClient<crate::Raw>, calls: u32) -> Tally {
    let (mut tally, mut open) = (Tally::default(), Vec::new());
    for _ in 0..calls {
        let (lines, cancels) = {
            let mut random = rand::rng();
            let mut numbers: Vec<u32> = (1..=BOOKS).collect();
            numbers.shuffle(&mut random);
            numbers.truncate(random.random_range(1..=4));
            let line = |number: u32| PlaceOrderItem {
                book_id: id(number),
                quantity: rand::rng().random_range(1..=40),
            };
            (numbers.into_iter().map(line).collect::<Vec<_>>(), random.random_bool(0.5))
        };
        let request = PlaceOrderRequest {
            user_id: id(0),
            items: lines,
            shipping_address: "1 Main Street".into(),
            id: String::new(),
        };
        match orders.place_order(request).await {
            Ok(order) => {
                open.push(order.into_inner().id);
                tally.placed += 1;
            }
            Err(status) => {
                is_short(&status);
                tally.short += 1;
            }
        }
        if cancels && let Some(id) = open.pop() {
            let request = CancelOrderRequest { id, etag: String::new() };
            orders.cancel_order(request).await.expect("a cancelled order");
            tally.cancelled += 1;
        }
    }
    tally
}

/// Asserts that the only reason of a refused order is the stock, and that the error names the book.
fn is_short(status: &Status) {
    let info = status.get_error_details().error_info().cloned();
    let (reason, facts) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
    let refused = (status.code(), reason.as_str());
    assert_eq!(refused, (Code::FailedPrecondition, "INSUFFICIENT_STOCK"), "{status:?}");
    let book = facts.get("book_id");
    assert!((1..=BOOKS).any(|number| book == Some(&id(number))), "{facts:?}");
}

pub(super) fn id(number: u32) -> String {
    format!("0195a000-0000-4000-8000-{number:012x}")
}
