//! JSON between text and the wire's Struct, and the members of an object as they are written.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// How many messages a Struct may nest. Decoders refuse more than 100, which would fail the whole
/// batch. Ten levels are left for the enclosing messages.
const MOST_NESTED: usize = 90;

/// The largest whole number up to which a double holds all: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A JSON object as a Struct.
///
/// # Errors
/// If it nests too deeply, or holds a whole number that a double would change: a phrase
/// that follows the field's name.
pub fn structure(entries: Map<String, Json>) -> Result<Struct, String> {
    if entries.values().map(nested).max().unwrap_or_default() > MOST_NESTED {
        return Err("nests too many lists and objects".into());
    }
    fields(entries)
}

/// A JSON value as a Value; see [`structure`].
///
/// # Errors
/// As [`structure`].
pub fn value(json: Json) -> Result<Value, String> {
    if nested(&json) > MOST_NESTED {
        return Err("nests too many lists and objects".into());
    }
    to_wire(json)
}

/// How many messages a value is made of along its deepest path.
fn nested(json: &Json) -> usize {
    match json {
        Json::Array(values) => 2 + values.iter().map(nested).max().unwrap_or_default(),
        Json::Object(entries) => 3 + entries.values().map(nested).max().unwrap_or_default(),
        _ => 2,
    }
}

fn fields(entries: Map<String, Json>) -> Result<Struct, String> {
    let fields = entries.into_iter().map(|(key, json)| Ok((key, to_wire(json)?)));
    Ok(Struct { fields: fields.collect::<Result<_, String>>()? })
}

fn to_wire(json: Json) -> Result<Value, String> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::String(text) => Kind::StringValue(text),
        Json::Number(number) => Kind::NumberValue(double(&number)?),
        Json::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(to_wire).collect::<Result<_, _>>()?,
        }),
        Json::Object(entries) => Kind::StructValue(fields(entries)?),
    };
    Ok(Value { kind: Some(kind) })
}

/// A number as a double. A fraction is rounded to the nearest one; a whole number must be exact.
fn double(number: &Number) -> Result<f64, String> {
    let value = number.as_f64().unwrap_or(f64::NAN);
    let whole = number.as_i128();
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 64 bits")]
    if whole.is_some_and(|whole| value as i128 != whole) {
        return Err(format!("must not hold {number}, which a double can't; make it a text"));
    }
    Ok(value)
}

/// A Struct as JSON.
#[must_use]
pub fn object(data: &Struct) -> Json {
    let entries = data.fields.iter().map(|(key, value)| (key.clone(), json(value)));
    Json::Object(entries.collect())
}

/// A value of a Struct as JSON.
#[must_use]
pub fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::NumberValue(number)) => Json::Number(shortest(*number)),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(json).collect()),
        Some(Kind::StructValue(data)) => object(data),
    }
}

/// A number without a fraction of zero.
fn shortest(number: f64) -> Number {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
        return Number::from(number as i64);
    }
    // The service refuses infinities and NaN, which JSON lacks.
    Number::from_f64(number).unwrap_or_else(|| Number::from(0))
}

/// The members of a JSON object in their order, each value as it is written: numbers with
/// all their digits. The text has to be an object that a parser has accepted.
#[must_use]
pub fn members(object: &str) -> Vec<(String, &str)> {
    let mut members = Vec::new();
    let mut rest = object.trim_start().strip_prefix('{').unwrap_or_default().trim_start();
    while rest.starts_with('"') {
        let (key, after) = rest.split_at(text_end(rest));
        let after = after.trim_start().strip_prefix(':').unwrap_or_default().trim_start();
        let (value, after) = after.split_at(value_end(after));
        members.push((serde_json::from_str(key).unwrap_or_default(), value.trim_end()));
        rest = after.strip_prefix(',').unwrap_or_default().trim_start();
    }
    members
}

/// The end of the string literal at the beginning of the text.
fn text_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

/// The end of the value at the beginning of the text: at a comma or a brace of its own object.
fn value_end(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += text_end(&text[at..]) - 1,
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Struct, String> {
        let Ok(Json::Object(entries)) = serde_json::from_str(text) else { unreachable!("{text}") };
        structure(entries)
    }

    #[test]
    fn objects_are_converted_and_back() {
        for text in [
            "{}",
            r#"{"a":1,"b":-0.5,"c":[true,false,null,{"d":"é\n\"x\""}],"e":1e+300}"#,
            r#"{"most":9007199254740992,"pages":298,"small":5e-324}"#,
        ] {
            let read = object(&read(text).unwrap());
            assert_eq!(read, serde_json::from_str::<Json>(text).unwrap());
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn an_inexact_whole_number_is_refused() {
        let message = read(r#"{"isbn":9007199254740993}"#).unwrap_err();
        assert!(message.contains("9007199254740993"), "{message}");
        assert!(read(r#"{"a":[18446744073709551615]}"#).is_err());
        assert!(read(r#"{"a":9007199254740994}"#).is_ok());
    }

    #[test]
    fn nesting_too_deep_for_a_decoder_is_refused() {
        let lists = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&lists(44)).is_ok());
        assert!(read(&lists(46)).is_err());
    }

    #[test]
    fn members_keep_their_order_and_text() {
        let text = r#" { "a" : 1.10 , "b\"\\":"x,}\"", "c":[1,{"d":"]"}] ,"e":{} , "a":null } "#;
        let found = members(text);
        let wanted =
            [("a", "1.10"), ("b\"\\", r#""x,}\"""#), ("c", r#"[1,{"d":"]"}]"#), ("e", "{}")];
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(found[..4], wanted);
        assert_eq!(found[4], ("a", "null"));
        assert!(members("{}").is_empty());
    }
}
