//! Checks the lengths of a request's lists and other parts before their contents: millions of
//! entries fit into a message of a few megabytes, and checking each would take seconds.

use std::collections::HashMap;

use bookstore_store::FieldViolation;
use prost::{
    bytes::Buf,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{Kind, MessageDescriptor};

use super::{field::Messages, ranges::join};

/// The most paths that a field mask may name; no resource has as many fields.
const MASK_PATHS: u64 = 100;

/// The most bytes of free-form data as it is encoded. As JSON it may be 64 KiB; a short number
/// takes six times as much here.
const STRUCT_BYTES: usize = 512 * 1024;

/// Adds a violation for every list that is longer than its rule allows, and for other parts that
/// are too long.
pub(super) fn check(
    rules: &Messages,
    message: &MessageDescriptor,
    mut bytes: &[u8],
    path: &str,
    violations: &mut Vec<FieldViolation>,
) {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    let mut inner = Vec::new();
    while bytes.has_remaining() {
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else { return };
        let count = counts.entry(tag).or_default();
        *count += 1;
        let kind = message.get_field(tag).map(|field| field.kind());
        if let (WireType::LengthDelimited, Some(Kind::Message(kind))) = (wire_type, kind) {
            let Some(part) = part(&mut bytes) else { return };
            inner.push((tag, *count - 1, kind, part));
        } else if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            return;
        }
    }
    if message.full_name() == "google.protobuf.FieldMask" {
        let paths = counts.get(&1).copied().unwrap_or_default();
        if paths > MASK_PATHS {
            violations.push(FieldViolation::new(
                path,
                format!("must have at most {MASK_PATHS} paths; it has {paths}"),
            ));
        }
        return;
    }
    let fields = rules.get(message.full_name()).map(Vec::as_slice).unwrap_or_default();
    for field in fields {
        let count = counts.get(&field.field.number()).copied().unwrap_or_default();
        if let Some(description) = field.rule.excess_violation(count) {
            violations.push(FieldViolation::new(join(path, field.field.name()), description));
        }
    }
    if !violations.is_empty() {
        return;
    }
    for (tag, index, kind, part) in inner {
        let Some(field) = message.get_field(tag) else { continue };
        let mut path = join(path, field.name());
        if field.is_list() {
            path += &format!("[{index}]");
        }
        match kind.full_name() {
            "google.protobuf.Struct" if part.len() > STRUCT_BYTES => {
                violations.push(FieldViolation::new(
                    path,
                    "must be at most 65536 bytes as JSON; it is far more",
                ));
            }
            "google.protobuf.Struct" => {}
            _ => check(rules, &kind, part, &path, violations),
        }
    }
}

/// The bytes of a length-delimited field.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}
