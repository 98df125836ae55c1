//! Searches for prefixes, for words without their accents, and for the forms of English words: the
//! same books on both engines.

use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine, run};
use serde_json::json;

use super::{found, insert, of};
use crate::{
    client::{books, create_all},
    standard::refusal,
};

on_every_engine!(
    search_finds_words_by_their_beginning,
    search_finds_accented_words_without_accents,
    search_finds_the_forms_of_english_words,
    search_finds_accented_rows_older_than_the_revision,
);

async fn search_finds_words_by_their_beginning(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all = [
        of("River", "Rivera", "of the north"),
        of("Rivers of ice", "Ann", "the river bends"),
        of("Arrival", "Ann", "at the riverside"),
        of("Rivet", "Bo", "steel"),
        of("東京タワー", "Bo", "steel"),
    ];
    create_all(&mut books(&server), &all).await;
    for (query, wanted) in [
        ("riv*", &["Arrival", "River", "Rivers of ice", "Rivet"][..]),
        ("RIVER*", &["Arrival", "River", "Rivers of ice"]),
        ("rivers*", &["Arrival", "Rivers of ice"]),
        ("river", &["River", "Rivers of ice"]),
        ("riv* -steel", &["Arrival", "River", "Rivers of ice"]),
        ("ann -rivers*", &[]),
        ("\"the river*\"", &["Arrival", "Rivers of ice"]),
        ("\"the riv\"", &[]),
        ("of-th*", &["River"]),
        ("ste* OR nor*", &["River", "Rivet", "東京タワー"]),
        ("東*", &["東京タワー"]),
        ("riv* * rivet", &["Rivet"]),
        ("xyz*", &[]),
    ] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    for query in ["r*", "river É*", "-x*", "\"the r*\"", "riv**", "*riv", "r*v", "\"riv\"*"] {
        let refused = refusal(&server, super::SEARCH, json!({"query": query})).await;
        refused.is_invalid(&["query"]);
    }
}

async fn search_finds_accented_words_without_accents(engine: Engine) {
    let server = TestServer::start(engine).await;
    let all = [
        of("Étude", "Łukasz Ågren", "piano"),
        of("e\u{301}tude two", "Øystein", "straße"),
        of("Etude three", "Lukasz", "Việt Nam"),
    ];
    create_all(&mut books(&server), &all).await;
    let both = &["Etude three", "e\u{301}tude two", "Étude"][..];
    for (query, wanted) in [
        ("etude", both),
        ("ÉTUDE", both),
        ("e\u{301}tude", both),
        ("étu*", both),
        ("\"etude two\"", &["e\u{301}tude two"]),
        ("etude -étude", &[]),
        ("agren", &["Étude"]),
        ("viet nam", &["Etude three"]),
        // No accents: letters of their own.
        ("oystein", &[]),
        ("øystein", &["e\u{301}tude two"]),
        ("łukasz", &["Étude"]),
        ("lukasz", &["Etude three"]),
        ("strasse", &[]),
    ] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    // A changed row loses its old words.
    let sql = "UPDATE books SET title = 'Cañón' WHERE title = 'Étude'";
    server.sql(sql).await;
    assert_eq!(found(&server, "canon").await, ["Cañón"]);
    assert_eq!(found(&server, "étude piano").await, Vec::<String>::new());
    server.sql("DELETE FROM books WHERE title = 'Cañón'").await;
    assert_eq!(found(&server, "canon OR agren").await, Vec::<String>::new());
}

async fn search_finds_the_forms_of_english_words(engine: Engine) {
    let simple = TestServer::start(engine).await;
    let english = TestServer::builder(engine).on(simple.database());
    let english = english.env("SEARCH_LANGUAGE", "english").start().await;
    let all = [
        of("River", "x", "studies"),
        of("Rivers", "x", "studied happily"),
        of("Riverside", "x", "study"),
        of("Running", "x", "happiness"),
        of("Runs", "x", "the"),
        of("The nation's governments", "x", "dependencies discovered while installing"),
        of("Mice", "x", "O'Brien"),
    ];
    create_all(&mut books(&simple), &all).await;
    for (query, by_letters, by_stems) in [
        ("rivers", &["Rivers"][..], &["River", "Rivers"][..]),
        ("river", &["River"], &["River", "Rivers"]),
        ("run", &[], &["Running", "Runs"]),
        ("studying", &[], &["River", "Rivers", "Riverside"]),
        ("happy", &[], &["Running"]),
        ("study -river", &["Riverside"], &["Riverside"]),
        ("the -nation", &["Runs"], &["Runs"]),
        ("government", &[], &["The nation's governments"]),
        ("dependency discover installation", &[], &["The nation's governments"]),
        ("nation's", &["The nation's governments"], &["The nation's governments"]),
        ("nations", &[], &["The nation's governments"]),
        ("government's", &[], &["The nation's governments"]),
        ("o'brien", &["Mice"], &["Mice"]),
        // Irregular forms have stems of their own.
        ("mouse", &[], &[]),
        // Quotes and stars search for what they say.
        ("\"rivers\"", &["Rivers"], &["Rivers"]),
        ("rivers*", &["Rivers", "Riverside"], &["Rivers", "Riverside"]),
        ("studied-happily", &["Rivers"], &["Rivers"]),
    ] {
        assert_eq!(found(&simple, query).await, by_letters, "simple: {query}");
        assert_eq!(found(&english, query).await, by_stems, "english: {query}");
    }
    // Rows that SQL writes have their forms at once.
    simple.sql(&format!("INSERT {}", insert(99, "Runner on rivers", engine))).await;
    assert_eq!(found(&english, "river anonymous").await, ["Runner on rivers"]);
    let most = vec!["relational"; 32].join(" ");
    assert_eq!(found(&english, &most).await, Vec::<String>::new());
}

async fn search_finds_accented_rows_older_than_the_revision(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let url = database.owner_url();
    let migrate = async |arguments: &[&str]| {
        let finished = run(arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
    };
    let (accents, before) =
        ("m20261127_000011_find_words_without_accents", "m20261127_000010_index_items_by_book");
    migrate(&["migrate", "up", before]).await;
    for (number, title) in [(1, "Étude"), (2, "Plain"), (3, "Cañón"), (4, "Gone")] {
        database.sql(&format!("INSERT {}", insert(number, title, engine))).await;
    }
    database.sql("DELETE FROM books WHERE title = 'Gone'").await;
    // Up, down and up again: the index has the words of the revision that it is at.
    migrate(&["migrate", "up", accents]).await;
    migrate(&["migrate", "down", before, "--yes"]).await;
    if engine == Engine::Postgres {
        let words = "SELECT words::text FROM books WHERE title = 'Étude'";
        assert!(database.value(words).await.contains("'étude'"));
    }
    migrate(&["migrate", "up"]).await;
    let server = TestServer::builder(engine).on(database.into()).start().await;
    for (query, wanted) in [
        ("etude", &["Étude"][..]),
        ("étude", &["Étude"]),
        ("canon", &["Cañón"]),
        ("anonymous", &["Cañón", "Plain", "Étude"]),
    ] {
        assert_eq!(found(&server, query).await, wanted, "{query}");
    }
    server.sql("UPDATE books SET title = 'Élan' WHERE title = 'Étude'").await;
    assert_eq!(found(&server, "elan OR etude").await, ["Élan"]);
}
