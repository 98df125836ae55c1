//! `SearchBooks`: the results of a query, the same on both engines, and their pages.

mod characters;
mod forms;
mod pages;
mod same;

use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine, run};
use serde_json::{Value, json};

use crate::{
    bad_input::{Case, bad},
    client::{FICTION, a_book, books, create, create_all, id, with},
    standard::{answer, refusal},
};

on_every_engine!(
    search_finds_words_of_every_script,
    search_ranks_title_matches_first,
    search_after_a_write_sees_the_change,
    search_finds_rows_inserted_by_sql,
    search_finds_rows_older_than_its_index,
);

const SEARCH: &str = "BookService/SearchBooks";

/// Refusals of searches.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for query in [
        "",
        " ",
        "-dune",
        "* & \"\" 🦀",
        "OR",
        "dune OR",
        "dune OR -sand",
        "a\0b",
        &"a ".repeat(33),
        &"a-".repeat(33),
        &"𝔘".repeat(501),
        &"x".repeat(100_000),
    ] {
        cases.push(bad(SEARCH, json!({"query": query}), &["query"]));
    }
    for (name, value) in [
        ("page_size", json!(-1)),
        ("skip", json!(-1)),
        ("skip", json!(1_001)),
        ("page_token", json!("x")),
        ("page_token", json!("\0")),
        ("page_token", json!("A".repeat(16_385))),
        ("filter", json!("isbn = 5")),
        ("filter", json!("stock = many")),
        ("filter", json!("x".repeat(4_097))),
    ] {
        cases.push(bad(SEARCH, json!({"query": "dune", name: value}), &[name]));
    }
    let all = json!({"query": "-", "page_size": -1, "page_token": "\0", "skip": -1, "filter": "x"});
    cases.push(bad(SEARCH, all, &["query", "page_size", "page_token", "skip", "filter"]));
    cases
}

/// A book with these texts.
fn of(title: &str, author: &str, description: &str) -> Value {
    with(a_book(title), json!({"author": author, "description": description}))
}

/// The answer of a search.
async fn search(server: &TestServer, request: Value) -> Value {
    answer(server, SEARCH, request).await
}

/// The titles of a page.
fn titles(page: &Value) -> Vec<&str> {
    let books = page["books"].as_array().map(Vec::as_slice).unwrap_or_default();
    books.iter().map(|book| book["title"].as_str().expect("a title")).collect()
}

/// The titles that a query finds, sorted.
async fn found(server: &TestServer, query: &str) -> Vec<String> {
    let page = search(server, json!({"query": query, "page_size": 1_000})).await;
    assert_eq!(page["next_page_token"], Value::Null, "{query}");
    let mut titles: Vec<String> = titles(&page).into_iter().map(str::to_owned).collect();
    titles.sort();
    titles
}

