//! The bounds of requests, held against their encoded bytes before anything is decoded.
//!
//! Two bytes of an encoded list are an entry, which takes hundreds of bytes once it is decoded.
//! So lists, masks, free-form data and nesting are counted on the bytes, and the memory of the
//! whole is estimated ([`Measure::decoded`]). The contract bounds lists (`repeated.max_items`).

use std::collections::HashMap;

pub(crate) mod shapes;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use self::{
    shapes::{Field, Inside, REQUESTS, SHAPES, Shape},
    wire::{entries, for_each, next, put, usize_of},
};

/// The most paths that a field mask may name; no resource has as many fields.
const MASK_PATHS: u64 = 100;

/// The most bytes of free-form data as it is encoded. As JSON it may be 64 KiB; a short number
/// takes six times as much here.
const STRUCT_BYTES: usize = 512 * 1024;

/// The most values of free-form data, in lists and objects at any depth.
pub const STRUCT_VALUES: usize = 10_000;

/// The deepest nesting. prost reads no deeper than 100 either.
const DEPTH: u32 = 100;

/// What a message of the contract takes once it is decoded, beside its texts: its fields, its
/// place in a list, and what is made of it. In bytes, a little more than the largest takes.
const MESSAGE: usize = 1_024;

/// What a value of free-form data takes, beside its text.
const VALUE: usize = 128;

/// What an object of free-form data takes: a node of a B-tree with room for eleven values, once
/// as Protobuf and once as JSON.
const OBJECT: usize = 1_400;

/// The most passwords of one request, those of requests inside it included: each takes tens of
/// milliseconds of a core.
pub const PASSWORDS: usize = 100;

/// The most violations that an error lists of one request.
const TOLD: usize = 10;

/// A part of a request that is larger than it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field: `requests[3].book.attributes`.
    pub field: String,
    /// What it must be and what it is.
    pub description: String,
}

/// Free-form data inside an encoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeForm {
    /// The path of the field.
    pub field: String,
    /// Where its bytes begin and end.
    pub bytes: std::ops::Range<usize>,
    /// Whether a text in it holds a NUL character.
    pub has_nul: bool,
}

/// What the bytes of a request show.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// What is larger than it may be, at most ten; nothing behind the first was looked at where
    /// it is a list.
    pub violations: Vec<Violation>,
    /// The memory that the request takes once it is decoded, in bytes, estimated.
    pub decoded: usize,
    /// The passwords that it asks to hash or to compare.
    pub passwords: usize,
    /// The free-form data in it.
    pub free_form: Vec<FreeForm>,
}

/// Measures an encoded request, by the name of its type within `bookstore.v1`; nothing of it is
/// known where no method takes that type. What can't be read is left to the decoder.
pub fn measure(name: &str, bytes: &[u8]) -> Option<Measure> {
    let shape = REQUESTS.get(name)?;
    // Of an import each row is looked at by itself, so that a bad one is rejected alone.
    let by_row = name == "ImportBooksRequest";
    let mut walk = Walk { whole: bytes, by_row, measure: Measure::default() };
    walk.message(shape, bytes, &Path::Root, 0);
    if walk.measure.passwords > PASSWORDS {
        let description =
            format!("must have at most {PASSWORDS} passwords; it has {}", walk.measure.passwords);
        walk.violation("requests".to_owned(), description);
    }
    Some(walk.measure)
}

/// The encoded request without its passwords, those of requests inside it included: what is kept
/// of a request must not help to guess them.
pub fn without_passwords(name: &str, bytes: &[u8]) -> Vec<u8> {
    match REQUESTS.get(name) {
        Some(shape) => stripped(shape, bytes, 0),
        None => bytes.to_vec(),
    }
}

