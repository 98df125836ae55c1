//! Places an order: locks the books' rows in the order of their ids, checks them, and takes the
//! copies. PostgreSQL does it in one statement. On SQLite the transaction has locked the whole
//! file.

use std::sync::LazyLock;

use bookstore_entity::order::Model;
use bookstore_query::{Resource, crud::later_sql};
use bookstore_store::{Connection, ConstraintCheck, FieldViolation, Precondition, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{
    Order,
    placed::{NewOrder, OrderItemRow, OrderLine, WithItems},
};

/// All books of the order are sold in one currency.
const CURRENCY_MISMATCH: Precondition =
    Precondition::new("CURRENCY_MISMATCH", "an order has one currency");

/// Of each book, at least as many copies are in stock as are ordered.
const INSUFFICIENT_STOCK: Precondition =
    Precondition::new("INSUFFICIENT_STOCK", "there is too little in stock");

/// A locked book.
#[derive(Clone, Debug)]
struct LockedBook {
    stock: i32,
    price_micros: i64,
    currency_code: String,
}

/// The state of the database for an order that is to be placed.
struct OrderState {
    /// Whether the order's id is taken already; no book was read then.
    is_taken: bool,
    has_user: bool,
    /// The book of each line.
    books: Vec<Option<LockedBook>>,
    /// Whether the order was placed by the same statement.
    placed: bool,
}

/// Places an order: takes its lines out of the stock and keeps their prices.
///
/// # Errors
/// [`StoreError::AlreadyExists`], [`StoreError::ReferenceNotFound`], [`StoreError::Precondition`];
/// [`StoreError::Constraint`] if the user or the id was inserted or deleted concurrently.
pub async fn place(
    connection: &Connection,
    order: &NewOrder,
    lines: &[OrderLine],
) -> Result<WithItems, StoreError> {
    let now = bookstore_store::now();
    // Sorted by id, they are in the lines' order.
    let mut ids: Vec<Uuid> = lines.iter().map(|_| Uuid::now_v7()).collect();
    ids.sort_unstable();
    let is_postgres = connection.get_database_backend() == DbBackend::Postgres;
    let state = match is_postgres {
        true => place_in_one(connection, order, lines, &ids, now).await?,
        false => read_state(connection, order, lines).await?,
    };
    let placed = state.placed;
    let (model, items) = verdict(order, lines, state, now)?;
    if !is_postgres {
        write(connection, &model, &items, &ids).await?;
    } else if !placed {
        return Err(StoreError::internal("an order that could be placed wasn't"));
    }
    Ok((model, items))
}

/// The order's total, or every reason why it can't be placed.
fn verdict(
    order: &NewOrder,
    lines: &[OrderLine],
    state: OrderState,
    now: DateTime<Utc>,
) -> Result<WithItems, StoreError> {
    if state.is_taken {
        let violation = FieldViolation::new(order.id_field, "is already taken");
        return Err(StoreError::AlreadyExists(vec![violation]));
    }
    let mut missing = Vec::new();
    if !state.has_user {
        missing.push(FieldViolation::new("user_id", "names no user that exists"));
    }
    for (at, _) in state.books.iter().enumerate().filter(|(_, book)| book.is_none()) {
        let field = format!("items[{at}].book_id");
        missing.push(FieldViolation::new(field, "names no book that exists"));
    }
    if !missing.is_empty() {
        return Err(StoreError::ReferenceNotFound(missing));
    }
    let books: Vec<LockedBook> = state.books.into_iter().flatten().collect();
    let currency = books.first().map(|book| book.currency_code.clone()).unwrap_or_default();
    one_currency(&books, &currency)?;
    enough(lines, &books)?;
    let items: Vec<OrderItemRow> = lines
        .iter()
        .zip(books)
        .map(|(line, book)| OrderItemRow {
            book_id: line.book_id,
            quantity: line.quantity,
            price_micros: book.price_micros,
        })
        .collect();
    let total_micros = items.iter().try_fold(0_i64, |total, item| {
        total.checked_add(item.price_micros.checked_mul(item.quantity.into())?)
    });
    // A hundred lines of a thousand copies at the highest price are 10^18 micros.
    let total_micros = total_micros.filter(|total| *total <= 10_i64.pow(18));
    let total_micros = total_micros.ok_or_else(|| StoreError::internal("a total over 10^18"))?;
    let model = Model {
        id: order.id,
        user_id: order.user_id,
        status: super::PENDING.to_owned(),
        total_micros,
        currency_code: currency,
        shipping_address: order.shipping_address.clone(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    Ok((model, items))
}

fn one_currency(books: &[LockedBook], currency: &str) -> Result<(), StoreError> {
    let others = books.iter().enumerate().filter(|(_, book)| book.currency_code != currency);
    let violations: Vec<FieldViolation> = others
        .map(|(at, book)| {
            let description =
                format!("is sold in {}, the first one in {currency}", book.currency_code);
            FieldViolation::new(format!("items[{at}].book_id"), description)
        })
        .collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(CURRENCY_MISMATCH.at(violations).into()),
    }
}

fn enough(lines: &[OrderLine], books: &[LockedBook]) -> Result<(), StoreError> {
    let mut violations = Vec::new();
    let mut failed = INSUFFICIENT_STOCK;
    for (at, (line, book)) in lines.iter().zip(books).enumerate() {
        if book.stock < line.quantity {
            let (id, left) = (line.book_id, book.stock);
            let description = format!("is more than the {left} left of book {id}");
            violations.push(FieldViolation::new(format!("items[{at}].quantity"), description));
            // The facts are those of the first such book.
            if failed.facts.is_empty() {
                failed = failed.with("book_id", id).with("left", left);
            }
        }
    }
    match violations.is_empty() {
        true => Ok(()),
        false => Err(failed.at(violations).into()),
    }
}

/// One text however many lines there are. Whether the order can be placed is decided on the locked
/// rows, which are newer than the statement's snapshot. The parts that write depend on that
/// decision, so all locks are taken before them. The new values are counted from the locked row:
/// with the snapshot's row, PostgreSQL would evaluate the CHECK on an outdated number before it
/// finds the newer row. Where the id is taken nothing is locked: a transaction that changes that
/// order may wait for the same books.
const PLACE: &str = r#"WITH "fact" AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM "orders" WHERE "id" = $1) AS "is_taken",
        EXISTS (SELECT 1 FROM "users" WHERE "id" = $2) AS "has_user"
), "line" AS MATERIALIZED (
    SELECT "line"."place", "line"."id", "line"."quantity", "books"."id" AS "book_id", "books"."stock",
        "books"."price_micros", "books"."currency_code", "books"."version", "books"."updated_at"
    FROM unnest($5::uuid[], $6::int4[], $7::uuid[])
        WITH ORDINALITY AS "line" ("book_id", "quantity", "id", "place")
    JOIN "books" ON "books"."id" = "line"."book_id"
    WHERE NOT (SELECT "is_taken" FROM "fact")
    ORDER BY "books"."id" FOR NO KEY UPDATE OF "books"
), "verdict" AS MATERIALIZED (
    SELECT count(*) = cardinality($5) AND bool_and("stock" >= "quantity")
            AND min("currency_code") = max("currency_code")
            AND (SELECT "has_user" FROM "fact") AS "good",
        sum("price_micros" * "quantity")::bigint AS "total_micros",
        min("currency_code") AS "currency_code"
    FROM "line"
), "placed" AS (
    INSERT INTO "orders" ("id", "user_id", "status", "total_micros", "currency_code",
        "shipping_address", "created_at", "updated_at", "version")
    SELECT $1, $2, 'PENDING', "total_micros", "currency_code", $3, $4, $4, 1
    FROM "verdict" WHERE "good"
), "taken" AS (
    UPDATE "books" SET "stock" = "line"."stock" - "line"."quantity",
        "version" = "line"."version" + 1,
        "updated_at" = greatest($4, "line"."updated_at" + interval '1 microsecond')
    FROM "verdict", "line"
    WHERE "verdict"."good" AND "books"."id" = "line"."book_id"
), "item" AS (
    INSERT INTO "order_items" ("id", "order_id", "book_id", "quantity", "price_micros",
        "created_at", "updated_at", "version")
    SELECT "line"."id", $1, "line"."book_id", "line"."quantity", "line"."price_micros", $4, $4, 1
    FROM "verdict", "line" WHERE "verdict"."good"
)
SELECT "fact"."is_taken", "fact"."has_user", "verdict"."good", "line"."place", "line"."stock",
    "line"."price_micros", "line"."currency_code"
FROM "fact", "verdict" LEFT JOIN "line" ON true"#;

async fn place_in_one(
    connection: &Connection,
    order: &NewOrder,
    lines: &[OrderLine],
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<OrderState, StoreError> {
    let books: Vec<Uuid> = lines.iter().map(|line| line.book_id).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let values = [
        order.id.into(),
        order.user_id.into(),
        order.shipping_address.clone().into(),
        now.into(),
        books.into(),
        quantities.into(),
        ids.to_vec().into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, PLACE, values);
    state_of(connection.query_all_raw(statement).await?, lines)
}

/// The state, from a row for each line whose book exists, or one without a line.
fn state_of(rows: Vec<QueryResult>, lines: &[OrderLine]) -> Result<OrderState, StoreError> {
    let mut state = OrderState {
        is_taken: false,
        has_user: false,
        books: vec![None; lines.len()],
        placed: false,
    };
    for row in rows {
        state.is_taken = row.try_get_by_index(0)?;
        state.has_user = row.try_get_by_index(1)?;
        state.placed = row.try_get_by_index::<Option<bool>>(2)?.unwrap_or_default();
        let Some(place) = row.try_get_by_index::<Option<i64>>(3)? else { continue };
        let book = LockedBook {
            stock: row.try_get_by_index(4)?,
            price_micros: row.try_get_by_index(5)?,
            currency_code: row.try_get_by_index(6)?,
        };
        // Counted from 1 (PostgreSQL, 7.2.1.4. Table Functions: WITH ORDINALITY).
        let at = usize::try_from(place - 1).ok().and_then(|at| state.books.get_mut(at));
        *at.ok_or_else(|| StoreError::internal("a line that isn't the order's"))? = Some(book);
    }
    Ok(state)
}

/// Reads the same on SQLite, where the transaction has locked the whole file.
const READ: &str = r#"SELECT EXISTS (SELECT 1 FROM "orders" WHERE "id" = ?1),
    EXISTS (SELECT 1 FROM "users" WHERE "id" = ?2), NULL,
    CASE WHEN "books"."id" IS NOT NULL THEN "line"."key" + 1 END,
    "books"."stock", "books"."price_micros", "books"."currency_code"
FROM json_each(?3) AS "line" LEFT JOIN "books" ON "books"."id" = unhex("line"."value")"#;

async fn read_state(
    connection: &Connection,
    order: &NewOrder,
    lines: &[OrderLine],
) -> Result<OrderState, StoreError> {
    let books: Vec<String> = lines.iter().map(|line| line.book_id.simple().to_string()).collect();
    let books = serde_json::Value::from(books).to_string();
    let values = [order.id.into(), order.user_id.into(), books.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, READ, values);
    state_of(connection.query_all_raw(statement).await?, lines)
}

/// Writes the order, its items and the stock on SQLite: three statements, which the driver's thread
/// runs one after the other. A line is an array: the item's id, the book's id, the quantity, the
/// price.
///
/// The statements share one list of values. What the later ones need comes first in it: the driver
/// counts a number that a statement skips as one more value, and binds none behind the last.
static WRITE: LazyLock<String> = LazyLock::new(|| {
    let later = later_sql(DbBackend::Sqlite, "?2", r#""books"."updated_at""#);
    format!(
        r#"INSERT INTO "orders" ("id", "user_id", "status", "total_micros", "currency_code",
    "shipping_address", "created_at", "updated_at", "version")
VALUES (?3, ?4, ?5, ?6, ?7, ?8, ?2, ?2, 1);
INSERT INTO "order_items" ("id", "order_id", "book_id", "quantity", "price_micros",
    "created_at", "updated_at", "version")
SELECT unhex("value" ->> 0), ?3, unhex("value" ->> 1), "value" ->> 2, "value" ->> 3, ?2, ?2, 1
FROM json_each(?1);
UPDATE "books" SET "stock" = "stock" - "line"."quantity", "version" = "version" + 1,
    "updated_at" = {later}
FROM (SELECT unhex("value" ->> 1) AS "book_id", "value" ->> 2 AS "quantity" FROM json_each(?1))
    AS "line"
WHERE "books"."id" = "line"."book_id""#
    )
});

async fn write(
    connection: &Connection,
    order: &Model,
    items: &[OrderItemRow],
    ids: &[Uuid],
) -> Result<(), StoreError> {
    let lines = items.iter().zip(ids).map(|(item, id)| {
        let [id, book] = [id, &item.book_id].map(|id| id.simple().to_string());
        serde_json::json!([id, book, item.quantity, item.price_micros])
    });
    let values = [
        serde_json::Value::from_iter(lines).to_string().into(),
        order.created_at.into(),
        order.id.into(),
        order.user_id.into(),
        order.status.clone().into(),
        order.total_micros.into(),
        order.currency_code.clone().into(),
        order.shipping_address.clone().into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, WRITE.as_str(), values);
    connection.execute_raw(statement).await?;
    Ok(())
}

/// Returns the copies of an order to its books, locked in the order of their ids.
///
/// # Errors
/// The rows of the result.
pub async fn give_back(connection: &Connection, order: Uuid) -> Result<(), StoreError> {
    let backend = connection.get_database_backend();
    let order = Value::from(order);
    if backend == DbBackend::Postgres {
        let lock = r#"SELECT "id" FROM "books" WHERE "id" IN (SELECT "book_id" FROM "order_items" WHERE "order_id" = $1) ORDER BY "id" FOR NO KEY UPDATE"#;
        let lock = Statement::from_sql_and_values(backend, lock, [order.clone()]);
        connection.query_all_raw(lock).await?;
    }
    let later = later_sql(backend, "$2", r#""updated_at""#);
    let back = format!(
        r#"UPDATE "books" SET "stock" = "stock" + (SELECT sum("quantity") FROM "order_items" WHERE "order_id" = $1 AND "book_id" = "books"."id"), "version" = "version" + 1, "updated_at" = {later} WHERE "id" IN (SELECT "book_id" FROM "order_items" WHERE "order_id" = $1)"#
    );
    let back =
        Statement::from_sql_and_values(backend, back, [order, bookstore_store::now().into()]);
    connection.execute_raw(back).await?;
    Ok(())
}

/// The constraint checks of a new order, for the case that a concurrent transaction changed a row
/// after it was read.
pub fn constraint_checks(order: &NewOrder) -> Vec<ConstraintCheck> {
    Order::CONSTRAINTS
        .iter()
        .map(|constraint| {
            let (field, value) = match constraint.field {
                "id" => (order.id_field, order.id),
                _ => ("user_id", order.user_id),
            };
            ConstraintCheck {
                constraint,
                field: field.to_owned(),
                values: vec![value.into()],
                own: None,
                only_new: false,
            }
        })
        .collect()
}
