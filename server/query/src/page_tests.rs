//! Pages in every order, walked to their end.

use rand::{Rng, SeedableRng, rngs::StdRng};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbBackend, FromQueryResult, sea_query::Alias,
};
use uuid::Uuid;

use super::*;
use crate::field::{Field, Kind, ResourceFields};

static FIELDS: ResourceFields = ResourceFields {
    table: "books",
    fields: &[
        sortable("title", "title", Kind::Text),
        sortable("price", "price_micros", Kind::Micros),
        sortable("stock", "stock", Kind::Integer),
    ],
    default_order: "title",
};

const fn sortable(name: &'static str, column: &'static str, kind: Kind) -> Field {
    Field { kind, sortable: true, ..Field::filterable(name, column) }
}

/// The rows of one page.
struct TestPage {
    rows: Vec<TestRow>,
    more: bool,
}

async fn fetch(
    connection: &DatabaseConnection,
    select: SelectStatement,
    order: &OrderBy,
    after: &[Value],
    limit: usize,
    skip: u64,
) -> Result<TestPage, DbErr> {
    let statement = statement(DbBackend::Sqlite, select, order, after, limit, skip);
    let mut rows = TestRow::find_by_statement(statement).all(connection).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(TestPage { rows, more })
}

#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
struct TestRow {
    id: Uuid,
    title: String,
    price_micros: i64,
    stock: i32,
}

impl TestRow {
    fn values(&self, order: &OrderBy) -> Vec<Value> {
        let value = |column: &Column| match column.field.column {
            "title" => self.title.clone().into(),
            "price_micros" => self.price_micros.into(),
            "stock" => self.stock.into(),
            _ => self.id.into(),
        };
        order.columns().iter().map(value).collect()
    }
}

fn order(text: &str) -> OrderBy {
    OrderBy::parse(text, &FIELDS).expect(text)
}

fn sql(order_by: &str, backend: DbBackend) -> String {
    let order = order(order_by);
    let row = TestRow { id: Uuid::nil(), title: String::new(), price_micros: 0, stock: 0 };
    let mut select = Query::select();
    select.column(Asterisk).from("books").cond_where(keyset(&order, &row.values(&order)));
    let text = backend.build(&select).sql;
    text.split_once(" WHERE ")
        .map(|(_, condition)| condition.replace(r#""books"."#, ""))
        .expect(&text)
}

#[test]
fn one_direction_compares_rows_and_mixed_ones_bound_the_leading_column() {
    for (order_by, condition) in [
        ("title", r#"("title", "id") > ($1, $2)"#),
        ("title desc, stock desc", r#"("title", "stock", "id") < ($1, $2, $3)"#),
        (
            "price desc, stock",
            r#""price_micros" <= $1 AND ("price_micros" < $2 OR ("stock", "id") > ($3, $4))"#,
        ),
    ] {
        assert_eq!(sql(order_by, DbBackend::Postgres), condition);
    }
}

#[test]
fn no_values_make_no_condition() {
    assert_eq!(keyset(&order("title"), &[]), Condition::all());
}

/// Every order of at most three fields, each in both directions.
fn orders() -> Vec<String> {
    let terms = ["title", "title desc", "price", "price desc", "stock", "stock desc"];
    let mut orders: Vec<String> = Vec::new();
    for first in terms {
        orders.push(first.to_owned());
        for second in terms {
            orders.push(format!("{first}, {second}"));
            orders.extend(terms.map(|third| format!("{first}, {second}, {third}")));
        }
    }
    orders.retain(|text| OrderBy::parse(text, &FIELDS).is_ok());
    orders
}

#[expect(clippy::disallowed_methods, reason = "a database of the test's own")]
async fn books(seed: u64) -> (DatabaseConnection, Vec<TestRow>) {
    // Each connection to memory has a database of its own.
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.expect("a database in memory");
    let create = "CREATE TABLE books (id uuid_text PRIMARY KEY, title text NOT NULL, \
                  price_micros bigint NOT NULL, stock integer NOT NULL)";
    connection.execute_unprepared(create).await.expect("a table");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for _ in 0..random.random_range(0..40) {
        // Few values, so that most rows share some.
        let row = TestRow {
            id: Uuid::from_u128(random.random()),
            title: ["", "a", "B", "é", "a b"][random.random_range(0..5)].to_owned(),
            price_micros: random.random_range(0..3),
            stock: random.random_range(0..3),
        };
        let values: [Expr; 4] =
            [row.id.into(), row.title.as_str().into(), row.price_micros.into(), row.stock.into()];
        let mut insert = Query::insert();
        insert.into_table("books").columns(["id", "title", "price_micros", "stock"]);
        insert.values_panic(values);
        connection.execute(&insert).await.expect("a row");
        rows.push(row);
    }
    (connection, rows)
}

/// The rows in the expected order, sorted without SQL.
fn sorted(mut rows: Vec<TestRow>, order: &OrderBy) -> Vec<TestRow> {
    rows.sort_by(|left, right| {
        let column = |column: &Column| {
            let ordering = match column.field.column {
                "title" => left.title.cmp(&right.title),
                "price_micros" => left.price_micros.cmp(&right.price_micros),
                "stock" => left.stock.cmp(&right.stock),
                _ => left.id.cmp(&right.id),
            };
            if column.descending { ordering.reverse() } else { ordering }
        };
        order
            .columns()
            .iter()
            .map(column)
            .find(|ordering| ordering.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    rows
}

#[tokio::test]
async fn pages_of_every_order_show_each_row_once() {
    for seed in 0..8 {
        let (connection, rows) = books(seed).await;
        let limit = 1 + usize::try_from(seed).expect("small") % 4;
        for order_by in orders() {
            let order = order(&order_by);
            let (mut seen, mut after) = (Vec::new(), Vec::new());
            loop {
                let mut select = Query::select();
                select.column(Asterisk).from("books");
                let page =
                    fetch(&connection, select, &order, &after, limit, 0).await.expect("a page");
                assert!(page.rows.len() == limit || !page.more, "a short page is the last");
                seen.extend(page.rows);
                if !page.more {
                    break;
                }
                after = seen.last().map(|row| row.values(&order)).expect("a full page");
            }
            assert_eq!(seen, sorted(rows.clone(), &order), "seed {seed}, {order_by}");
        }
    }
}

#[tokio::test]
async fn skipped_rows_count_from_the_token_and_all_rows_are_counted() {
    let (connection, rows) = books(3).await;
    assert!(rows.len() > 8, "the seed gives enough rows");
    let order = order("price desc, title");
    let rows = sorted(rows, &order);
    let mut select = Query::select();
    select.column(Asterisk).from(Alias::new("books"));
    let after = rows[1].values(&order);
    let page = fetch(&connection, select, &order, &after, 2, 3).await.expect("a page");
    assert_eq!(page.rows, rows[5..7]);
    assert!(page.more);
    let counted = count(&connection, "books", Condition::all()).await;
    assert_eq!(counted, Ok(i64::try_from(rows.len()).expect("few")));
}
