//! `bookstore explain`: the statement of a list, its plan on either engine, and the advice.

use std::process::Stdio;

use bookstore_tests::{
    Database, Engine, Finished, Origin, SOON, on_every_engine, program, run, until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::id;

on_every_engine!(
    explain_names_the_index_of_a_list,
    explain_advises_if_a_list_sorts_or_scans,
    explain_advises_no_index_that_is_there,
    explain_refuses_a_wrong_command_line,
    explain_tells_why_the_database_does_not_answer,
    explain_cancels_its_statement_at_a_signal except sqlite,
    explain_tells_of_a_table_never_analyzed except sqlite,
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
        (&["books", "--analyse"][..], &["unexpected argument '--analyse'", "'--analyze'"][..]),
        (&["books", "--orderby=price"], &["unexpected argument '--orderby'", "'--order-by'"]),
        (&["books", "-isbn = 5"], &["unexpected argument '-i'", "use '-- -i"]),
        (&["books", "--", "-isbn = 5"], &["FILTER: `isbn` can't be filtered by"]),
        (&["book"], &["RESOURCE: \"book\" has no list", "books, carts"]),
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

async fn explain_advises_no_index_that_is_there(engine: Engine) {
    let database = with_books(engine).await;
    let advised = async |arguments: &[&str]| {
        let text = explained(&database, arguments).await;
        text.split_once("\nadvice:\n").expect("the advice").1.to_owned()
    };
    // An index gives the order of the first field.
    let partial = advised(&["books", "--order-by", "title, stock"]).await;
    assert!(partial.contains("(title, stock, id)"), "{partial}");
    if engine == Engine::Postgres {
        assert!(partial.contains("sorts only rows that are equal"), "{partial}");
        assert!(!partial.contains("sorts all rows"), "{partial}");
    }
    // The order has an index, and the bounds are those of another field.
    let other = advised(&["books", "price > 0.001", "--order-by", "title"]).await;
    assert!(!other.contains("CREATE INDEX"), "{other}");
    assert!(other.contains("With --order-by price the list"), "{other}");
    let update = advised(&["books", "update_time >= \"2026-01-01T00:00:00Z\""]).await;
    assert!(!update.contains("CREATE INDEX"), "{update}");
    // No index is advised again once it is there, whatever the plan is.
    let arguments = ["books", "price.currency_code = EUR", "--order-by", "stock desc, author"];
    let text = advised(&arguments).await;
    let (_, sql) = text.split_once("filter and order: ").expect("an index");
    let (sql, _) = sql.split_once(". To keep it").expect("the end of the statement");
    assert!(sql.contains("(currency_code, stock DESC, author, id)"), "{sql}");
    database.sql(sql).await;
    let text = advised(&arguments).await;
    assert!(!text.contains("CREATE INDEX"), "{text}");
}

async fn explain_tells_why_the_database_does_not_answer(engine: Engine) {
    let database = migrated(engine).await;
    let cases = match &database {
        Database::Sqlite(_) => {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), vec![b'x'; 8192]).expect("a file");
            let (_, path) = file.keep().expect("a file");
            vec![(format!("sqlite://{}?mode=rw", path.display()), "is not a SQLite database")]
        }
        Database::Postgres(postgres) => {
            let url = database.url();
            let (server, name) = url.rsplit_once('/').expect("a database");
            let (_, address) = server.rsplit_once('@').expect("an address");
            let (host, _) = address.rsplit_once(':').expect("a port");
            database.sql("CREATE ROLE explain_without_rights LOGIN").await;
            vec![
                (format!("{server}/no_such_database"), "no_such_database"),
                (format!("postgres://no_such_role@{address}/{name}"), "no_such_role"),
                (format!("postgres://x@{host}:1/{name}"), "refused"),
                (postgres.url("explain_without_rights"), "permission denied"),
            ]
        }
    };
    for (url, cause) in cases {
        let finished = run(&["explain", "books"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(1), "{url}: {finished:?}");
        assert!(finished.errors.contains(cause), "{url}: {finished:?}");
        if let Some(path) = url.strip_prefix("sqlite://") {
            let path = path.split('?').next().expect("a path");
            std::fs::remove_file(path).expect("the file");
        }
    }
}

async fn explain_cancels_its_statement_at_a_signal(engine: Engine) {
    let database = migrated(engine).await;
    let Database::Postgres(postgres) = &database else { panic!("PostgreSQL") };
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
                   AND state = 'active' AND wait_event_type = 'Lock'";
    let waits = async |count: &str| database.value(waiting).await == count;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut locker = postgres.connect().await;
        sqlx::raw_sql("BEGIN; LOCK TABLE books").execute(&mut locker).await.expect("a lock");
        let mut command = tokio::process::Command::new(program());
        command.args(["explain", "books", "--analyze"]).env_clear();
        command.env("DATABASE_URL", database.url()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().expect("the program under test starts");
        until("the statement waits for the lock", SOON, async || waits("1").await).await;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("a running process"), signal).expect("a signal");
        let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
        let output = output.expect("its end in time").expect("its end");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains("interrupted: the statement was cancelled"), "{errors}");
        // The lock is still held, so the statement has not ended by itself.
        assert!(waits("0").await, "{signal:?}: the statement still runs");
        sqlx::raw_sql("ROLLBACK").execute(&mut locker).await.expect("a rollback");
    }
}

async fn explain_tells_of_a_table_never_analyzed(engine: Engine) {
    let database = migrated(engine).await;
    let text = explained(&database, &["orders", "--order-by", "total"]).await;
    assert!(text.starts_with("list: orders (never analyzed)\n"), "{text}");
    let (_, advised) = text.split_once("\nadvice:\n").expect("the advice");
    assert!(advised.contains("Run ANALYZE orders"), "{text}");
    database.sql("ANALYZE orders").await;
    let text = explained(&database, &["orders", "--order-by", "total"]).await;
    assert!(text.starts_with("list: orders (about 0 rows)\n"), "{text}");
}
