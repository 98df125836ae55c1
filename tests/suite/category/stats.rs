//! `GetCategoryStats`: the number of books of a category and their average price.

use bookstore_proto::v1::{
    GetCategoryStatsRequest, GetCategoryStatsResponse, ListCategoriesRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    client::{
        Categories, FICTION, SCIENCE, a_book, books, categories, create_all, done, message,
        refused, with,
    },
    list::statements,
};

on_every_engine!(category_stats_are_exact, category_stats_are_paged_as_the_list_is);

async fn stats(categories: &mut Categories, request: Value) -> GetCategoryStatsResponse {
    done(categories.get_category_stats(message::<GetCategoryStatsRequest>(request)).await)
}

/// A page as texts: `Fiction 3: 2 EUR, 1.5 USD` has three books.
fn shown(page: &GetCategoryStatsResponse) -> Vec<String> {
    let stats = page.stats.iter().map(|stats| {
        let prices = stats.mean_prices.iter().map(|price| {
            let micros = i64::from(price.nanos) / 1_000 + price.units * 1_000_000;
            format!(" {micros} {}", price.currency_code)
        });
        let name = &stats.category.as_ref().expect("a category").name;
        format!("{name} {}:{}", stats.book_count, prices.collect::<Vec<_>>().join(","))
    });
    stats.collect()
}

async fn category_stats_are_exact(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let price = |category: &str, currency: &str, micros: i64| {
        let (units, nanos) = (micros / 1_000_000, micros % 1_000_000 * 1_000);
        let price = json!({"currency_code": currency, "units": units, "nanos": nanos});
        with(a_book("x"), json!({"category_id": category, "price": price}))
    };
    let mut all =
        vec![with(a_book("loose"), json!({"price": {"currency_code": "USD", "units": 9}}))];
    for (category, currency, prices) in [
        // Halves are rounded to even: 0.5 to 0, 1.5 and 2.5 to 2.
        (FICTION, "AAA", &[0, 1][..]),
        (FICTION, "BBB", &[1, 2]),
        (FICTION, "CCC", &[2, 3]),
        (FICTION, "DDD", &[0, 0, 1]),
        (FICTION, "EEE", &[0, 1, 1]),
        (FICTION, "USD", &[12_990_000]),
        (SCIENCE, "USD", &[10_000_000_000_000, 9_999_999_999_999, 9_999_999_999_999]),
        (SCIENCE, "EUR", &[999_999, 1_000_000]),
    ] {
        all.extend(prices.iter().map(|micros| price(category, currency, *micros)));
    }
    create_all(&mut books, &all).await;
    let page = stats(&mut categories, json!({})).await;
    let wanted = [
        "Fiction 13: 0 AAA, 2 BBB, 2 CCC, 0 DDD, 1 EEE, 12990000 USD",
        "History 0:",
        "Non-Fiction 0:",
        "Science 5: 1000000 EUR, 9999999999999 USD",
        "Technology 0:",
    ];
    assert_eq!(shown(&page), wanted);
    assert_eq!((page.next_page_token.as_str(), page.total_size), ("", None));

    // Sums above 64 bits, as of a million of the highest prices. Here three prices do, with the
    // table's check bypassed.
    let unchecked = match engine {
        Engine::Sqlite => "PRAGMA ignore_check_constraints = ON",
        Engine::Postgres => "ALTER TABLE books DROP CONSTRAINT books_price_micros_check",
    };
    server
        .sql(&format!(
            "{unchecked}; UPDATE books SET price_micros = 9000000000000000000 - price_micros % 10 \
             WHERE price_micros >= 9999999999999"
        ))
        .await;
    let page = stats(&mut categories, json!({"filter": "name = Science"})).await;
    // 9, 9 and 0 in the next digit: six on average.
    assert_eq!(shown(&page), ["Science 5: 1000000 EUR, 8999999999999999994 USD"]);

    let mut request = Request::new(message::<GetCategoryStatsRequest>(json!({})));
    request.metadata_mut().insert("request-id", "all".parse().expect("ASCII"));
    done(categories.get_category_stats(request).await);
    let texts = statements(&server, "all").await;
    assert_eq!(texts.len(), 2, "{texts:#?}");
}

async fn category_stats_are_paged_as_the_list_is(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let filed = with(a_book("x"), json!({"category_id": SCIENCE}));
    create_all(&mut books, &[filed.clone(), filed]).await;
    let all =
        ["Fiction 0:", "History 0:", "Non-Fiction 0:", "Science 2: 12990000 USD", "Technology 0:"];
    let mut request = json!({"page_size": 2, "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
    let mut walked = Vec::new();
    loop {
        let page = stats(&mut categories, request.clone()).await;
        assert_eq!(page.total_size, Some(5));
        walked.extend(shown(&page));
        if page.next_page_token.is_empty() {
            break;
        }
        request["page_token"] = json!(page.next_page_token);
    }
    assert_eq!(walked, all);
    let request = json!({"order_by": "name desc", "skip": 1, "filter": "name:c"});
    assert_eq!(shown(&stats(&mut categories, request).await), [all[3], all[2], all[0]]);
    assert_eq!(shown(&stats(&mut categories, json!({"filter": "name = x"})).await), [""; 0]);

    // A list's token isn't valid for this method.
    let token = json!({"page_size": 1});
    let token = done(categories.list_categories(message::<ListCategoriesRequest>(token)).await);
    let request = message::<GetCategoryStatsRequest>(json!({"page_token": token.next_page_token}));
    refused(categories.get_category_stats(request).await).is_invalid(&["page_token"]);
}
