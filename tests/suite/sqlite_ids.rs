//! `deploy/sqlite/text-ids.sql`: temporary views that show SQLite's ids as texts.

use std::fs;

use bookstore_entity::schema::{On, tables};
use bookstore_tests::{Engine, TestServer};
use serde_json::json;

use crate::{
    client::{a_book, id},
    standard::answer,
    tidy,
};

const FILE: &str = "deploy/sqlite/text-ids.sql";

/// The file as the entities have it.
fn views() -> String {
    let mut text = "\
-- Views of the tables whose ids are texts, for a database browser and for sqlite3:
--
--   sqlite3 -init deploy/sqlite/text-ids.sql bookstore.db \"SELECT id, title FROM books_text\"
--
-- They are temporary: they are gone with the connection and change nothing in the database.
--
-- A condition on an id of a view reads the whole table, and a join of views is slow in a large file. A
-- condition on the table walks its index:
--
--   SELECT title FROM books WHERE id = unhex('01930000-0000-7000-8000-000000010020', '-');
--
-- unhex is there from SQLite 3.41 on. Before, write x'...' with the digits of the id.
"
    .to_owned();
    for table in tables() {
        let is_id = |type_name: &str| type_name == "{uuid}";
        if !table.columns.iter().any(|column| is_id(&column.type_name)) {
            continue;
        }
        let columns = table.columns.iter().filter(|column| column.is_on(On::Sqlite));
        let columns = columns.map(|column| {
            let name = &column.name;
            if !is_id(&column.type_name) {
                return format!("    \"{name}\"");
            }
            let parts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
            let parts =
                parts.map(|(at, length)| format!("substr(hex(\"{name}\"), {at}, {length})"));
            format!("    nullif(lower({}), '----') AS \"{name}\"", parts.join(" || '-' || "))
        });
        let columns = columns.collect::<Vec<_>>().join(",\n");
        let name = &table.name;
        text += &format!(
            "\nCREATE TEMP VIEW IF NOT EXISTS \"{name}_text\" AS SELECT\n{columns}\nFROM \"{name}\";\n"
        );
    }
    text
}

#[test]
fn file_with_views_is_that_of_the_entities() {
    let path = tidy::root().join(FILE);
    let wanted = views();
    if std::env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(&path, &wanted).expect("the file");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{FILE}: BOOKSTORE_WRITE_GOLDEN=1 writes it");
}

#[tokio::test]
async fn views_show_and_find_ids_as_texts() {
    let server = TestServer::start(Engine::Sqlite).await;
    let category = "01930000-0000-7000-8000-000000000003";
    let book = |number, category| {
        let mut book = a_book("x");
        book["category_id"] = category;
        json!({"id": id(number), "book": book})
    };
    for request in [book(1, json!(category)), book(2, json!(null))] {
        answer(&server, "BookService/CreateBook", request).await;
    }
    let database = server.database();
    let ask = async |sql: &str| database.sql(&format!("{}\n{sql}", views())).await;
    let rows = ask("SELECT id, category_id FROM books_text ORDER BY id").await;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [vec![some(&id(1)), some(category)], vec![some(&id(2)), None]]);
    let found = ask(&format!("SELECT title FROM books_text WHERE id = '{}'", id(2))).await;
    assert_eq!(found, [vec![some("x")]]);
    // The condition that the head of the file shows for a table.
    let of_table = format!("SELECT title FROM books WHERE id = unhex('{}', '-')", id(2));
    assert_eq!(database.value(&of_table).await, "x");
    let left = database.value("SELECT count(*) FROM sqlite_schema WHERE type = 'view'").await;
    assert_eq!(left, "0", "the views are temporary");
    // Every view can be read.
    for table in tables() {
        if views().contains(&format!("\"{}_text\"", table.name)) {
            ask(&format!("SELECT * FROM \"{}_text\"", table.name)).await;
        }
    }
}