fn stripped(shape: &Shape, bytes: &[u8], depth: u32) -> Vec<u8> {
    let (mut all, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    loop {
        let before = rest;
        let Some((tag, part)) = next(&mut rest) else { break };
        let whole = &before[..before.len() - rest.len()];
        let inside = shape.fields.get(&tag).map(|field| &field.inside);
        let inner = match (inside, part) {
            _ if depth > DEPTH => None,
            (Some(Inside::Password), _) => continue,
            (Some(Inside::Message(name)), Some(part)) => {
                SHAPES.get(name).map(|shape| stripped(shape, part, depth + 1))
            }
            (Some(Inside::Any), Some(part)) => Some(stripped_any(part, depth + 1)),
            _ => None,
        };
        match inner {
            Some(inner) => put(tag, &inner, &mut all),
            None => all.extend_from_slice(whole),
        }
    }
    all
}

/// An `Any` (its type is field 1, its value field 2) whose request has no passwords.
fn stripped_any(bytes: &[u8], depth: u32) -> Vec<u8> {
    let (mut name, mut value) = (&[][..], &[][..]);
    for_each(bytes, |tag, part| match tag {
        1 => name = part,
        2 => value = part,
        _ => {}
    });
    let short = str::from_utf8(name).ok().and_then(|name| name.rsplit('/').next());
    let short = short.and_then(|name| name.strip_prefix("bookstore.v1."));
    let shape = short.and_then(|name| REQUESTS.get(name));
    let inner = shape.map(|shape| stripped(shape, value, depth));
    let mut all = Vec::with_capacity(bytes.len());
    put(1, name, &mut all);
    put(2, inner.as_deref().unwrap_or(value), &mut all);
    all
}

/// Where a part stands: made into text only where something is told of it.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a Field, u64),
}

impl Path<'_> {
    fn write(&self, into: &mut String) {
        let Self::Field(above, field, index) = self else { return };
        above.write(into);
        if !into.is_empty() {
            into.push('.');
        }
        into.push_str(&field.name);
        if field.list {
            into.push_str(&format!("[{index}]"));
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }
}

struct Walk<'a> {
    whole: &'a [u8],
    by_row: bool,
    measure: Measure,
}

impl<'a> Walk<'a> {
    fn is_full(&self) -> bool {
        self.measure.violations.len() >= TOLD
    }

    fn violation(&mut self, field: String, description: String) {
        if !self.is_full() {
            self.measure.violations.push(Violation { field, description });
        }
    }

    fn message(&mut self, shape: &Shape, bytes: &'a [u8], path: &Path<'_>, depth: u32) {
        self.measure.decoded += MESSAGE;
        if depth > DEPTH {
            return;
        }
        // Counted before anything is looked into: a list that is too long costs no more.
        let before = self.measure.violations.len();
        self.count(shape, bytes, path);
        if self.measure.violations.len() > before {
            return;
        }
        let mut indexes: Vec<(u32, u64)> = Vec::new();
        let mut rest = bytes;
        while let Some((tag, part)) = next(&mut rest) {
            let Some(field) = shape.fields.get(&tag) else { continue };
            let Some(part) = part else { continue };
            if self.is_full() {
                return;
            }
            let mut index = 0;
            if field.list {
                match indexes.iter_mut().find(|(known, _)| *known == tag) {
                    Some((_, last)) => {
                        *last += 1;
                        index = *last;
                    }
                    None => indexes.push((tag, 0)),
                }
            }
            let path = Path::Field(path, field, index);
            self.part(field, part, &path, depth + 1);
        }
    }

    fn part(&mut self, field: &Field, part: &'a [u8], path: &Path<'_>, depth: u32) {
        match &field.inside {
            Inside::Text => self.measure.decoded += size_of::<String>() + 2 * part.len(),
            Inside::Password => self.measure.passwords += 1,
            Inside::Message(name) => {
                if let Some(shape) = SHAPES.get(name) {
                    self.message(shape, part, path, depth);
                }
            }
            Inside::Struct => self.free_form(part, path),
            Inside::Mask => {
                let paths = entries(part, 1);
                self.measure.decoded += part.len() + size_of::<String>() * usize_of(paths);
                if paths > MASK_PATHS {
                    let description =
                        format!("must have at most {MASK_PATHS} paths; it has {paths}");
                    self.violation(path.text(), description);
                }
            }
            Inside::Any => self.any(part, path, depth),
        }
    }

