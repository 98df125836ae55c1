//! Rebuilt tables of SQLite keep everything that the rebuild doesn't name.

use bookstore_tests::{Database, Engine, Origin, catalog};
use serde_json::{Value, json};

use super::{Migrator, migrated};

fn one(up: &Value, down: &Value) -> Value {
    json!({"revisions": [{"name": "m29990101_000002_two", "up": up, "down": down}]})
}

/// alembic#1846: constraints without a name were dropped, and success was reported.
#[tokio::test]
async fn table_rebuild_keeps_unnamed_constraints() {
    let database = migrated(Engine::Sqlite).await;
    let vouchers = "CREATE TABLE \"vouchers\" (
    \"id\" integer NOT NULL PRIMARY KEY,
    \"code\" text NOT NULL UNIQUE CHECK (\"code\" <> ''),
    \"percent\" integer NOT NULL CHECK (\"percent\" BETWEEN 1 AND 100),
    \"amount\" bigint NOT NULL DEFAULT 0,
    \"spent\" bigint NOT NULL DEFAULT 0,
    CHECK (\"spent\" <= \"amount\")
);";
    let revisions = |changes: Value, back: Value| {
        json!({"revisions": [
            {"name": "m29990101_000001_one", "up": [{"sqlite": vouchers}], "down": [{"sqlite": "DROP TABLE vouchers"}]},
            {"name": "m29990101_000002_two", "up": [{"rebuild": {"table": "vouchers", "changes": changes}}],
             "down": [{"rebuild": {"table": "vouchers", "changes": back}}]},
        ]})
    };
    let lossy = revisions(json!([["change column", "code", "\"code\" text"]]), json!([]));
    let errors = Migrator::new(&database, &lossy).fails(&["up"], 1).await;
    assert!(errors.contains("lacks UNIQUE") && errors.contains("rolled back"), "{errors}");
    let nullable = revisions(json!([["drop not null", "code"]]), json!([["set not null", "code"]]));
    let migrator = Migrator::new(&database, &nullable);
    let before = catalog(&database).await;
    migrator.ok(&["up"]).await;
    database
        .sql("INSERT INTO vouchers (code, percent) VALUES ('a', 1), (NULL, 2), (NULL, 3)")
        .await;
    for broken in ["('b', 200, 0, 0)", "('b', 1, 1, 2)", "('a', 1, 0, 0)", "('', 1, 0, 0)"] {
        let sql = format!("INSERT INTO vouchers (code, percent, amount, spent) VALUES {broken}");
        assert!(database.try_sql(&sql).await.is_err(), "{broken}");
    }
    assert_eq!(database.value("SELECT count(*) FROM vouchers").await, "3");
    database.sql("DELETE FROM vouchers WHERE code IS NULL").await;
    migrator.ok(&["down", "-1", "--yes"]).await;
    assert_eq!(catalog(&database).await, before);
    assert_eq!(database.value("SELECT count(*) FROM vouchers").await, "1");
}

async fn counts(database: &Database) -> Vec<String> {
    let mut counts = Vec::new();
    for table in [
        "users",
        "carts",
        "cart_items",
        "books",
        "categories",
        "reviews",
        "posts",
        "book_word_keys",
        "book_words_docsize",
    ] {
        counts.push(format!(
            "{table} {}",
            database.value(&format!("SELECT count(*) FROM {table}")).await
        ));
    }
    counts
}

async fn fill(database: &Database) {
    database
        .sql(
            "INSERT INTO users (id, email, username, full_name, password_hash) VALUES (x'01', 'a@b', 'a', 'A', 'x');
             INSERT INTO books (id, title, author, price_micros, currency_code, category_id)
                SELECT id, name, 'Somebody', 1, 'EUR', id FROM categories;
             INSERT INTO carts (id, user_id) VALUES (x'02', x'01');
             INSERT INTO cart_items (id, cart_id, book_id, quantity) SELECT id, x'02', id, 1 FROM books;
             INSERT INTO reviews (id, user_id, book_id, rating) SELECT id, x'01', id, 3 FROM books;
             INSERT INTO posts (id, title, content, author_id) VALUES (x'03', 't', 'c', x'01');",
        )
        .await;
}

