//! Filters in SQL, their refusals, and times as SQLite compares them.

use chrono::DateTime;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, Value,
    sea_query::{Asterisk, Query},
};

use crate::{
    field::{Field, Kind},
    filter::*,
};

static FIELDS: ResourceFields = ResourceFields {
    table: "books",
    fields: &[
        field("id", "id", Kind::Id),
        field("title", "title", Kind::Text),
        Field { nullable: true, ..field("description", "description", Kind::Text) },
        field("price", "price_micros", Kind::Micros),
        field("price.currency_code", "currency_code", Kind::Text),
        field("stock", "stock", Kind::Integer),
        field("hidden", "hidden", Kind::Bool),
        field("status", "status", Kind::Enum(&[("STATUS_OPEN", "OPEN"), ("STATUS_DONE", "DONE")])),
        field("create_time", "created_at", Kind::Time),
        field("attributes", "attributes", Kind::Json),
        Field { filterable: false, ..field("cover_image", "cover_image", Kind::Text) },
    ],
    default_order: "title",
};

const fn field(name: &'static str, column: &'static str, kind: Kind) -> Field {
    Field { kind, ..Field::filterable(name, column) }
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, &FIELDS).expect(text)
}

fn refusal(text: &str) -> String {
    Filter::parse(text, &FIELDS).expect_err(text).0
}

