//! Backups under a write load are restored into empty databases. Each order that was acknowledged
//! before a backup began is in its restored database, stock and orders add up there, and a service
//! serves it.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bookstore_proto::v1::{
    CancelOrderRequest, GetOrderRequest, PlaceOrderItem, PlaceOrderRequest,
    order_service_client::OrderServiceClient,
};

use super::stock;
use crate::{Database, Engine, Origin, SOON, TestServer, raw, run, until};

/// Concurrent callers.
const CALLERS: u32 = 4;

/// The orders that are acknowledged before each backup.
const BEFORE: usize = 20;

/// Makes and restores `scale` backups on each engine.
pub(super) async fn backup(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = stocked(engine).await;
        let folder = tempfile::tempdir().expect("a folder");
        let load = Load::start(&server).await;
        for round in 0..scale {
            let most = load.count() + BEFORE;
            until("orders are placed", SOON, async || load.count() >= most).await;
            let file = folder.path().join(format!("{round}.backup"));
            let before = load.placed();
            make(&server.database(), &file).await;
            assert!(load.count() > before.len(), "no order was placed during the backup");
            let restored = restore(engine, &file).await;
            explains(&restored, &before, &load.placed()).await;
            serves(restored, before.last().expect("an order")).await;
            fs::remove_file(&file).expect("the backup");
        }
        load.end().await;
    }
}

/// A service with books in stock, whose callers wait for a busy disk.
pub(super) async fn stocked(engine: Engine) -> TestServer {
    let server = TestServer::builder(engine).env("LOG_LEVEL", "error");
    let server = server.env("DATABASE_POOL_TIMEOUT", "2m").start().await;
    stock::open(server.channel()).await;
    server
}

pub(super) async fn make(database: &Database, file: &Path) {
    let file = file.display().to_string();
    let url = database.owner_url();
    let made = run(&["backup", "--to", &file], &[("DATABASE_URL", &url)]).await;
    assert_eq!(made.code, Some(0), "{made:#?}");
}

/// Restores into a new database.
pub(super) async fn restore(engine: Engine, file: &Path) -> Arc<Database> {
    let restored = Database::create(engine, Origin::Empty).await;
    let (file, url) = (file.display().to_string(), restored.owner_url());
    let done = run(&["restore", &file], &[("DATABASE_URL", &url)]).await;
    assert_eq!(done.code, Some(0), "{done:#?}");
    Arc::new(restored)
}

/// The restored state is one between the start and the end of the backup.
pub(super) async fn explains(restored: &Database, before: &[String], after: &[String]) {
    let rows = restored.sql("SELECT id FROM orders").await;
    let orders: Vec<String> = rows.into_iter().filter_map(|mut row| row.remove(0)).collect();
    for id in before {
        assert!(orders.contains(id), "the order {id} was acknowledged before the backup");
    }
    // A call may be committed and not yet answered.
    assert!(orders.len() <= after.len() + CALLERS as usize, "{} orders", orders.len());
    let sums = stock::balance(restored).await;
    assert!(sums.iter().all(|sum| *sum == i64::from(stock::STOCK)), "{sums:?}");
    let total = "SELECT count(*) FROM orders WHERE total_micros <> (SELECT coalesce(sum(quantity * \
                 price_micros), 0) FROM order_items WHERE order_id = orders.id)";
    assert_eq!(restored.value(total).await, "0", "an order with a part of its items");
    let without = "SELECT count(*) FROM orders WHERE NOT EXISTS \
                   (SELECT 1 FROM order_items WHERE order_id = orders.id)";
    assert_eq!(restored.value(without).await, "0", "an order without its items");
}

/// A service on the restored database knows an order.
async fn serves(restored: Arc<Database>, id: &str) {
    let server = TestServer::builder(restored.engine()).on(restored).start().await;
    let request = GetOrderRequest { id: id.to_owned() };
    let order = OrderServiceClient::new(server.channel()).get_order(request).await;
    assert_eq!(order.expect("the order").into_inner().id, id);
}

/// Callers that place orders until the end.
pub(super) struct Load {
    placed: Arc<Mutex<Vec<String>>>,
    done: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(super) async fn start(server: &TestServer) -> Self {
        let (placed, done) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut load = Self { placed, done, callers: Vec::new() };
        for caller in 0..CALLERS {
            let orders = OrderServiceClient::new(raw(server.address()).await);
            let (placed, done) = (Arc::clone(&load.placed), Arc::clone(&load.done));
            load.callers.push(tokio::spawn(place(orders, caller, placed, done)));
        }
        load
    }

    pub(super) fn count(&self) -> usize {
        self.placed.lock().expect("a lock").len()
    }

    pub(super) fn placed(&self) -> Vec<String> {
        self.placed.lock().expect("a lock").clone()
    }

    pub(super) async fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no panic of a caller");
        }
    }
}

/// Places an order of two books at a time, and cancels the one before, so that the stock lasts.
async fn place(
    mut orders: OrderServiceClient<crate::Raw>,
    caller: u32,
    placed: Arc<Mutex<Vec<String>>>,
    done: Arc<AtomicBool>,
) {
    let mut last = None;
    while !done.load(Ordering::Relaxed) {
        let line = |number| PlaceOrderItem { book_id: stock::id(number), quantity: 1 };
        let request = PlaceOrderRequest {
            user_id: stock::id(0),
            items: vec![line(1 + caller % stock::BOOKS), line(1 + (caller + 1) % stock::BOOKS)],
            shipping_address: "1 Main Street".into(),
            id: String::new(),
        };
        let id = orders.place_order(request).await.expect("a placed order").into_inner().id;
        placed.lock().expect("a lock").push(id.clone());
        if let Some(id) = last.replace(id) {
            let request = CancelOrderRequest { id, etag: String::new() };
            orders.cancel_order(request).await.expect("a cancelled order");
        }
    }
}