/// rails#55866: rebuilding a parent deleted its children.
#[tokio::test]
async fn table_rebuild_keeps_referencing_rows() {
    let database = migrated(Engine::Sqlite).await;
    fill(&database).await;
    let (rows, schema) = (counts(&database).await, catalog(&database).await);
    let rebuild =
        |table: &str, change: Value| json!({"rebuild": {"table": table, "changes": [change]}});
    // Parents, the table of the search's triggers, and the table that the triggers name.
    let up = json!([
        rebuild(
            "users",
            json!(["add constraint", "CONSTRAINT \"users_bio_check2\" CHECK (\"bio\" <> 'x')"])
        ),
        rebuild("carts", json!(["add column", "\"note\" text", null])),
        rebuild("categories", json!(["add column", "\"note\" text", "'n'"])),
        rebuild("books", json!(["add column", "\"note\" text", "\"title\""])),
        rebuild("book_word_keys", json!(["add column", "\"note\" text", null])),
    ]);
    let down = json!([
        rebuild("book_word_keys", json!(["drop column", "note"])),
        rebuild("books", json!(["drop column", "note"])),
        rebuild("categories", json!(["drop column", "note"])),
        rebuild("carts", json!(["drop column", "note"])),
        rebuild("users", json!(["drop constraint", "users_bio_check2"])),
    ]);
    let migrator = Migrator::new(&database, &one(&up, &down));
    migrator.ok(&["up"]).await;
    assert_eq!(counts(&database).await, rows);
    assert_eq!(
        database
            .value("SELECT count(*) FROM books WHERE note = title AND category_id IS NOT NULL")
            .await,
        "5"
    );
    let found = "SELECT count(*) FROM book_words WHERE book_words MATCH 'fiction'";
    assert_eq!(database.value(found).await, "2", "triggers and the search's rows are as before");
    database.sql("UPDATE books SET title = 'Dragons' WHERE title = 'Fiction'").await;
    assert_eq!(database.value(found).await, "1", "the triggers work");
    let errors = migrator.fails(&["down", "--yes"], 5).await;
    assert!(errors.contains("books.note (5 rows)"), "{errors}");
    migrator.ok(&["down", "--yes", "--allow-data-loss"]).await;
    assert_eq!(counts(&database).await, rows);
    assert_eq!(catalog(&database).await, schema);
    assert_eq!(database.value("PRAGMA foreign_key_check; SELECT 'none'").await, "none");
}

/// Foreign keys are off during a rebuild; a row that violates them must not be committed.
#[tokio::test]
async fn table_rebuild_with_dangling_references_is_rolled_back() {
    let database = migrated(Engine::Sqlite).await;
    fill(&database).await;
    let (rows, schema) = (counts(&database).await, catalog(&database).await);
    let up = json!([
        {"rebuild": {"table": "users", "changes": [["add column", "\"note\" text", null]]}},
        {"sqlite": "DELETE FROM users"},
    ]);
    let migrator = Migrator::new(&database, &one(&up, &json!([])));
    let errors = migrator.fails(&["up"], 1).await;
    let parts = ["point nowhere", "posts", "to users", "rolled back"];
    assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
    assert_eq!((counts(&database).await, catalog(&database).await), (rows, schema));
}

/// A revision after a rebuild has its references looked after, as the service has.
#[tokio::test]
async fn foreign_keys_are_on_after_a_rebuild() {
    let database = migrated(Engine::Sqlite).await;
    fill(&database).await;
    let rows = counts(&database).await;
    let rebuild =
        json!({"rebuild": {"table": "users", "changes": [["add column", "\"note\" text", null]]}});
    let back = json!({"rebuild": {"table": "users", "changes": [["drop column", "note"]]}});
    let revisions = json!({"revisions": [
        {"name": "m29990101_000001_one", "up": [rebuild], "down": [back]},
        {"name": "m29990101_000002_two", "up": [{"sqlite": "DELETE FROM users"}], "down": []},
    ]});
    let migrator = Migrator::new(&database, &revisions);
    let output = migrator.fails(&["up"], 1).await;
    let parts = ["m29990101_000002_two", "FOREIGN KEY constraint failed", "rolled back"];
    assert!(parts.iter().all(|part| output.contains(part)), "{output}");
    assert_eq!(counts(&database).await, rows);
    assert_eq!(migrator.ok(&["current"]).await, "m29990101_000001_one\n");
}

/// SQLite's AUTOINCREMENT numbers.
#[tokio::test]
async fn table_rebuild_keeps_the_autoincrement_sequence() {
    let database = Database::create(Engine::Sqlite, Origin::Empty).await;
    let revisions = json!({"revisions": [
        {"name": "m29990101_000001_one",
         "up": [{"sqlite": "CREATE TABLE t (id integer PRIMARY KEY AUTOINCREMENT, a text); INSERT INTO t (a) VALUES ('x'), ('y'); DELETE FROM t"}],
         "down": [{"sqlite": "DROP TABLE t"}]},
        {"name": "m29990101_000002_two", "up": [{"rebuild": {"table": "t", "changes": [["set not null", "a"]]}}],
         "down": [{"rebuild": {"table": "t", "changes": [["drop not null", "a"]]}}]},
    ]});
    Migrator::new(&database, &revisions).ok(&["up"]).await;
    assert_eq!(database.value("INSERT INTO t (a) VALUES ('z') RETURNING id").await, "3");
}
