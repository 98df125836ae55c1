//! The names of types: PostgreSQL has several for one, SQLite keeps what was written.

use super::{Engine, Token, names::fold, tokens};

/// PostgreSQL's other names of types (manual, 8. Data Types, table 8.1), each with the one that
/// its catalogs use.
const NAMES: &[(&str, &str)] = &[
    ("int", "integer"),
    ("int4", "integer"),
    ("int2", "smallint"),
    ("int8", "bigint"),
    ("float8", "double precision"),
    ("float4", "real"),
    ("decimal", "numeric"),
    ("bool", "boolean"),
    ("varchar", "character varying"),
    ("char", "character"),
    ("bpchar", "character"),
    ("varbit", "bit varying"),
    ("timestamptz", "timestamp with time zone"),
    ("timestamp without time zone", "timestamp without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timetz", "time with time zone"),
    ("time", "time without time zone"),
];

/// A type's name in one spelling: in lower case with single blanks, on PostgreSQL by its first
/// name.
pub fn normal_type(engine: Engine, name: &str) -> String {
    let mut text = String::new();
    for spanned in tokens(engine, name) {
        let word = match spanned.token {
            Token::Word(word) => word.to_lowercase(),
            Token::Quoted(word) | Token::Text(word) => fold(engine, &word),
            Token::Number(text) | Token::Symbol(text) => text,
        };
        let glued = ["(", ")", ",", "[", "]", "."].contains(&word.as_str());
        if !glued && !text.is_empty() && !text.ends_with(['(', ',', '.']) {
            text.push(' ');
        }
        text.push_str(&word);
    }
    if engine == Engine::Sqlite {
        return text;
    }
    let text = text.trim_start_matches("pg_catalog.");
    let end = text.find(['(', '[']).unwrap_or(text.len());
    let (base, rest) = text.split_at(end);
    let known = NAMES.iter().find(|(other, _)| *other == base.trim());
    known.map_or_else(|| text.to_owned(), |(_, name)| format!("{name}{rest}"))
}

/// Whether values of the type are texts of any length, for which a cast between two such types
/// changes nothing.
pub(super) fn is_plain_text(name: &str) -> bool {
    matches!(name, "text" | "character varying" | "name")
}

/// Whether values of the type are whole numbers.
pub(super) fn is_integer(name: &str) -> bool {
    matches!(name, "smallint" | "integer" | "bigint")
}

/// Whether values of the type are numbers.
pub(super) fn is_number(name: &str) -> bool {
    is_integer(name) || matches!(name, "numeric" | "double precision" | "real")
}

#[test]
fn names_of_one_type_are_one() {
    for (one, other) in [
        ("int8", "bigint"),
        ("VARCHAR(50)", "character varying(50)"),
        ("numeric ( 10 , 2 )", "decimal(10,2)"),
        ("timestamptz", "timestamp with time zone"),
    ] {
        assert_eq!(normal_type(Engine::Postgres, one), normal_type(Engine::Postgres, other));
    }
    assert_eq!(normal_type(Engine::Sqlite, "BIGINT"), "bigint");
    assert_ne!(normal_type(Engine::Sqlite, "int"), normal_type(Engine::Sqlite, "integer"));
}