/// The condition without its table's name, and what is bound.
fn sql(text: &str, backend: DbBackend) -> (String, Vec<Value>) {
    let mut select = Query::select();
    select.column(Asterisk).from("books").cond_where(filter(text).condition(backend));
    let statement = backend.build(&select);
    let (_, condition) = statement.sql.split_once(" WHERE ").expect("a condition");
    let values = statement.values.map(|values| values.0).unwrap_or_default();
    (condition.replace(r#""books"."#, ""), values)
}

#[test]
fn a_filter_becomes_the_same_text_for_the_same_shape() {
    for (text, postgres, sqlite) in [
        ("stock = 3", r#""stock" = $1"#, r#""stock" = ?"#),
        ("price != 1.5", r#""price_micros" <> $1"#, r#""price_micros" <> ?"#),
        ("hidden = true", r#""hidden" = $1"#, r#""hidden" = ?"#),
        ("status = STATUS_DONE", r#""status" = $1"#, r#""status" = ?"#),
        ("title = a*", r#""title" >= $1 AND "title" < $2"#, r#""title" >= ? AND "title" < ?"#),
        ("title != a*", r#""title" < $1 OR "title" >= $2"#, r#""title" < ? OR "title" >= ?"#),
        (
            "title:a",
            r#"("title" COLLATE "und-x-icu") ILIKE $1 ESCAPE '\'"#,
            r#""title" LIKE ? ESCAPE '\'"#,
        ),
        ("description:*", r#""description" IS NOT NULL"#, r#""description" IS NOT NULL"#),
        ("description = a", r#""description" = $1"#, r#""description" = ?"#),
        (
            "-description = a",
            r#"NOT ("description" = $1) IS TRUE"#,
            r#"NOT ("description" = ?) IS TRUE"#,
        ),
        ("-title = a", r#"NOT "title" = $1"#, r#"NOT "title" = ?"#),
        (
            "stock = 1 stock = 2 OR stock = 3",
            r#""stock" = $1 AND ("stock" = $2 OR "stock" = $3)"#,
            r#""stock" = ? AND ("stock" = ? OR "stock" = ?)"#,
        ),
        (
            "attributes.a = x",
            r#""attributes" @> $1"#,
            r#"json_type("attributes", ?) = ('text') AND json_extract("attributes", ?) = ?"#,
        ),
        (
            "attributes.a.b:*",
            r#"(("attributes" -> $1) -> $2) IS NOT NULL"#,
            r#"json_type("attributes", ?) IS NOT NULL"#,
        ),
        (
            "attributes.a > 2",
            r#"jsonb_typeof("attributes" -> $1) = ('number') AND ("attributes" -> $2) > $3"#,
            r#"json_type("attributes", ?) IN ('integer', 'real') AND json_extract("attributes", ?) > ?"#,
        ),
    ] {
        assert_eq!(sql(text, DbBackend::Postgres).0, postgres, "{text}");
        assert_eq!(sql(text, DbBackend::Sqlite).0, sqlite, "{text}");
    }
    let empty = Filter::parse(" ", &FIELDS).map(|filter| filter.condition(DbBackend::Sqlite));
    assert_eq!(empty, Ok(Condition::all()));
}

#[test]
fn values_are_bound_as_their_columns_hold_them() {
    let time = DateTime::from_timestamp_micros(981_173_106_123_456).expect("a time");
    for (text, value) in [
        ("stock = 3", Value::from(3_i64)),
        ("price > 12.5", 12_500_000_i64.into()),
        ("hidden != false", false.into()),
        ("status = STATUS_DONE", "DONE".into()),
        ("title = 5", "5".into()),
        ("title = \"'; DROP TABLE books\"", "'; DROP TABLE books".into()),
        ("title:\"50%\"", r"%50\%%".into()),
        ("create_time <= \"2001-02-03T05:05:06.1234569+01:00\"", time.into()),
        ("attributes.a.\"b.c\" = 5", serde_json::json!({"a": {"b.c": 5}}).into()),
    ] {
        assert_eq!(sql(text, DbBackend::Postgres).1, [value], "{text}");
    }
    let path = Value::from(r#"$."a"."b.\"c\"""#);
    assert_eq!(sql(r#"attributes.a."b.\"c\"":*"#, DbBackend::Sqlite).1, [path]);
}

#[test]
fn the_canonical_text_ignores_white_space_only() {
    let canonical = |text: &str| filter(text).to_string();
    assert_eq!(canonical(" title=a   ( stock > 1 )"), canonical("title = a stock>1"));
    for (one, other) in [
        ("title = a stock > 1", "title = a OR stock > 1"),
        ("title = 5", "title = \"5\""),
        (r#"title = "a*""#, r#"title = "a\*""#),
        (r#"title = "a\\*""#, r#"title = "a\*""#),
        ("attributes.a.b = 1", "attributes.\"a.b\" = 1"),
    ] {
        assert_ne!(canonical(one), canonical(other));
    }
}

#[test]
fn a_refusal_stays_short_and_says_what_can_be_done() {
    for (text, words) in [
        ("cover_image = x".to_owned(), "`cover_image` can't be filtered by; what can: id, title"),
        ("hidden = 1".to_owned(), "hidden is compared with true or false, not with `1`"),
        ("hidden > true".to_owned(), "= and != only"),
        ("status = DONE".to_owned(), "one of STATUS_OPEN, STATUS_DONE"),
        (format!("stock = {}", "x".repeat(4_000)), "not with `xxx"),
        (format!("{} = 1", "x".repeat(4_000)), "can't be filtered by"),
        (format!("attributes.{}:x", "x".repeat(4_000)), "instead of :"),
        (format!("title = {}", "x".repeat(MOST_CHARACTERS - 7)), "at most 4096 characters"),
        ("(".repeat(MOST_CHARACTERS), "at most 16 deep"),
        ("f(".repeat(MOST_CHARACTERS / 2), "at most 16 deep"),
        ("title=(".repeat(500), "at most 16 deep"),
        ("NOT ".repeat(1_000), "unexpected keyword NOT"),
        ("\"\\".repeat(1_000), "unterminated"),
    ] {
        let answer = refusal(&text);
        assert!(answer.contains(words), "{answer}");
        assert!(answer.len() < 400, "{answer}");
    }
}

#[test]
fn the_longest_filter_is_written_on_a_small_stack() {
    let text = "id:* ".repeat(MOST_CHARACTERS / 5);
    let write = move || sql(&text, DbBackend::Sqlite).0.matches("IS NOT NULL").count();
    let small = std::thread::Builder::new().stack_size(512 * 1024).spawn(write);
    assert_eq!(small.expect("a thread").join().expect("enough stack"), MOST_CHARACTERS / 5);
}

#[expect(clippy::disallowed_methods, reason = "a database of the test's own")]
#[tokio::test]
async fn times_compare_rightly_as_the_text_that_sqlite_holds() {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.expect("a database in memory");
    let create = "CREATE TABLE books (created_at timestamp_with_timezone_text NOT NULL)";
    connection.execute_unprepared(create).await.expect("a table");
    // No fraction, three digits and six: the driver writes as many as a value needs.
    let times = [-1_000_000, -1, 0, 1, 999, 1_000, 1_001, 120_000, 120_456, 999_999, 1_000_000];
    for micros in times {
        let time = DateTime::from_timestamp_micros(micros).expect("a time");
        let mut insert = Query::insert();
        insert.into_table("books").columns(["created_at"]).values_panic([time.into()]);
        connection.execute(&insert).await.expect("a row");
    }
    for (position, micros) in times.into_iter().enumerate() {
        let time = DateTime::from_timestamp_micros(micros).expect("a time").to_rfc3339();
        for (operator, found) in
            [("<", position), ("<=", position + 1), ("=", 1), (">", times.len() - position - 1)]
        {
            let filter = filter(&format!("create_time {operator} \"{time}\""));
            let mut select = Query::select();
            select.column(Asterisk).from("books").cond_where(filter.condition(DbBackend::Sqlite));
            let rows = connection.query_all(&select).await.expect("rows");
            assert_eq!(rows.len(), found, "{operator} {time}");
        }
    }
}

static ORDERS: ResourceFields = ResourceFields {
    table: "orders",
    fields: &[
        field("total", "total", Kind::Integer),
        Field::in_children(
            "items.book_id",
            "book_id",
            crate::field::ChildTable { table: "items", parent: "order_id" },
        ),
    ],
    default_order: "total",
};

#[test]
fn tests_of_one_child_field_are_one_subquery() {
    let book = |number: u32| format!("items.book_id = \"01930000-0000-7000-8000-{number:012}\"");
    let sql = |text: &str, backend| {
        let filter = Filter::parse(text, &ORDERS).expect(text);
        let mut select = Query::select();
        select.column(Asterisk).from("orders").cond_where(filter.condition(backend));
        backend.build(&select).sql
    };
    let [a, b, c] = [1, 2, 3].map(book);
    let many = (1..=40).map(book).collect::<Vec<_>>().join(" OR ");
    for (text, subqueries, values, part) in [
        (format!("{a} OR {b} OR {c}"), 1, 3, ") IS TRUE"),
        (many, 1, 40, ") IS TRUE"),
        (format!("{a} OR {a}"), 1, 1, r#""book_id" = $1"#),
        (format!("({a} OR {b}) OR {c} OR {b}"), 1, 3, "WHERE EXISTS("),
        (format!("{a} OR total = 5 OR {b}"), 1, 3, "EXISTS("),
        (format!("NOT (NOT {a})"), 1, 1, "WHERE EXISTS("),
        (format!("NOT (NOT {a} AND NOT {b})"), 1, 2, "WHERE EXISTS("),
        (format!("NOT (NOT (NOT {a}))"), 1, 1, "WHERE NOT EXISTS("),
        (format!("-{a} -{b} total = 5"), 1, 3, "NOT EXISTS("),
        (format!("NOT ({a} OR {b})"), 1, 2, "WHERE NOT EXISTS("),
        // The same item can't have both, and two items may.
        (format!("{a} AND {b}"), 2, 2, "EXISTS("),
        (format!("({a} AND total = 1) OR ({b} AND total = 2)"), 2, 4, " OR "),
        (format!("{a} OR items.book_id:*"), 2, 1, " OR "),
        (format!("{a} OR NOT {b}"), 2, 2, " OR "),
    ] {
        let postgres = sql(&text, DbBackend::Postgres);
        assert_eq!(postgres.matches("EXISTS(SELECT").count(), subqueries, "{text}: {postgres}");
        assert!(postgres.contains(&format!("${values}")), "{text}: {postgres}");
        assert!(!postgres.contains(&format!("${}", values + 1)), "{text}: {postgres}");
        assert!(postgres.contains(part), "{text}: {postgres}");
        // One value stays a semi-join.
        assert_eq!(postgres.contains("IS TRUE"), postgres.contains(" IN ("), "{text}: {postgres}");
        let sqlite = sql(&text, DbBackend::Sqlite);
        assert_eq!(sqlite.matches("IN (SELECT").count(), subqueries, "{text}: {sqlite}");
        assert_eq!(sqlite.matches('?').count(), values, "{text}: {sqlite}");
    }
}
