//! The engines compared: any text finds the same books on both or is refused on both, and its
//! special characters never reach the engines' query languages.

use bookstore_tests::{Engine, TestServer};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{SEARCH, of};
use crate::{
    client::{books, create_all},
    standard::call,
};

/// The parts of the texts: words of the books, and characters with a meaning in this service, FTS5
/// or PostgreSQL.
const PIECES: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "A",
    "été",
    "Σ",
    "ς",
    "雪",
    "7",
    " ",
    " ",
    " ",
    " ",
    "-",
    "-",
    "\"",
    "\"",
    " OR ",
    " AND ",
    " NOT ",
    "NEAR(",
    "NEAR/2",
    "*",
    ":",
    "title:",
    "{title author}:",
    "^",
    "+",
    "(",
    ")",
    "'",
    "''",
    "\\",
    ";",
    "--",
    "!",
    "&",
    "|",
    "<->",
    "<2>",
    ":A",
    ":*",
    "%",
    "_",
    "?",
    "$1",
    "\n",
    "\t",
    "\u{a0}",
    "\u{200d}",
    "\u{301}",
    "🦀",
    "❤\u{fe0f}",
    "\u{202e}",
    "\u{10ffff}",
    "rank",
    "bm25(",
    "1e5",
    "3.14",
    "a-b",
    "a'b",
    "a_b",
    "x@y.z",
    "http://a/b",
];

async fn start(engine: Engine, all: &[Value]) -> TestServer {
    let server = TestServer::start(engine).await;
    create_all(&mut books(&server), all).await;
    server
}

/// The numbers of the books that a query finds, or the fields for which it is refused.
async fn outcome(server: &TestServer, query: &str) -> Result<Vec<u64>, Vec<String>> {
    let request = json!({"query": query, "page_size": 1_000});
    let page = call(server, SEARCH, request).await.map_err(|refusal| {
        assert_eq!(refusal.reason, "FIELD_INVALID", "{query:?}: {refusal:?}");
        refusal.fields
    })?;
    let books = page["books"].as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |book: &Value| {
        let id = book["id"].as_str().and_then(|id| id.rsplit('-').next());
        u64::from_str_radix(id.unwrap_or_default(), 16).expect("an id of the suite's")
    };
    let mut numbers: Vec<u64> = books.iter().map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[tokio::test]
async fn random_query_finds_the_same_books_on_both_engines() {
    let mut random = StdRng::seed_from_u64(7);
    let mut text = |most: usize| -> String {
        let length = random.random_range(1..=most);
        (0..length).filter_map(|_| PIECES.choose(&mut random).copied()).collect()
    };
    let all: Vec<Value> = (0..150)
        .map(|_| of(&format!("a{}", text(5)), &format!("b{}", text(3)), &text(60)))
        .collect();
    let queries: Vec<String> = (0..600).map(|number| text(1 + number % 12)).collect();
    let sqlite = start(Engine::Sqlite, &all).await;
    let postgres = start(Engine::Postgres, &all).await;
    let (mut found, mut refused) = (0, 0);
    for query in queries {
        let (one, other) = tokio::join!(outcome(&sqlite, &query), outcome(&postgres, &query));
        assert_eq!(one, other, "{query:?}");
        match one {
            Ok(books) => found += usize::from(!books.is_empty() && books.len() < all.len()),
            Err(fields) => {
                assert_eq!(fields, ["query"]);
                refused += 1;
            }
        }
    }
    assert!(found > 100 && refused > 50, "{found} found some, {refused} were refused");
}
