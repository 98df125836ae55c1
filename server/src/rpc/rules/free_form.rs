//! Free-form data and other well-known types: the rules look at their texts alone.

use bookstore_store::FieldViolation;
use prost_reflect::Value;

use super::text::NUL;

/// Makes an unknown field of the bytes of a message, so that they are passed over.
pub(super) fn pass_over(bytes: &mut [u8]) {
    /// Field 15, length-delimited.
    const UNKNOWN: u8 = 15 << 3 | 2;
    /// The bytes of a length that has always as many: each but the last says that more follow.
    const LENGTH: usize = 4;
    let rest = bytes.len().saturating_sub(1 + LENGTH);
    if bytes.len() < 1 + LENGTH {
        // One or two short fields at most: nothing is gained.
        return;
    }
    bytes[0] = UNKNOWN;
    for (at, byte) in bytes[1..=LENGTH].iter_mut().enumerate() {
        let more = if at + 1 < LENGTH { 0x80 } else { 0 };
        *byte = u8::try_from(rest >> (7 * at) & 0x7f).unwrap_or_default() | more;
    }
}

/// Texts inside well-known types, such as a Struct's names and values.
pub(super) fn forbid_nul(value: &Value, path: &str, violations: &mut Vec<FieldViolation>) {
    match value {
        Value::String(text) if text.contains('\0') => {
            violations.push(FieldViolation::new(path, NUL))
        }
        Value::Message(message) => {
            message.fields().for_each(|(_, value)| forbid_nul(value, path, violations));
        }
        Value::List(items) => items.iter().for_each(|item| forbid_nul(item, path, violations)),
        Value::Map(entries) => {
            for (key, value) in entries {
                if key.as_str().is_some_and(|key| key.contains('\0')) {
                    violations.push(FieldViolation::new(path, NUL));
                }
                forbid_nul(value, path, violations);
            }
        }
        _ => {}
    }
}
