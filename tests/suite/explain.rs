//! `bookstore explain`: the statement of a list, its plan on either engine, and the advice.

use bookstore_tests::{Database, Engine, Finished, Origin, on_every_engine, run};

use crate::client::id;

on_every_engine!(
    explain_names_the_index_of_a_list,
    explain_advises_if_a_list_sorts_or_scans,
    explain_refuses_a_wrong_command_line,
);

async fn migrated(engine: Engine) -> Database {
    let database = Database::create(engine, Origin::Empty).await;
    let finished = run(&["migrate", "up"], &[("DATABASE_URL", &database.owner_url())]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    database
}

/// A database with so many books that PostgreSQL uses indexes.
async fn with_books(engine: Engine) -> Database {
    let database = migrated(engine).await;
    let sql = match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO books (id, title, author, price_micros, currency_code, stock)
             SELECT randomblob(16), 'Title ' || n, 'Author ' || n % 50, n, 'EUR', n % 1000 FROM n"
        }
        Engine::Postgres => {
            "INSERT INTO books (id, title, author, price_micros, currency_code, stock)
             SELECT gen_random_uuid(), 'Title ' || n, 'Author ' || n % 50, n, 'EUR', n % 1000
             FROM generate_series(1, 5000) AS n;
             ANALYZE books"
        }
    };
    database.sql(sql).await;
    database
}

async fn explain(database: &Database, arguments: &[&str]) -> Finished {
    let arguments = [&["explain"], arguments].concat();
    run(&arguments, &[("DATABASE_URL", &database.url())]).await
}

/// The output of a command that succeeds.
async fn explained(database: &Database, arguments: &[&str]) -> String {
    let finished = explain(database, arguments).await;
    assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
    assert_eq!(finished.errors, "", "{arguments:?}");
    finished.output
}

async fn explain_names_the_index_of_a_list(engine: Engine) {
    let database = with_books(engine).await;
    let no_advice = "advice:\n  none";
    for (arguments, index) in [
        (&["books"][..], "books_created_at_id_idx"),
        (&["books", "--order-by", "title desc"], "books_title_id_idx"),
        (
            &["books", "price >= 4990 AND price < 4995", "--order-by", "price"],
            "books_price_micros_id_idx",
        ),
        (&["books", "title = \"Title 77*\"", "--order-by", "title"], "books_title_"),
        (&["books", "--skip", "7", "--page-size", "3"], "books_created_at_id_idx"),
    ] {
        let text = explained(&database, arguments).await;
        assert!(text.contains(&format!("\nindexes: {index}")), "{arguments:?}:\n{text}");
        assert!(text.contains(no_advice), "{arguments:?}:\n{text}");
        assert!(text.starts_with("list: books"), "{text}");
        assert!(text.contains(r#"FROM "books""#) && text.contains("ORDER BY"), "{text}");
    }
    let limited = explained(&database, &["books", "--skip", "7", "--page-size", "3"]).await;
    assert!(limited.contains("LIMIT 4 OFFSET 7"), "{limited}");
    let ordered = explained(&database, &["books", "--order-by", "price desc"]).await;
    assert!(ordered.contains("\nfilter: none\norder: price desc, id desc\n"), "{ordered}");
    // The rows of items are found by the index that begins with the book.
    for (resource, index) in [
        ("orders", "order_items_book_id_order_id_idx"),
        ("carts", "cart_items_book_id_cart_id_idx"),
    ] {
        let filter = format!("items.book_id = {}", id(1));
        let text = explained(&database, &[resource, &filter]).await;
        // PostgreSQL reads an empty table whole.
        let is_empty = engine == Engine::Postgres && text.contains("Seq Scan");
        assert!(is_empty || text.contains(index), "{resource}:\n{text}");
    }
    if engine == Engine::Postgres {
        let text = explained(&database, &["books", "stock = 5", "--analyze"]).await;
        assert!(text.contains("(read 5 rows in ") && text.contains("execution time: "), "{text}");
    }
}

async fn explain_advises_if_a_list_sorts_or_scans(engine: Engine) {
    let database = with_books(engine).await;
    // SQLite has no CONCURRENTLY.
    let currency = match engine {
        Engine::Sqlite => "CREATE INDEX books_currency_code_author_id_idx ON books (currency",
        Engine::Postgres => {
            "CREATE INDEX CONCURRENTLY books_currency_code_author_id_idx ON books (currency"
        }
    };
    for (arguments, advice) in [
        (&["books", "price.currency_code = EUR", "--order-by", "author"][..], currency),
        (&["books", "--order-by", "author desc, title"], "(author DESC, title, id)"),
        (&["books", "description:river"], "No index serves the test of description."),
    ] {
        let text = explained(&database, arguments).await;
        let (_, advised) = text.split_once("\nadvice:\n").expect("the advice");
        assert!(advised.contains(advice), "{arguments:?}:\n{text}");
    }
    // The index that is advised, made by the text of the advice, ends the advice.
    let arguments = ["books", "price.currency_code = EUR", "--order-by", "author"];
    let text = explained(&database, &arguments).await;
    let (_, advised) = text.split_once("This index serves filter and order: ").expect("the advice");
    let (sql, _) = advised.split_once(". To keep it").expect("the end of the statement");
    database.sql(sql).await;
    let text = explained(&database, &arguments).await;
    assert!(text.contains("\nindexes: books_currency_code_author_id_idx"), "{text}");
    assert!(text.contains("advice:\n  none"), "{text}");
    if engine == Engine::Postgres {
        let text = explained(&database, &["users", "email = x"]).await;
        assert!(text.contains("rows"), "{text}");
    }
}

async fn explain_refuses_a_wrong_command_line(engine: Engine) {
    let database = migrated(engine).await;
    for (arguments, parts) in [
        (&["book"][..], &["RESOURCE: \"book\" has no list", "books, carts"][..]),
        (&["books", "isbn = 5"], &["FILTER: `isbn` can't be filtered by"]),
        (
            &["books", "price = ", "--order-by", "x"],
            &["FILTER: ", "--order-by: `x` can't be sorted by"],
        ),
        (&["books", "--page-size", "0"], &["--page-size"]),
        (&["books", "--skip", "10001"], &["--skip"]),
        (&[], &["RESOURCE"]),
    ] {
        let finished = explain(&database, arguments).await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        for part in parts {
            assert!(finished.errors.contains(part), "{arguments:?}: {}", finished.errors);
        }
        assert_eq!(finished.output, "");
    }
    if engine == Engine::Sqlite {
        let finished = explain(&database, &["books", "--analyze"]).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.errors.contains("--analyze: SQLite"), "{finished:?}");
    }
    // A database without the tables: the schema is named, and nothing is created.
    let empty = Database::create(engine, Origin::Empty).await;
    let finished = explain(&empty, &["books"]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.errors.contains("bookstore migrate up"), "{finished:?}");
    if let Database::Sqlite(file) = &empty {
        assert!(!file.path().exists(), "explain has created a database");
    }
}
