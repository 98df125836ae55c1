//! What rows that exist get in a new column, and when that is asked.

use bookstore_migration::{
    drift::Renames,
    generate::{Answers, source},
    session::Opener as _,
};
use bookstore_tests::{Engine, REVISIONS, on_every_engine, run, written};
use serde_json::json;
use tempfile::NamedTempFile;

use super::{
    generate::{Place, planned, proven},
    migrated,
};

on_every_engine!(
    a_fill_is_used_although_the_column_has_a_default,
    a_new_column_beside_a_rename_is_asked_for_its_value,
    a_renamed_table_loses_and_gets_columns_and_indexes,
);

fn fill(table: &str, column: &str, value: &str) -> Vec<(String, String, String)> {
    vec![(table.to_owned(), column.to_owned(), value.to_owned())]
}

async fn a_fill_is_used_although_the_column_has_a_default(engine: Engine) {
    let place = Place(migrated(engine).await);
    let collation = if engine == Engine::Postgres { "COLLATE \"C\"" } else { "" };
    let sql = format!(
        "ALTER TABLE \"categories\" ADD COLUMN \"slug\" text {collation} NOT NULL DEFAULT '-'"
    );
    let fills = fill("categories", "slug", "lower(\"name\")");
    let answers = Answers { fills, ..Answers::default() };
    let (from, to, plan) = planned(&place, &sql, &answers).await;
    proven(&place, &from, &to, &plan).await.expect("a proof");
    apply(&place, &plan.pairs).await;
    let count = async |of: &str| {
        place.0.value(&format!("SELECT count(*) FROM \"categories\" WHERE {of}")).await
    };
    assert_eq!(count("\"slug\" = lower(\"name\")").await, count("true").await);
    assert_ne!(count("true").await, "0");
    // A row that comes later gets the default.
    let id = "00000000-0000-0000-0000-00000000000a";
    let insert = format!("INSERT INTO \"categories\" (\"id\", \"name\") VALUES ('{id}', 'Later')");
    place.0.sql(&insert).await;
    assert_eq!(count("\"slug\" = '-'").await, "1");
}

/// Applies steps to the place's own database.
async fn apply(place: &Place, pairs: &[bookstore_migration::generate::Pair]) {
    let steps = source(&[(place.engine(), pairs.to_vec())]);
    let text = format!(
        "pub(super) fn revision() -> Revision {{\n    \
         Revision::new(\"m29990101_000001_change\", \"a change\")\n        \
         .up([\n{}        ])\n        .down([\n{}        ])\n}}\n",
        steps.up, steps.down
    );
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json!({"revisions": [written(&text)]}).to_string())
        .expect("the revisions");
    let url = place.0.owner_url();
    let path = file.path().to_str().expect("a path");
    let up = run(&["migrate", "up"], &[("DATABASE_URL", &url), (REVISIONS, path)]).await;
    assert_eq!(up.code, Some(0), "{up:?}\n{text}");
}

/// Another column of that name that is only a renamed one, in another table or before, and another
/// name of the table, take no question away.
async fn a_new_column_beside_a_rename_is_asked_for_its_value(engine: Engine) {
    let place = Place(migrated(engine).await);
    let column = |table: &str, old: &str, new: &str| {
        let mut renames = Renames::default();
        renames.columns.insert((table.to_owned(), old.to_owned()), new.to_owned());
        renames
    };
    let mut tables = Renames::default();
    tables.tables.insert("carts".to_owned(), "baskets".to_owned());
    for (rename, renames, [table, name]) in [
        (
            "\"posts\" RENAME COLUMN \"content\" TO \"slug\"",
            column("posts", "content", "slug"),
            ["users", "slug"],
        ),
        (
            "\"posts\" RENAME COLUMN \"content\" TO \"body\"",
            column("posts", "content", "body"),
            ["posts", "content"],
        ),
        ("\"carts\" RENAME TO \"baskets\"", tables, ["baskets", "code"]),
    ] {
        let add = format!("ALTER TABLE \"{table}\" ADD COLUMN \"{name}\" text NOT NULL");
        let sql = format!("ALTER TABLE {rename}; {add}");
        let answers = Answers { renames, ..Answers::default() };
        let (_, _, open) = planned(&place, &sql, &answers).await;
        let asks = format!("--fill '{table}.{name}=");
        let [question] = open.questions.as_slice() else { panic!("{sql}: {:?}", open.questions) };
        assert!(question.contains(&asks), "{question}");
        let answers = Answers { fills: fill(table, name, "'x'"), ..answers };
        let (from, to, plan) = planned(&place, &sql, &answers).await;
        let done = proven(&place, &from, &to, &plan).await;
        assert!(done.is_ok(), "{sql}: {done:?} {:#?}", plan.pairs);
    }
}

/// Steps for what the old table had use its old name, and those for what the new one has its new name.
async fn a_renamed_table_loses_and_gets_columns_and_indexes(engine: Engine) {
    let place = Place(migrated(engine).await);
    let drop = match engine {
        // With its CHECK and its index.
        Engine::Postgres => "ALTER TABLE \"volumes\" DROP COLUMN \"stock\"",
        Engine::Sqlite => "DROP INDEX \"books_stock_id_idx\"",
    };
    let sql = format!(
        "ALTER TABLE \"books\" RENAME TO \"volumes\"; {drop}; \
         ALTER TABLE \"volumes\" ADD COLUMN \"weight\" integer NOT NULL DEFAULT 7; \
         CREATE INDEX \"volumes_weight_id_idx\" ON \"volumes\" (\"weight\", \"id\")"
    );
    let mut renames = Renames::default();
    renames.tables.insert("books".to_owned(), "volumes".to_owned());
    let answers = Answers { renames, ..Answers::default() };
    let (from, to, plan) = planned(&place, &sql, &answers).await;
    assert_eq!(plan.questions, Vec::<String>::new());
    let done = proven(&place, &from, &to, &plan).await;
    assert!(done.is_ok(), "{done:?} {:#?}", plan.pairs);
}