async fn search_finds_words_of_every_script(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all = [
        of("Dune", "Frank Herbert", "Sand, spice: the spice must flow."),
        of("Dune Messiah", "Frank Herbert", "More sand"),
        of(
            "Rock-n-Roll Ship #2",
            "Flann O'Brien",
            "An e-mail to a@example.org, see http://x.org/a-b?c=1",
        ),
        of("L’Été à Zürich", "Björn Ångström", "ÇA VA? Straße und STRASSE"),
        of("Война и мир", "Лев Толстой", "ЁЛКА и ёжик"),
        of("Ο Σίσυφος", "ΟΔΥΣΣΕΑΣ ΕΛΎΤΗΣ", "λόγος"),
        of("雪国", "川端 康成", "「国境の長いトンネル」。"),
        of("ألف ليلة وليلة", "مجهول", "قصص، حكايات"),
        of("गोदान", "मुंशी प्रेमचंद", "हिन्दी उपन्यास।"),
        of("🦀 Rust🤖Book ❤\u{fe0f} 42", "x_y+z", "-12.5e7 3,000 1984"),
        with(a_book("İstanbul e\u{301}tude"), json!({"author": "n/a"})),
    ];
    create_all(&mut books(&server), &all).await;
    let titles: Vec<&str> =
        all.iter().map(|book| book["title"].as_str().expect("a title")).collect();
    let many = &[0, 1][..];
    for (query, wanted) in [
        ("dune", many),
        ("DUNE messiah", &[1]),
        ("messiah dune", &[1]),
        ("herbert spice", &[0]),
        ("\"frank herbert\" sand", many),
        ("\"herbert frank\"", &[]),
        ("\"spice the\"", &[0]),
        ("\"spice spice\"", &[]),
        // A phrase doesn't continue from one text into the next.
        ("\"dune frank\"", &[]),
        ("\"herbert more\"", &[]),
        ("dune -messiah", &[0]),
        ("dune -\"more sand\" -x", &[0]),
        ("messiah OR spice", many),
        ("messiah OR dune -messiah", many),
        ("messiah or spice", &[]),
        ("dun", &[]),
        ("dune*", many),
        ("dune AND messiah", &[]),
        ("rock-n-roll", &[2]),
        ("rock roll -\"rock roll\"", &[2]),
        ("roll-ship", &[2]),
        ("ship-2", &[2]),
        ("O'Brien", &[2]),
        ("o brien example", &[2]),
        ("a@example.org", &[2]),
        ("http://x.org/a-b?c=1", &[2]),
        ("mail", &[2]),
        ("été", &[3]),
        ("ete", &[3]),
        ("zürich ÅNGSTRÖM ça", &[3]),
        ("straße", &[3]),
        ("STRASSE", &[3]),
        ("L'Été", &[3]),
        ("ВОЙНА толстой", &[4]),
        ("ёлка", &[4]),
        ("елка", &[]),
        ("σίσυφοσ", &[5]),
        ("σίσυφος Οδυσσεας ελύτης", &[5]),
        ("ΛΌΓΟΣ", &[5]),
        ("雪国", &[6]),
        ("雪", &[]),
        ("国境の長いトンネル 川端", &[6]),
        ("ليلة", &[7]),
        ("\"قصص حكايات\"", &[7]),
        ("हिन्दी", &[8]),
        ("हिन", &[]),
        ("गोदान प्रेमचंद", &[8]),
        ("rust 42", &[9]),
        ("\"rust book\"", &[9]),
        ("\"book 42\"", &[9]),
        ("\"x y z\"", &[9]),
        ("5e7", &[9]),
        ("12.5e7", &[9]),
        ("1984 -3000", &[9]),
        ("3,000", &[9]),
        ("İstanbul", &[10]),
        ("istanbul", &[10]),
        ("E\u{301}TUDE", &[10]),
        ("\u{e9}tude", &[10]),
        ("\"n a\"", &[10]),
        ("nothing", &[]),
    ] {
        let mut wanted: Vec<&str> = wanted.iter().map(|at| titles[*at]).collect();
        wanted.sort_unstable();
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    // Words longer than any query: PostgreSQL's index cuts them so that they can be stored.
    let long = "界".repeat(10_000);
    let book = of("long", "x", &format!("{} end", &long[..9_996 * 3]));
    answer(&server, "BookService/CreateBook", json!({"book": book})).await;
    assert_eq!(found(&server, "end").await, ["long"]);
    assert_eq!(found(&server, &"界".repeat(500)).await, Vec::<String>::new());
    let most = format!("\"{}\"", vec!["a"; 32].join(" "));
    assert_eq!(found(&server, &most).await, Vec::<String>::new());
}

async fn search_ranks_title_matches_first(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all = [
        of("one", "someone", "of lions"),
        of("two", "Lions", "of nothing"),
        of("lions", "someone", "of nothing"),
        with(of("four", "someone", "lions of"), json!({"category_id": FICTION})),
    ];
    create_all(&mut books(&server), &all).await;
    let page = search(&server, json!({"query": "lions"})).await;
    assert_eq!(titles(&page), ["lions", "two", "one", "four"]);
    let request = json!({"query": "lions", "filter": "author = someone AND NOT category_id:*"});
    assert_eq!(titles(&search(&server, request).await), ["lions", "one"]);
    let request = json!({"query": "lions", "filter": "title = nothing"});
    assert_eq!(search(&server, request).await, json!({}));
}

async fn search_after_a_write_sees_the_change(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let all = [of("alpha", "x", "first"), of("beta", "y", "second"), a_book("gamma")];
    create_all(&mut books, &all).await;
    let update = "BookService/UpdateBook";
    let changed = json!({"book": {"id": id(1), "title": "delta", "description": null},
        "update_mask": "title,description"});
    answer(&server, update, changed).await;
    for (query, wanted) in
        [("alpha", &[][..]), ("first", &[]), ("delta x", &["delta"]), ("second", &["beta"])]
    {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    let changed = json!({"book": {"id": id(2), "description": "third"}});
    answer(&server, update, changed).await;
    let changed = json!({"book": {"id": id(2), "author": "z"}});
    answer(&server, update, changed).await;
    for (query, wanted) in [("second OR y", &[][..]), ("third z", &["beta"])] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    // Fields outside the search, and texts written unchanged.
    let same =
        json!({"book": {"id": id(2), "title": "beta", "stock": 7}, "update_mask": "title,stock"});
    answer(&server, update, same).await;
    assert_eq!(found(&server, "beta third").await, ["beta"]);

    // A write that is rolled back is never found.
    let requests = json!([
        {"id": id(8), "book": a_book("epsilon")},
        {"id": id(9), "book": with(a_book("zeta"), json!({"category_id": id(404)}))},
    ]);
    refusal(&server, "BookService/BatchCreateBooks", json!({"requests": requests})).await;
    let requests = json!([
        {"book": {"id": id(2), "title": "eta"}},
        {"book": {"id": id(404), "title": "eta"}},
    ]);
    refusal(&server, "BookService/BatchUpdateBooks", json!({"requests": requests})).await;
    let requests = json!([{"id": id(2)}, {"id": id(404)}]);
    refusal(&server, "BookService/BatchDeleteBooks", json!({"requests": requests})).await;
    for (query, wanted) in [("epsilon OR zeta OR eta", &[][..]), ("beta", &["beta"])] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }

    answer(&server, "BookService/DeleteBook", json!({"id": id(2)})).await;
    assert_eq!(found(&server, "beta OR third OR delta").await, ["delta"]);
    // The same id again, with other words.
    let again = create(&id(2), a_book("theta"));
    books.create_book(again).await.expect("a book");
    assert_eq!(found(&server, "beta OR theta").await, ["theta"]);
}

/// A row inserted by SQL.
fn insert(number: u32, title: &str, engine: Engine) -> String {
    let key = match engine {
        Engine::Sqlite => format!("x'{}'", id(number).replace('-', "")),
        Engine::Postgres => format!("'{}'", id(number)),
    };
    format!(
        "INTO books (id, title, author, price_micros, currency_code)
         VALUES ({key}, '{title}', 'Anonymous', 0, 'EUR')"
    )
}

async fn search_finds_rows_inserted_by_sql(engine: Engine) {
    let server = TestServer::start(engine).await;
    let row = |number, title| insert(number, title, engine);
    for title in ["alpha", "beta", "gamma", "delta"] {
        let number =
            u32::try_from(title.len()).expect("a number") * 10 + u32::from(title.as_bytes()[0]);
        server.sql(&format!("INSERT {}", row(number, title))).await;
    }
    assert_eq!(found(&server, "anonymous").await, ["alpha", "beta", "delta", "gamma"]);
    server.sql("DELETE FROM books WHERE title = 'alpha'").await;
    server
        .sql("UPDATE books SET title = title || ' two', author = 'Known' WHERE title = 'beta'")
        .await;
    assert_eq!(found(&server, "known").await, ["beta two"]);
    assert_eq!(found(&server, "anonymous OR two").await, ["beta two", "delta", "gamma"]);
    let undone = "BEGIN; UPDATE books SET title = 'undone'; DELETE FROM books; ROLLBACK";
    server.sql(undone).await;
    assert_eq!(found(&server, "undone").await, Vec::<String>::new());
    assert_eq!(found(&server, "anonymous OR two").await, ["beta two", "delta", "gamma"]);

    if engine == Engine::Sqlite {
        // VACUUM gives books other rowids. REPLACE deletes a row without a trigger.
        server.sql("VACUUM").await;
        assert_eq!(found(&server, "gamma").await, ["gamma"]);
        server.sql(&format!("INSERT {}", row(1, "kappa"))).await;
        server.sql(&format!("INSERT OR REPLACE {}", row(1, "lambda"))).await;
        server.sql(&format!("INSERT {}", row(2, "my"))).await;
        server.sql(&format!("INSERT OR IGNORE {}", row(2, "ny"))).await;
        assert_eq!(found(&server, "lambda OR my").await, ["lambda", "my"]);
        assert_eq!(found(&server, "kappa OR ny").await, Vec::<String>::new());
        server.sql("UPDATE books SET id = randomblob(16) WHERE title = 'my'").await;
        assert_eq!(found(&server, "my").await, ["my"]);
        server.sql("DELETE FROM books").await;
        assert_eq!(found(&server, "anonymous OR known").await, Vec::<String>::new());
        let left = "SELECT count(*) FROM book_word_keys";
        assert_eq!(server.database().value(left).await, "0");
    }
}

async fn search_finds_rows_older_than_its_index(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let url = database.owner_url();
    let revisions = bookstore_tests::known_revisions();
    let before = revisions.iter().position(|name| name.ends_with("_index_words_of_books"));
    let before = before.expect("the revision").to_string();
    let migrate = async |arguments: &[&str]| {
        let finished = run(arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
    };
    migrate(&["migrate", "up", &before]).await;
    for (number, title) in [(2, "beta"), (1, "alpha"), (3, "gamma")] {
        database.sql(&format!("INSERT {}", insert(number, title, engine))).await;
    }
    database.sql("DELETE FROM books WHERE title = 'alpha'").await;
    migrate(&["migrate", "up"]).await;
    let server = TestServer::builder(engine).on(database.into()).start().await;
    assert_eq!(found(&server, "anonymous").await, ["beta", "gamma"]);
    server.sql("UPDATE books SET title = 'delta' WHERE title = 'beta'").await;
    assert_eq!(found(&server, "delta OR beta").await, ["delta"]);
}
