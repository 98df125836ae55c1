//! Searches over many books: the cost of a page by the number of matches.

use std::time::Instant;

use bookstore_proto::v1::{
    SearchBooksRequest, SearchBooksResponse, book_service_client::BookServiceClient,
};
use tonic::transport::Channel;

use crate::{Engine, TestServer};

/// Queries, each with n, where one of n books matches.
const QUERIES: &[(&str, u32)] = &[
    ("the", 1),
    ("the house", 1),
    ("the -nothing", 1),
    ("\"silent river\"", 70),
    ("author17", 5_000),
    ("nothing OR number77", 0),
];

/// Words that are joined by `OR`. With `search_language = english` each has all its forms, and books have
/// those of the first two, though not these words.
const ENGLISH: [&str; 10] = [
    "rivers",
    "gardens",
    "nation",
    "organize",
    "dependency",
    "installation",
    "generous",
    "operator",
    "normal",
    "connect",
];

/// Searches `books` generated books, on each engine.
pub(super) async fn search(books: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let began = Instant::now();
        generate(&server, engine, books).await;
        eprintln!("{engine:?}: {books} books written in {:.1} s", began.elapsed().as_secs_f64());
        let mut client = BookServiceClient::new(server.channel());
        for (query, share) in QUERIES {
            let mut request = SearchBooksRequest {
                query: (*query).to_owned(),
                page_size: 50,
                ..Default::default()
            };
            let (first, milliseconds) = page(&mut client, &request).await;
            let wanted = if *share == 0 { 1 } else { books.div_ceil(*share).min(50) };
            assert_eq!(u32::try_from(first.books.len()), Ok(wanted), "{query}");
            request.skip = 950;
            let (_, last) = page(&mut client, &request).await;
            eprintln!(
                "{engine:?}: {query:<20} {milliseconds:>8.1} ms the first page, {last:>8.1} ms the last"
            );
        }
        let english = TestServer::builder(engine).on(server.database());
        let english = english.env("SEARCH_LANGUAGE", "english").start().await;
        for (language, service, wanted) in [("simple", &server, 0), ("english", &english, 50)] {
            let mut client = BookServiceClient::new(service.channel());
            for words in [&ENGLISH[..1], &ENGLISH] {
                let request = SearchBooksRequest {
                    query: words.join(" OR "),
                    page_size: 50,
                    ..Default::default()
                };
                let (found, milliseconds) = page(&mut client, &request).await;
                assert_eq!(found.books.len(), wanted, "{engine:?}: {language}");
                let count = words.len();
                eprintln!(
                    "{engine:?}: OR of {count:>2} words, {language:<8} {milliseconds:>8.1} ms"
                );
            }
        }
    }
}

/// A page, and how long it took.
async fn page(
    client: &mut BookServiceClient<Channel>,
    request: &SearchBooksRequest,
) -> (SearchBooksResponse, f64) {
    let mut fastest = (SearchBooksResponse::default(), f64::MAX);
    for _ in 0..3 {
        let began = Instant::now();
        let answer = client.search_books(request.clone()).await.expect("a page").into_inner();
        let milliseconds = began.elapsed().as_secs_f64() * 1_000.0;
        if milliseconds < fastest.1 {
            fastest = (answer, milliseconds);
        }
    }
    fastest
}

/// Fills the database: titles of five words, descriptions of forty.
async fn generate(server: &TestServer, engine: Engine, books: u32) {
    let (numbers, series) = engine.numbers(1, books);
    let (key, analyze) = match engine {
        Engine::Sqlite => ("randomblob(16)", "ANALYZE"),
        Engine::Postgres => ("gen_random_uuid()", "VACUUM ANALYZE books"),
    };
    let word = |list: &[&str], step: u32| {
        let words = list.iter().enumerate().map(|(at, word)| format!(" WHEN {at} THEN '{word}'"));
        format!("CASE (n / {step}) % {}{} END", list.len(), words.collect::<String>())
    };
    let adjective = word(
        &[
            "Silent", "Hidden", "Burning", "Last", "Winter", "Glass", "Distant", "Crooked",
            "Golden", "Old",
        ],
        1,
    );
    let noun = word(&["Garden", "River", "Library", "Orchard", "Ship", "Letter", "Sea"], 10);
    let sentence =
        "the house by the sea and the one who lived there, of whom nobody knew more than that ";
    server
        .sql(&format!(
            "{numbers}
             INSERT INTO books (id, title, author, description, price_micros, currency_code)
             SELECT {key}, 'The ' || {adjective} || ' ' || {noun} || ' number' || n,
                    'Writer author' || (n % 5000), '{sentence}{sentence}' || {noun}, 0, 'EUR'
             FROM {series}"
        ))
        .await;
    server.sql(analyze).await;
}
