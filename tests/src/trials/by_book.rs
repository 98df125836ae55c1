//! The orders of a book over very many orders: a book that few orders hold, one that half of them
//! hold, and one that none holds. Each list reads an index of the items, and not all orders.

use std::time::Instant;

use bookstore_proto::v1::{ListOrdersRequest, order_service_client::OrderServiceClient};

use crate::{Engine, TestServer, run};

/// The books by their numbers, with the share of the orders that hold each: one of so many; 0 is none.
const BOOKS: &[(u32, u32)] = &[(1, 2), (2, 20_000), (3, 0)];

/// The most milliseconds of a page, of which a read of all orders takes a multiple.
const MOST: f64 = 2_000.0;

fn id(number: u32) -> String {
    format!("01940000-0000-7000-8000-{number:012}")
}

/// Lists the orders of books among `scale` orders, on each engine.
pub(super) async fn by_book(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        generate(&server, engine, scale).await;
        let mut client = OrderServiceClient::new(server.channel());
        for (book, share) in BOOKS {
            let wanted = if *share == 0 { 0 } else { scale.div_ceil(*share).min(50) };
            let filter = format!("items.book_id = \"{}\"", id(*book));
            let mut fastest = f64::MAX;
            for _ in 0..3 {
                let request = ListOrdersRequest { filter: filter.clone(), ..Default::default() };
                let began = Instant::now();
                let page = client.list_orders(request).await.expect("a page").into_inner();
                fastest = fastest.min(began.elapsed().as_secs_f64() * 1_000.0);
                assert_eq!(u32::try_from(page.orders.len()), Ok(wanted), "{engine:?}: {filter}");
                let holds = |order: &bookstore_proto::v1::Order| {
                    order.items.iter().any(|item| item.book_id == id(*book))
                };
                assert!(page.orders.iter().all(holds), "{engine:?}: {filter}");
            }
            let url = server.database().url();
            let plan = run(&["explain", "orders", &filter], &[("DATABASE_URL", &url)]).await.output;
            eprintln!("{engine:?}: one of {share} orders: {fastest:.1} ms a page");
            let reads_items = plan.contains("order_items_book_id_order_id_idx");
            // A book that half of the orders hold is found sooner along the list's order.
            assert!(reads_items || *share == 2, "{engine:?}: {plan}");
            assert!(!plan.contains("SCAN order_items") && fastest < MOST, "{engine:?}: {plan}");
        }
    }
}

/// Every second order holds book 1, every 20,000th book 2, each of them a book of its own too.
async fn generate(server: &TestServer, engine: Engine, scale: u32) {
    let (numbers, series) = engine.numbers(1, scale);
    let (new, time) = match engine {
        Engine::Sqlite => {
            ("randomblob(16)", "strftime('%Y-%m-%dT%H:%M:%S+00:00', 1700000000 + n, 'unixepoch')")
        }
        Engine::Postgres => ("gen_random_uuid()", "to_timestamp(1700000000 + n)"),
    };
    let key = |number| match engine {
        Engine::Sqlite => format!("x'{}'", id(number).replace('-', "")),
        Engine::Postgres => format!("'{}'", id(number)),
    };
    let books = (1..=4).map(|book| format!("({}, 'x', 'x', 1, 'EUR')", key(book)));
    server
        .sql(&format!(
            "INSERT INTO users (id, email, username, full_name, password_hash)
                VALUES ({}, 'reader@example.org', 'x', 'x', 'x');
             INSERT INTO books (id, title, author, price_micros, currency_code) VALUES {};
             {numbers} INSERT INTO orders (id, user_id, total_micros, currency_code, shipping_address,
                created_at, updated_at)
                SELECT {new}, {}, n, 'EUR', 'x', {time}, {time} FROM {series}",
            key(1),
            books.collect::<Vec<_>>().join(", "),
            key(1)
        ))
        .await;
    for (book, every) in [(1, 2), (2, 20_000), (4, 1)] {
        server
            .sql(&format!(
                "INSERT INTO order_items (id, order_id, book_id, quantity, price_micros)
                 SELECT {new}, id, {}, 1, 1 FROM orders WHERE total_micros % {every} = 0",
                key(book)
            ))
            .await;
    }
    let analyze = if engine == Engine::Postgres { "VACUUM ANALYZE" } else { "ANALYZE" };
    server.sql(analyze).await;
}
