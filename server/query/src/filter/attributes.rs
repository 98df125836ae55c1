//! Filters on values inside of JSON objects, in PostgreSQL's `jsonb` and SQLite's text.
//!
//! The SQL tests the type of a value before it compares it. It never casts a value, so no stored
//! value can make a list fail.

use aip_160::{Comparator, Value as Literal};
use sea_orm::{
    DbBackend, Value,
    sea_query::{
        BinOper, Expr, ExprTrait, Func, FunctionCall,
        extension::postgres::PgBinOper::{Contains, GetJsonField},
    },
};
use serde_json::{Number, json};

use crate::{
    field::{Invalid, shown},
    filter::{
        node::{JsonTest, LITERAL_STAR, Operand, Scalar},
        value,
    },
};

/// The most keys of a path below its column.
const LONGEST_PATH: usize = 16;

/// Parses the keys of a path.
///
/// # Errors
/// More than 16 keys, or an unquoted key that looks like a pattern.
pub(crate) fn path(keys: &[Literal]) -> Result<Vec<String>, Invalid> {
    if keys.len() > LONGEST_PATH {
        return Err(Invalid(format!("a path goes at most {LONGEST_PATH} keys deep")));
    }
    let key = |key: &Literal| match key {
        Literal::Text(text) if text.contains(['*', '\\']) => {
            Err(Invalid(format!("put the key {} in quotes", shown(text))))
        }
        key => Ok(key.as_str().replace(LITERAL_STAR, "*")),
    };
    keys.iter().map(key).collect()
}

/// Makes the test of the value at a path.
///
/// # Errors
/// Comparisons that JSON values don't have, and numbers out of range.
pub(crate) fn test(
    name: &str,
    comparator: Comparator,
    operand: Operand<'_>,
) -> Result<JsonTest, Invalid> {
    if operand.text.contains('*') {
        return Err(Invalid(format!(
            "{name} is compared with whole values; a literal * is written \\* in quotes"
        )));
    }
    let scalar = scalar(name, operand)?;
    match (comparator, scalar) {
        (Comparator::Equal, scalar) => Ok(JsonTest::Equal(scalar)),
        (Comparator::NotEqual, scalar) => Ok(JsonTest::NotEqual(scalar)),
        (Comparator::Has, _) => Err(value::only_set(name)),
        (_, Scalar::Number(number)) => Ok(JsonTest::Order(value::operator(comparator), number)),
        (_, Scalar::Text(_) | Scalar::Bool(_)) => Err(Invalid(format!(
            "{name} {comparator} takes a number without quotes, not {}",
            shown(&operand.literal())
        ))),
    }
}

/// Makes the SQL of a test. It may be NULL, except for `Set` and `NotEqual`.
pub(crate) fn expression(
    column: Expr,
    path: &[String],
    test: &JsonTest,
    backend: DbBackend,
) -> Expr {
    match backend {
        DbBackend::Postgres => on_postgres(column, path, test),
        _ => on_sqlite(column, path, test),
    }
}

/// Converts a value. An unquoted one is a number if it has JSON's syntax of numbers.
fn scalar(name: &str, operand: Operand<'_>) -> Result<Scalar, Invalid> {
    let text = operand.text;
    if operand.quoted {
        return Ok(Scalar::Text(operand.literal()));
    }
    if let Ok(truth) = text.parse() {
        return Ok(Scalar::Bool(truth));
    }
    if let Ok(number) = text.parse::<Number>() {
        // Both engines compare all other numbers as 64-bit floats.
        let number = match number.as_i64() {
            Some(number) => Some(Number::from(number)),
            None => number.as_f64().and_then(Number::from_f64),
        };
        return match number {
            Some(number) => Ok(Scalar::Number(number)),
            None => Err(out_of_range(name, text)),
        };
    }
    let digit_first = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    if digit_first && text.parse().is_ok_and(f64::is_infinite) {
        return Err(out_of_range(name, text));
    }
    Ok(Scalar::Text(text.to_owned()))
}

fn out_of_range(name: &str, text: &str) -> Invalid {
    Invalid(format!("{name} is compared with a number that is out of range: {}", shown(text)))
}

fn on_postgres(column: Expr, path: &[String], test: &JsonTest) -> Expr {
    // `->` with a text looks into objects only; `#>` looks into lists too.
    let found = path.iter().fold(column.clone(), |object, key| {
        object.binary(BinOper::PgOperator(GetJsonField), Expr::val(key.as_str()))
    });
    // The index supports containment. The top level is an object, so `@>` holds for a scalar only
    // if the same scalar is at the path.
    let equal = |scalar: &Scalar| {
        let tree = path.iter().rev().fold(json(scalar), |value, key| json!({ key: value }));
        column.clone().binary(BinOper::PgOperator(Contains), Expr::val(tree))
    };
    match test {
        JsonTest::Set => found.is_not_null(),
        JsonTest::Equal(scalar) => equal(scalar),
        JsonTest::NotEqual(scalar) => found.is_not_null().and(equal(scalar).not()),
        JsonTest::Order(operator, number) => {
            let kind = Expr::from(Func::cust("jsonb_typeof").arg(found.clone()));
            let number = Expr::val(serde_json::Value::Number(number.clone()));
            kind.eq(Expr::cust("'number'")).and(found.binary(*operator, number))
        }
    }
}

fn on_sqlite(column: Expr, path: &[String], test: &JsonTest) -> Expr {
    let place = path.iter().fold("$".to_owned(), |place, key| format!("{place}.{}", json!(key)));
    let call = |function: &'static str| -> FunctionCall {
        Func::cust(function).arg(column.clone()).arg(Expr::val(place.as_str()))
    };
    let kind = || Expr::from(call("json_type"));
    let found = || Expr::from(call("json_extract"));
    let is_number = || kind().is_in([Expr::cust("'integer'"), Expr::cust("'real'")]);
    let equal = |scalar: &Scalar| match scalar {
        Scalar::Text(text) => kind().eq(Expr::cust("'text'")).and(found().eq(text.as_str())),
        Scalar::Number(number) => is_number().and(found().eq(bound(number))),
        Scalar::Bool(truth) => kind().eq(if *truth { "true" } else { "false" }),
    };
    match test {
        JsonTest::Set => kind().is_not_null(),
        JsonTest::Equal(scalar) => equal(scalar),
        JsonTest::NotEqual(scalar) => kind().is_not_null().and(equal(scalar).not()),
        JsonTest::Order(operator, number) => {
            is_number().and(found().binary(*operator, Expr::val(bound(number))))
        }
    }
}

fn json(scalar: &Scalar) -> serde_json::Value {
    match scalar {
        Scalar::Text(text) => json!(text),
        Scalar::Number(number) => json!(number),
        Scalar::Bool(truth) => json!(truth),
    }
}

fn bound(number: &Number) -> Value {
    match number.as_i64() {
        Some(whole) => whole.into(),
        None => number.as_f64().into(),
    }
}