    /// Lists that are longer than they may be.
    fn count(&mut self, shape: &Shape, bytes: &[u8], path: &Path<'_>) {
        if !shape.has_lists {
            return;
        }
        let mut counts: HashMap<u32, u64> = HashMap::new();
        let mut rest = bytes;
        while let Some((tag, _)) = next(&mut rest) {
            *counts.entry(tag).or_default() += 1;
        }
        for (tag, count) in counts {
            let Some(field) = shape.fields.get(&tag) else { continue };
            if let Some((least, most)) = field.count
                && count > most
            {
                let mut text = path.text();
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&field.name);
                let range = match least {
                    0 => format!("at most {most}"),
                    _ => format!("{least} to {most}"),
                };
                self.violation(text, format!("must have {range} entries; it has {count}"));
            }
        }
    }

    /// A request inside an `Any`.
    fn any(&mut self, bytes: &'a [u8], path: &Path<'_>, depth: u32) {
        const TYPE: u32 = 1;
        const VALUE: u32 = 2;
        let (mut name, mut value, mut rest) = (None, None, bytes);
        while let Some((tag, part)) = next(&mut rest) {
            match tag {
                TYPE => name = part.and_then(|part| str::from_utf8(part).ok()),
                VALUE => value = part,
                _ => {}
            }
        }
        self.measure.decoded += MESSAGE + bytes.len();
        let short = name.and_then(|name| name.rsplit('/').next()?.strip_prefix("bookstore.v1."));
        if let (Some(name), Some(value)) = (short, value)
            && let Some(shape) = REQUESTS.get(name)
        {
            self.message(shape, value, path, depth);
        }
    }

    fn free_form(&mut self, bytes: &'a [u8], path: &Path<'_>) {
        if bytes.len() > STRUCT_BYTES && !self.by_row {
            let description = "must be at most 65536 bytes as JSON; it is far more".to_owned();
            return self.violation(path.text(), description);
        }
        let mut data = Data::default();
        data.object(bytes, 0);
        self.measure.decoded += data.values * VALUE + data.objects * OBJECT + 4 * bytes.len();
        if data.values > STRUCT_VALUES && !self.by_row {
            let description = format!(
                "must have at most {STRUCT_VALUES} values, nested ones included; it has {}",
                data.values
            );
            return self.violation(path.text(), description);
        }
        let start = bytes.as_ptr().addr().wrapping_sub(self.whole.as_ptr().addr());
        self.measure.free_form.push(FreeForm {
            field: path.text(),
            bytes: start..start + bytes.len(),
            has_nul: data.has_nul,
        });
    }
}

/// What is in free-form data (`google.protobuf.Struct`).
#[derive(Default)]
struct Data {
    values: usize,
    objects: usize,
    has_nul: bool,
}

impl Data {
    /// A `Struct`, whose entries are messages of a key (1) and a value (2).
    fn object(&mut self, bytes: &[u8], depth: u32) {
        self.objects += 1;
        for_each(bytes, |tag, entry| {
            if tag == 1 {
                // Also one without a value: it is decoded to an empty one.
                self.values += 1;
                for_each(entry, |tag, part| match tag {
                    1 => self.text(part),
                    2 => self.value(part, depth + 1),
                    _ => {}
                });
            }
        });
    }

    /// A `Value`: a string (3), an object (5), a list (6), or something of fixed size.
    fn value(&mut self, bytes: &[u8], depth: u32) {
        if depth > DEPTH {
            return;
        }
        for_each(bytes, |tag, part| match tag {
            3 => self.text(part),
            5 => self.object(part, depth + 1),
            6 => for_each(part, |tag, part| {
                if tag == 1 {
                    self.values += 1;
                    self.value(part, depth + 1);
                }
            }),
            _ => {}
        });
    }

    fn text(&mut self, bytes: &[u8]) {
        self.has_nul |= bytes.contains(&0);
    }
}
