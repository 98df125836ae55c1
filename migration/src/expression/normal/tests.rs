//! Spellings of one meaning have one form, other meanings have another.

use super::super::{ColumnType, Engine, Scope, normal_form};

fn scope() -> Scope {
    let column = |type_name: &str, collation: Option<&str>| ColumnType {
        type_name: type_name.to_owned(),
        collation: collation.map(str::to_owned),
    };
    let columns = [
        ("name", column("text", Some("C"))),
        ("code", column("character varying(3)", Some("C"))),
        ("label", column("character varying", None)),
        ("price", column("bigint", None)),
        ("rate", column("double precision", None)),
        ("open", column("boolean", None)),
        ("due", column("timestamp with time zone", None)),
    ];
    let columns = columns.map(|(name, column)| (name.to_owned(), column)).into();
    Scope { columns, ..Scope::default() }
}

fn same(engine: Engine, spellings: &[&str]) {
    let forms: Vec<String> =
        spellings.iter().map(|text| normal_form(engine, text, &scope())).collect();
    for (form, text) in forms.iter().zip(spellings) {
        assert_eq!(form, &forms[0], "{text} is {}", spellings[0]);
    }
}

fn differ(engine: Engine, spellings: &[&str]) {
    for (at, one) in spellings.iter().enumerate() {
        for other in &spellings[at + 1..] {
            let form = |text| normal_form(engine, text, &scope());
            assert_ne!(form(one), form(other), "{one} and {other}");
        }
    }
}

#[test]
fn postgres_spellings_of_one_meaning() {
    for spellings in [
        &[
            "((length(name) >= 1) AND (length(name) <= 20))",
            "length(name) BETWEEN 1 AND 20",
            "20 >= char_length(name) AND (1)::bigint <= length(name)",
            "NOT (length(name) < 1 OR length(name) > 20)",
        ][..],
        &[
            "(name = ANY (ARRAY['A'::text, 'B'::text]))",
            "((name)::text = ANY ((ARRAY['B'::character varying, 'A'::character varying])::text[]))",
            "name IN ('B', 'A', 'B')",
            "name = 'B'::text OR 'A'::text = name",
            "name = ANY ('{A,B}'::text[])",
        ],
        &["now()", "CURRENT_TIMESTAMP", "transaction_timestamp()", "pg_catalog.now()"],
        &["'USER'::text", "'USER'::character varying", "('USER'::varchar)::text"],
        &["true", "'yes'::boolean", "'t'::bool", "'on'::boolean"],
        &["(rate >= (1)::double precision)", "rate >= 1.0", "'1'::double precision <= rate"],
        &["NULL::text", "NULL", "NULL::character varying"],
        &["open", "open = true", "NOT (open = false)", "open <> false"],
        &["price <> ALL (ARRAY[1, 2])", "price NOT IN (2, 1)", "price <> 1 AND price <> 2"],
        &["(label)::text ~~ 'a%'::text", "label LIKE 'a%'"],
        &["name COLLATE \"C\"", "name"],
        &["'-5'::integer", "-5", "(-5)::bigint"],
    ] {
        same(Engine::Postgres, spellings);
    }
}

#[test]
fn postgres_meanings_that_differ() {
    for meanings in [
        &["length(name) > 1", "length(name) >= 1", "length(name) < 1", "1 > 0"][..],
        &["now()", "clock_timestamp()", "statement_timestamp()", "LOCALTIMESTAMP"],
        &["name = 'a'", "name = 'A'", "name <> 'a'", "code = 'a'"],
        &["name IN ('a', 'b')", "name IN ('a')", "name NOT IN ('a', 'b')"],
        &["price / 2", "price / 2::numeric", "2 / price"],
        &["(price)::text < '9'", "price < 9"],
        &["(code)::character(3) = 'abc'", "code = 'abc'"],
        &["name COLLATE \"en_US\"", "name"],
        &["price IS NULL", "price IS NOT NULL"],
        &["a AND b OR c", "a AND (b OR c)"],
        &["price - 1", "1 - price"],
        &["'1'", "1"],
    ] {
        differ(Engine::Postgres, meanings);
    }
}

#[test]
fn sqlite_spellings_and_meanings() {
    for spellings in [
        &["length(\"name\") BETWEEN 1 AND 20", "LENGTH(name)>=1 and length([name])<=20"][..],
        &["(1)", "1", "TRUE", "((true))", "+1"],
        &["\"name\" IN ('A', 'B')", "name == 'B' OR name = 'A'", "name IN (\"A\", \"B\")"],
        &["name ISNULL", "name IS NULL", "NOT (name NOTNULL)", "NOT (name NOT NULL)"],
        &["CAST(\"name\" AS text)", "cast(name as TEXT)"],
        &["ifnull(name, 'x')", "coalesce(name, 'x')"],
    ] {
        same(Engine::Sqlite, spellings);
    }
    for meanings in [
        &["CURRENT_TIMESTAMP", "(strftime('%s', 'now'))", "datetime('now')"][..],
        &["'0'", "0"],
        &["name GLOB 'a*'", "name LIKE 'a*'"],
        &["name COLLATE NOCASE", "name"],
        &["name IS 'a'", "name = 'a'"],
    ] {
        differ(Engine::Sqlite, meanings);
    }
}

#[test]
fn renamed_columns_are_the_same() {
    let mut renamed = scope();
    renamed.renamed.insert("name".to_owned(), "title".to_owned());
    let old = normal_form(Engine::Postgres, "length(name) > 1 AND (name)::text <> ''", &renamed);
    let mut new = scope();
    let column = new.columns.remove("name").expect("a column");
    new.columns.insert("title".to_owned(), column);
    assert_eq!(old, normal_form(Engine::Postgres, "1 < length(title) AND title <> ''::text", &new));
}
