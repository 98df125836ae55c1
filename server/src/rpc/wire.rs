//! Converts values that several resources have between messages and rows.

use bookstore_proto::v1::Money;
use chrono::{DateTime, Utc};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

use super::check::Check;

/// The most that free-form data may be, in bytes of JSON.
const JSON_LIMIT: usize = 64 * 1024;

/// The same as PostgreSQL keeps it: 1e300 with all its zeros.
const PLAIN_LIMIT: usize = 256 * 1024;

/// Micros in a unit of money.
const MICROS: i64 = 1_000_000;

/// A row's time as a Timestamp.
pub fn timestamp(time: DateTime<Utc>) -> Option<Timestamp> {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).ok()?;
    Some(Timestamp { seconds: time.timestamp(), nanos })
}

/// Money in whole micros, as rows hold it. The contract's rules have checked its bounds.
pub fn micros(money: &Money) -> i64 {
    money.units.saturating_mul(MICROS).saturating_add(i64::from(money.nanos) / 1_000)
}

/// A row's micros as Money.
pub fn money(micros: i64, currency_code: String) -> Money {
    let nanos = i32::try_from(micros % MICROS * 1_000).unwrap_or_default();
    Money { currency_code, units: micros / MICROS, nanos }
}

/// Free-form data as JSON. Adds a violation if it is too large or has a number that JSON lacks.
pub fn json(check: &mut Check<'_>, field: &str, data: Option<Struct>) -> Json {
    let json = match object(data.unwrap_or_default()) {
        Ok(json) => json,
        Err(number) => {
            check.violation(field, format!("must not hold {number}, which JSON has not"));
            return Json::Null;
        }
    };
    let size = json.to_string().len();
    let plain = size + zeros(&json);
    if size > JSON_LIMIT {
        check.violation(field, format!("must be at most {JSON_LIMIT} bytes as JSON; it is {size}"));
    } else if plain > PLAIN_LIMIT {
        let description = format!(
            "must be at most {PLAIN_LIMIT} bytes with its numbers written out; it is {plain}"
        );
        check.violation(field, description);
    }
    json
}

/// How many zeros the numbers have when they are written out.
fn zeros(json: &Json) -> usize {
    match json {
        Json::Number(number) => {
            let magnitude = number.as_f64().unwrap_or_default().abs();
            let digits = if magnitude > 0.0 { magnitude.log10().abs() } else { 0.0 };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most 324"
            )]
            let digits = digits as usize;
            digits
        }
        Json::Array(values) => values.iter().map(zeros).sum(),
        Json::Object(entries) => entries.values().map(zeros).sum(),
        _ => 0,
    }
}

/// A row's JSON object as a Struct; none if it is empty.
pub fn structure(json: Json) -> Option<Struct> {
    match json {
        Json::Object(entries) if !entries.is_empty() => Some(fields(entries)),
        _ => None,
    }
}

fn object(data: Struct) -> Result<Json, f64> {
    let entries = data.fields.into_iter().map(|(key, value)| Ok((key, to_json(value)?)));
    entries.collect::<Result<Map<_, _>, _>>().map(Json::Object)
}

fn to_json(value: Value) -> Result<Json, f64> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::NumberValue(value)) => Json::Number(number(value)?),
        Some(Kind::StructValue(value)) => object(value)?,
        Some(Kind::ListValue(list)) => {
            Json::Array(list.values.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
    })
}

/// A whole number is stored as one, so that both engines write it alike.
fn number(value: f64) -> Result<Number, f64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
        return Ok(Number::from(value as i64));
    }
    Number::from_f64(value).ok_or(value)
}

fn fields(entries: Map<String, Json>) -> Struct {
    Struct { fields: entries.into_iter().map(|(key, value)| (key, from_json(value))).collect() }
}

fn from_json(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::String(value) => Kind::StringValue(value),
        // JSONB keeps numbers exactly as they were written, which was as doubles.
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Json::Object(entries) => Kind::StructValue(fields(entries)),
        Json::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(from_json).collect() })
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_micro() {
        for micros_kept in [0, 1, 999_999, 1_000_000, 12_990_000, 10_000_000_000_000] {
            assert_eq!(micros(&money(micros_kept, "USD".into())), micros_kept);
        }
        let price = money(12_990_001, "USD".into());
        assert_eq!((price.units, price.nanos), (12, 990_001_000));
    }
}
