//! Filters on values inside of JSON objects, the same on `jsonb` and on SQLite's text.
//!
//! Neither engine is asked to convert a value: a test of the type stands before each
//! comparison, so that no stored value can make a list fail.

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

/// How many keys a path may have below its column.
const LONGEST_PATH: usize = 16;

/// Reads the keys of a path.
///
/// # Errors
/// Too many of them, or a bare one that looks like a pattern.
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

/// What is asked of the value at a path.
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

/// Says the test in SQL. But for `Set` and `NotEqual` it may come out as NULL.
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

/// A bare value is a number where JSON writes numbers that way.
fn scalar(name: &str, operand: Operand<'_>) -> Result<Scalar, Invalid> {
    let text = operand.text;
    if operand.quoted {
        return Ok(Scalar::Text(operand.literal()));
    }
    if let Ok(truth) = text.parse() {
        return Ok(Scalar::Bool(truth));
    }
    if let Ok(number) = text.parse::<Number>() {
        // Both engines hold other numbers than these as 64-bit floats or compare them so.
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
    // A chain of `->` with text looks into objects only, while `#>` also counts in lists.
    let found = path.iter().fold(column.clone(), |object, key| {
        object.binary(BinOper::PgOperator(GetJsonField), Expr::val(key.as_str()))
    });
    // Containment is what the index serves. Below the top level, which is always an
    // object, it holds for a scalar only if the very same one stands at the path.
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
