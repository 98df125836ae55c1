//! Encoded messages, field by field (Protocol Buffers, "Encoding").

use prost::{
    bytes::Buf,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
    },
};

pub(crate) fn put(tag: u32, part: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(part.len() as u64, into);
    into.extend_from_slice(part);
}

pub(crate) fn for_each<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u32, &'a [u8])) {
    while let Some((tag, part)) = next(&mut bytes) {
        if let Some(part) = part {
            each(tag, part);
        }
    }
}

pub(crate) fn entries(mut bytes: &[u8], wanted: u32) -> u64 {
    let mut count = 0;
    while let Some((tag, _)) = next(&mut bytes) {
        count += u64::from(tag == wanted);
    }
    count
}

pub(crate) fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The next field, with its bytes if it is length-delimited; none at the end or where the bytes
/// can't be read.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    if !bytes.has_remaining() {
        return None;
    }
    let (tag, wire_type) = decode_key(bytes).ok()?;
    if wire_type == WireType::LengthDelimited {
        let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
        let (part, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        return Some((tag, Some(part)));
    }
    skip_field(wire_type, tag, bytes, DecodeContext::default()).ok()?;
    Some((tag, None))
}
