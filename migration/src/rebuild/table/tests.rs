//! Edits of CREATE TABLE texts.

use super::*;
use crate::revision::Rebuild;

const TEXT: &str = "CREATE TABLE \"a\" (\n    \"id\" uuid_text NOT NULL, -- the key, \"x\"\n    \
    \"b\" varchar(3, 4) DEFAULT 'x, y' CHECK (\"b\" <> ')'),\n    \"c\" text AS (\"b\"),\n    \
    CONSTRAINT \"a_pkey\" PRIMARY KEY (\"id\"),\n    CHECK (\"b\" <> \"id\")\n) STRICT";

fn edited(rebuild: &Rebuild) -> Result<String, String> {
    let mut table = TableDefinition::parse(TEXT)?;
    for change in &rebuild.changes {
        table.apply(change)?;
    }
    table.create("a")
}

#[test]
fn unnamed_parts_stay_byte_for_byte() {
    assert_eq!(edited(&Rebuild::of("a")).as_deref(), Ok(TEXT));
    let there_and_back = Rebuild::of("a")
        .add_column("\"d\" integer", None)
        .add_constraint("CONSTRAINT \"a_d_check\" CHECK (\"d\" > 0)")
        .set_not_null("b")
        .drop_not_null("b")
        .drop_constraint("a_d_check")
        .drop_column("d");
    assert_eq!(edited(&there_and_back).as_deref(), Ok(TEXT));
}

#[test]
fn columns_are_added_behind_the_last_and_filled() {
    let mut table = TableDefinition::parse(TEXT).expect("a table");
    let names = |table: &TableDefinition| -> Vec<(String, Option<String>)> {
        table.columns().iter().map(|one| (one.name.clone(), one.value.clone())).collect()
    };
    let own = |name: &str| (name.to_owned(), Some(format!("\"{name}\"")));
    assert_eq!(names(&table), [own("id"), own("b")], "a generated column isn't inserted");
    let changes = Rebuild::of("a")
        .add_column("\"d\" integer NOT NULL", Some("length(\"b\")"))
        .change_column("b", "\"e\" text CHECK (\"e\" <> '')")
        .copy("id", "lower(\"id\")");
    for change in &changes.changes {
        table.apply(change).expect("a change");
    }
    let expected = [
        ("id".to_owned(), Some("lower(\"id\")".to_owned())),
        ("e".to_owned(), Some("\"b\"".to_owned())),
        ("d".to_owned(), Some("length(\"b\")".to_owned())),
    ];
    assert_eq!(names(&table), expected);
    let text = table.create("n").expect("a text");
    assert!(text.starts_with("CREATE TABLE \"n\" (\n"), "{text}");
    assert!(text.contains("\"c\" text AS (\"b\"),\n    \"d\" integer NOT NULL,\n"), "{text}");
}

#[test]
fn constraints_of_a_column_are_dropped_only_if_named() {
    let lost = edited(&Rebuild::of("a").change_column("b", "\"b\" text"));
    assert!(lost.expect_err("refused").contains("CHECK"));
    assert!(edited(&Rebuild::of("a").replace_column("b", "\"b\" text")).is_ok());
}

#[test]
fn not_null_is_set_before_the_other_clauses() {
    let text = edited(&Rebuild::of("a").set_not_null("b").drop_not_null("id")).expect("a text");
    assert!(text.contains("\"b\" varchar(3, 4) NOT NULL DEFAULT 'x, y'"), "{text}");
    assert!(text.contains("\"id\" uuid_text, -- the key"), "{text}");
}

#[test]
fn a_missing_part_is_reported() {
    let refused = |rebuild: Rebuild| edited(&rebuild).expect_err("refused");
    assert!(refused(Rebuild::of("a").drop_column("x")).contains("no column x"));
    assert!(refused(Rebuild::of("a").drop_constraint("x")).contains("no constraint x"));
    assert!(TableDefinition::parse("CREATE VIRTUAL TABLE a USING fts5 (b)").is_err());
}
