//! Reads JSON objects in which no name stands twice.
//!
//! RFC 7519, 4, lets a reader take the last of two claims of a name. Another reader takes the first,
//! and then the two see different tokens. So such an object is refused.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A JSON object, by names.
pub(super) type Object = Map<String, Value>;

/// Reads an object; none if the bytes are something else, or if a name stands twice in an object
/// at any depth.
pub(super) fn object(bytes: &[u8]) -> Option<Object> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// The texts of a value that is a text or a list of texts; none if it is something else.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without doubled names")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number);
        number.map(Value::Number).ok_or_else(|| E::custom("a number without a value"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = entries.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_without_doubled_names() {
        let read = object(br#"{"a": 1, "b": [null, true, -2, 1.5, "x"], "c": {"a": 1}}"#).unwrap();
        assert_eq!(read["a"], 1);
        assert_eq!(read["b"], serde_json::json!([null, true, -2, 1.5, "x"]));
        for refused in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"b": {"a": 1, "a": 2}}"#,
            r#"{"b": [{"a": 1, "\u0061": 2}]}"#,
            r#"{"a": 1} {"#,
            r#"["a"]"#,
            r#"{"a": 1,}"#,
            r#"{"a": NaN}"#,
            "",
        ] {
            assert_eq!(object(refused.as_bytes()), None, "{refused}");
        }
        assert_eq!(object(b"{\"a\": \"\xff\"}"), None, "bytes that aren't UTF-8");
        assert_eq!(object("[".repeat(100_000).as_bytes()), None, "no recursion without end");
    }

    #[test]
    fn texts_are_one_or_several() {
        assert_eq!(texts(&serde_json::json!("a")), Some(vec!["a"]));
        assert_eq!(texts(&serde_json::json!(["a", "b"])), Some(vec!["a", "b"]));
        assert_eq!(texts(&serde_json::json!(["a", 1])), None);
        assert_eq!(texts(&serde_json::json!({"a": "b"})), None);
    }
}
