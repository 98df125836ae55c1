//! The worked examples of docs/coming-from-sqlalchemy.md.

use bookstore_tests::{Engine, catalog, known_revisions, on_every_engine};
use serde_json::json;

use super::{Migrator, migrated};

on_every_engine!(documented_examples_apply_and_revert);

const PAGE: &str = include_str!("../../../docs/coming-from-sqlalchemy.md");
const SOURCE: &str = include_str!("../../src/examples.rs");

/// A text without indentation, since the page may have another one.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn migration_page_contains_the_text_of_the_examples() {
    let page = lines(PAGE).join("\n");
    let mut count = 0;
    for part in SOURCE.split("// example: ").skip(1) {
        let (title, rest) = part.split_once('\n').expect("a title");
        let (code, _) = rest.split_once("// end").expect("an end");
        assert!(page.contains(&lines(code).join("\n")), "{title} differs on the page");
        count += 1;
    }
    assert_eq!(count, 8);
}

async fn documented_examples_apply_and_revert(engine: Engine) {
    let database = migrated(engine).await;
    let before = catalog(&database).await;
    let id = |number: u32| match engine {
        Engine::Sqlite => format!("X'{number:032x}'"),
        Engine::Postgres => format!("'00000000-0000-0000-0000-{number:012x}'"),
    };
    let user = format!(
        "INSERT INTO users (id, email, username, full_name, password_hash, bio) \
         VALUES ({}, 'a@b', 'a', 'A', 'x', 'a life')",
        id(1)
    );
    database.sql(&user).await;
    for number in 2..6 {
        let post = format!(
            "INSERT INTO posts (id, title, content, author_id) VALUES ({}, 'The Post {number}', 'c', {})",
            id(number),
            id(1)
        );
        database.sql(&post).await;
        database
            .sql(&format!(
                "INSERT INTO items (id, name, status) VALUES ({}, 'same', 'NEW')",
                id(number)
            ))
            .await;
    }
    let migrator = Migrator::new(&database, &json!({"examples": true}));
    migrator.ok(&["up"]).await;
    assert_eq!(database.value("SELECT count(*) FROM items").await, "1");
    assert_eq!(
        database.value("SELECT count(*) FROM posts WHERE slug LIKE 'the-post-%'").await,
        "4"
    );
    assert_eq!(database.value("SELECT bio FROM user_profiles").await, "a life");
    let null = format!(
        "INSERT INTO posts (id, title, content, author_id) VALUES ({}, 't', 'c', {})",
        id(9),
        id(1)
    );
    assert!(database.try_sql(&null).await.is_err(), "posts.slug is required");
    assert_eq!(database.value("SELECT count(*) FROM categories WHERE name = 'Poetry'").await, "1");
    let head = known_revisions().pop().expect("a revision");
    migrator.ok(&["down", &head, "--yes", "--allow-data-loss"]).await;
    assert_eq!(database.value("SELECT bio FROM users").await, "a life");
    let sorted = |mut rows: Vec<bookstore_tests::Row>| {
        // A column that is added again becomes the last one.
        rows.retain(|row| !row.iter().flatten().any(|cell| cell.contains("users")));
        rows
    };
    assert_eq!(sorted(catalog(&database).await), sorted(before));
    migrator.ok(&["up"]).await;
}
