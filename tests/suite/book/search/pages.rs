//! The pages of a search: each result once, up to the thousandth.

use std::collections::BTreeSet;

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use super::{SEARCH, of, search, titles};
use crate::{
    client::{a_book, books, create_all, with},
    standard::{answer, call_with, refusal},
};

on_every_engine!(
    search_pages_end_after_a_thousand_results,
    search_page_token_of_another_search_is_refused,
    search_page_ends_at_its_byte_limit
);

/// The titles of all pages, and the number of pages.
async fn walk(server: &TestServer, mut request: Value) -> (Vec<String>, usize) {
    let (mut walked, mut pages) = (Vec::new(), 0);
    loop {
        let page = search(server, request.clone()).await;
        walked.extend(titles(&page).into_iter().map(str::to_owned));
        pages += 1;
        match page["next_page_token"].as_str() {
            Some(token) => request["page_token"] = json!(token),
            None => return (walked, pages),
        }
    }
}

async fn search_pages_end_after_a_thousand_results(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all: Vec<Value> = (1..=1_010)
        .map(|number| {
            let title = if number % 2 == 0 { "even" } else { "odd" };
            of(&format!("{title} {number}"), "x", "common")
        })
        .collect();
    create_all(&mut books(&server), &all).await;
    let (walked, pages) = walk(&server, json!({"query": "common", "page_size": 130})).await;
    assert_eq!((walked.len(), pages), (1_000, 8));
    assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), 1_000, "each once");
    let (again, pages) = walk(&server, json!({"query": "common", "page_size": 1_000})).await;
    assert_eq!((&again, pages), (&walked, 1));
    let (odd, pages) = walk(&server, json!({"query": "odd"})).await;
    assert_eq!((odd.len(), pages), (505, 11));
    // Results of equal rank are ordered by their ids. Number 1009 is the last odd one.
    assert_eq!((odd[0].as_str(), odd[504].as_str()), ("odd 1", "odd 1009"));
    let (some, _) = walk(&server, json!({"query": "odd", "page_size": 202, "skip": 101})).await;
    assert_eq!(some, [&odd[101..303], &odd[404..]].concat());
    let (filtered, pages) =
        walk(&server, json!({"query": "common", "filter": "title = \"odd 1*\"", "page_size": 10}))
            .await;
    assert_eq!((filtered.len(), pages), (61, 7));
    let (none, _) = walk(&server, json!({"query": "common", "skip": 1_000})).await;
    assert!(none.is_empty(), "{none:?}");
}

async fn search_page_token_of_another_search_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all = ["a one", "a two", "a three"].map(a_book);
    create_all(&mut books(&server), &all).await;
    let request = json!({"query": "a -x", "filter": "stock = 0", "page_size": 1});
    let page = search(&server, request.clone()).await;
    let with_token = with(request, json!({"page_token": page["next_page_token"]}));
    let second = search(&server, with_token.clone()).await;
    assert_eq!(titles(&second), ["a two"]);
    // The same search in another spelling, and another page size.
    let same = json!({"query": " \"A\"  -X ", "filter": "stock=0", "page_size": 2});
    let page = search(&server, with(with_token.clone(), same)).await;
    assert_eq!(titles(&page), ["a two", "a three"]);
    for other in [
        json!({"query": "a"}),
        json!({"query": "x -a"}),
        json!({"filter": null}),
        json!({"filter": "stock = 1"}),
    ] {
        let refusal = refusal(&server, SEARCH, with(with_token.clone(), other)).await;
        refusal.is_invalid(&["page_token"]);
    }
    let list = answer(&server, "BookService/ListBooks", json!({"page_size": 1})).await;
    let token = json!({"query": "a", "page_token": list["next_page_token"]});
    refusal(&server, SEARCH, token).await.is_invalid(&["page_token"]);
    let token = json!({"page_token": with_token["page_token"], "filter": "stock = 0"});
    refusal(&server, "BookService/ListBooks", token).await.is_invalid(&["page_token"]);
}

async fn search_page_ends_at_its_byte_limit(engine: Engine) {
    let server = TestServer::start(engine).await;
    let description = format!("common {}", "𝔘".repeat(9_900));
    let all: Vec<Value> =
        (0..90).map(|number| of(&format!("large {number}"), "x", &description)).collect();
    create_all(&mut books(&server), &all).await;
    let (walked, pages) = walk(&server, json!({"query": "common", "page_size": 1_000})).await;
    assert_eq!((walked.iter().collect::<BTreeSet<_>>().len(), pages), (90, 2));
    // Fields outside the field mask aren't read.
    let request = json!({"query": "common", "filter": "description:common", "page_size": 1_000});
    let page = call_with(&server, SEARCH, request, &[("field-mask", "books.title")]).await;
    let page = page.expect("a page");
    assert_eq!(page["books"].as_array().map(Vec::len), Some(90));
    assert_eq!(page["books"][0].as_object().map(|book| book.len()), Some(1));
}
