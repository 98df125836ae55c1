//! Orders over connections that break anywhere, to a service that is killed: each is placed once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, CreateUserRequest, Money, PlaceOrderItem, PlaceOrderRequest, User,
    book_service_client::BookServiceClient, order_service_client::OrderServiceClient,
    user_service_client::UserServiceClient,
};
use tokio::sync::watch;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use super::readers::{ADMIN, LOG, Readers, Shared};
use crate::{Database, Engine, Line, Origin, TestServer, until};

/// Concurrent callers.
const CALLERS: u32 = 16;

/// How often the service is killed.
const KILLS: u32 = 4;

/// The most bytes that a connection carries: a few orders' worth.
const MOST: usize = 6_000;

/// The initial stock.
const STOCK: i32 = 1_000_000;

/// How long a caller waits for an answer before it retries.
const TIMEOUT: Duration = Duration::from_secs(5);

const USER: &str = "0195a000-0000-4000-8000-000000000001";
const BOOK: &str = "0195a000-0000-4000-8000-000000000002";

/// Places `scale` orders on each engine.
pub(super) async fn orders(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        let mut server = start(&database).await;
        fill(server.channel()).await;
        let mut line = Line::breaking(server.address(), MOST).await;
        let (publish, addresses) = watch::channel(line.url().to_owned());
        let (next, placed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (mut readers, mut shared) = (readers(&server), Shared::default());
        let began = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (next, placed) = (Arc::clone(&next), Arc::clone(&placed));
                tokio::spawn(caller(addresses.clone(), next, placed, scale))
            })
            .collect();
        for kill in 1..=KILLS {
            let some = scale * kill / (KILLS + 1);
            until("some orders are placed", Duration::from_secs(600), async || {
                placed.load(Ordering::Relaxed) >= some
            })
            .await;
            shared = shared.and(Shared::count(&server).await);
            server.kill().await;
            readers.end().await;
            server = start(&database).await;
            line = Line::breaking(server.address(), MOST).await;
            publish.send_replace(line.url().to_owned());
            readers = self::readers(&server);
        }
        let mut failures = BTreeMap::new();
        for caller in callers {
            for (failure, times) in caller.await.expect("no panic of a caller") {
                *failures.entry(failure).or_insert(0_u32) += times;
            }
        }
        shared = shared.and(Shared::count(&server).await);
        readers.end().await;
        shared.report("orders");
        drop(line);
        let count = database.value("SELECT count(*) FROM orders").await;
        assert_eq!(count, scale.to_string(), "orders on {engine:?}, retried for {failures:?}");
        let sold = "SELECT sum(quantity) FROM order_items";
        let sold: i32 = database.value(sold).await.parse().expect("a sum");
        let left: i32 = database.value("SELECT stock FROM books").await.parse().expect("a stock");
        assert_eq!(left + sold, STOCK);
        assert!(!failures.is_empty(), "no connection broke");
        eprintln!("{engine:?}: {scale} orders in {:?}, retried for {failures:?}", began.elapsed());
    }
}

async fn start(database: &Arc<Database>) -> TestServer {
    let server = TestServer::builder(database.engine()).on(Arc::clone(database));
    server.env(LOG.0, LOG.1).env(ADMIN.0, ADMIN.1).start().await
}

/// Callers that read the book that is ordered.
fn readers(server: &TestServer) -> Readers {
    Readers::start(server, &[BOOK.to_owned()])
}

async fn fill(channel: Channel) {
    let user = User {
        email: "ada@example.com".into(),
        username: "ada".into(),
        full_name: "Ada".into(),
        password: "correct horse".into(),
        ..User::default()
    };
    let request = CreateUserRequest { user: Some(user), id: USER.into() };
    UserServiceClient::new(channel.clone()).create_user(request).await.expect("a user");
    let price = Some(Money { currency_code: "EUR".into(), units: 5, nanos: 0 });
    let (title, author) = ("Dune".into(), "Frank Herbert".into());
    let book = Book { title, author, price, stock: STOCK, ..Book::default() };
    let request = CreateBookRequest { book: Some(book), id: BOOK.into() };
    BookServiceClient::new(channel).create_book(request).await.expect("a book");
}

/// Places orders, each with its own key, until all are placed. Returns the reasons of retries and
/// their counts.
async fn caller(
    address: watch::Receiver<String>,
    next: Arc<AtomicU32>,
    placed: Arc<AtomicU32>,
    scale: u32,
) -> BTreeMap<String, u32> {
    let mut failures = BTreeMap::new();
    let mut connection = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= scale {
            return failures;
        }
        let key = uuid::Uuid::new_v4().to_string();
        loop {
            let known = address.borrow().clone();
            let orders = match connection.take() {
                Some(orders) => Ok(orders),
                None => connect(known).await,
            };
            let answer = match orders {
                Ok(mut orders) => {
                    let answer = place(&mut orders, number, &key).await;
                    connection = answer.is_ok().then_some(orders);
                    answer
                }
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(()) => break,
                Err(failure) => *failures.entry(failure).or_insert(0) += 1,
            }
        }
        placed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connect(address: String) -> Result<OrderServiceClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(address).expect("an address").connect_timeout(TIMEOUT);
    let channel = endpoint.connect().await.map_err(|_| "no connection".to_owned())?;
    Ok(OrderServiceClient::new(channel))
}

/// Places an order, or returns why its outcome is unknown.
async fn place(
    orders: &mut OrderServiceClient<Channel>,
    number: u32,
    key: &str,
) -> Result<(), String> {
    let quantity = i32::try_from(number % 3 + 1).expect("a small number");
    let mut request = Request::new(PlaceOrderRequest {
        user_id: USER.into(),
        shipping_address: format!("{number} Quiet Street"),
        items: vec![PlaceOrderItem { book_id: BOOK.into(), quantity }],
        ..PlaceOrderRequest::default()
    });
    request.set_timeout(TIMEOUT);
    request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
    orders.place_order(request).await.map(drop).map_err(|status| reason(&status))
}

/// The reason for a retry.
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    // A status without a reason of the service is the connection's error.
    let Some(info) = details.error_info() else { return "line".to_owned() };
    let again = [
        "KEY_IN_USE",
        "TRANSACTION_CONFLICT",
        "LOCK_TIMEOUT",
        "POOL_TIMEOUT",
        "DEADLINE_EXCEEDED",
        "DATABASE_UNAVAILABLE",
        "SCHEMA_PENDING",
    ];
    assert!(again.contains(&info.reason.as_str()), "{status:?}");
    info.reason.clone()
}
