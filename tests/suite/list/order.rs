//! Every order of a list, read in small pages and compared with a sort in the test.

use std::cmp::Ordering;

use bookstore_proto::v1::Book;
use bookstore_query::Resource;
use bookstore_server::resource::book;
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use super::{list, walk};
use crate::client::{a_book, books, create_all, id, with};

on_every_engine!(
    list_pages_return_each_book_once_in_order,
    list_pages_cross_the_extreme_values_of_a_field
);

/// Orders of several fields, in one direction and mixed.
const ORDERS: &[&str] = &[
    "",
    "price desc, stock",
    "stock, price desc",
    "author, title, price, stock",
    "author desc, title desc",
    "author desc, title, stock desc, create_time",
    "create_time, stock desc",
    "  stock   asc ,author DESC ",
];

/// The order of the contract: the fields, then the id in the last field's direction.
fn compare(order: &str, a: &Book, b: &Book) -> Ordering {
    let order = if order.is_empty() { "create_time desc" } else { order };
    let amount = |book: &Book| {
        let price = book.price.clone().expect("a price");
        i64::from(price.nanos) + price.units * 1_000_000_000
    };
    let moment = |book: &Book| {
        let time = book.create_time.expect("a time");
        (time.seconds, time.nanos)
    };
    let mut ordering = Ordering::Equal;
    let mut last = false;
    for part in order.split(',') {
        let mut words = part.split_whitespace();
        let field = words.next().expect("a field");
        last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("desc"));
        let by_field = match field {
            "title" => a.title.cmp(&b.title),
            "author" => a.author.cmp(&b.author),
            "price" => amount(a).cmp(&amount(b)),
            "stock" => a.stock.cmp(&b.stock),
            "create_time" => moment(a).cmp(&moment(b)),
            other => panic!("no order by {other} is known here"),
        };
        ordering = ordering.then(if last { by_field.reverse() } else { by_field });
    }
    let by_id = a.id.cmp(&b.id);
    ordering.then(if last { by_id.reverse() } else { by_id })
}

async fn list_pages_return_each_book_once_in_order(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    // Few values, so that many books are equal, and ids in no related order. Texts whose order by
    // bytes differs from a dictionary's.
    let texts = ["a", "B", "b", "ä", "Z", "_", "a b", "ab", "😀", "\u{ffff}"];
    let all: Vec<Value> = (0..23)
        .map(|at: usize| {
            json!({
                "title": texts[at % texts.len()],
                "author": texts[at * 7 % 3],
                "price": {"currency_code": "USD", "units": at * 5 % 4, "nanos": at % 2 * 1_000},
                "stock": at * 11 % 4,
            })
        })
        .collect();
    // In three batches, so that there are three times of creation.
    let mut number = 23;
    for piece in all.chunks(8) {
        let requests = piece.iter().map(|book| {
            number -= 1;
            json!({"id": id(number * 37 % 101), "book": book})
        });
        let request = json!({"requests": requests.collect::<Vec<_>>()});
        let request =
            crate::client::message::<bookstore_proto::v1::BatchCreateBooksRequest>(request);
        books.batch_create_books(request).await.expect("a batch");
    }
    // Times with fractions of every length, whose texts may sort otherwise than the times.
    let fractions = ["", ".100", ".100001", ".000001", ".999", ".999999", ".010", ".010010"];
    for (at, fraction) in fractions.into_iter().enumerate() {
        let update = format!(
            "UPDATE books SET created_at = '2020-02-29T23:59:59{fraction}+00:00' WHERE id IN \
             (SELECT id FROM books ORDER BY stock, id LIMIT 1 OFFSET {})",
            at * 2
        );
        server.sql(&update).await;
    }
    let stored = walk(&mut books, json!({"page_size": 1_000})).await;
    assert_eq!(stored.len(), all.len());

    let sortable = book::Book::FIELDS.sortable();
    let single = sortable.split(", ").flat_map(|field| [field.to_owned(), format!("{field} desc")]);
    for order in single.chain(ORDERS.iter().map(|order| (*order).to_owned())) {
        let mut wanted = stored.clone();
        wanted.sort_by(|a, b| compare(&order, a, b));
        for size in [2, 7] {
            let request = json!({"order_by": order, "page_size": size});
            let walked = walk(&mut books, request).await;
            let ids = |books: &[Book]| -> Vec<String> {
                books.iter().map(|book| book.id.clone()).collect()
            };
            assert_eq!(ids(&walked), ids(&wanted), "{order:?} in pages of {size}");
            assert_eq!(walked, wanted, "{order:?} in pages of {size}");
        }
        // Together with a filter and a skip.
        let request = json!({"order_by": order, "filter": "stock > 0", "skip": 3, "page_size": 50});
        wanted.retain(|book| book.stock > 0);
        assert_eq!(
            list(&mut books, request).await.expect("a page").books,
            wanted[3..],
            "{order:?}"
        );
    }
}

/// Page tokens contain the extreme values of a field too.
async fn list_pages_cross_the_extreme_values_of_a_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let wide = "𝔘".repeat(255);
    let large = json!({"author": wide, "stock": i32::MAX,
        "price": {"currency_code": "USD", "units": 10_000_000}});
    let small = json!({"author": "\u{1}", "stock": 0, "price": {"currency_code": "USD"}});
    let all: Vec<Value> = [&large, &small, &large, &small, &large]
        .map(|members| with(a_book(&wide), members.clone()))
        .to_vec();
    let mut wanted = create_all(&mut books, &all).await;
    for order in ["title, author, price, stock", "title desc, stock, author desc, price desc"] {
        wanted.sort_by(|a, b| compare(order, a, b));
        let walked = walk(&mut books, json!({"order_by": order, "page_size": 1})).await;
        assert_eq!(walked, wanted, "{order}");
    }
}
