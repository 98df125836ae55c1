//! The bounds of requests, held against their encoded bytes before anything is decoded.
//!
//! Two bytes of an encoded list are an entry, and an entry takes hundreds of bytes once it is
//! decoded. So lists, masks, free-form data and nesting are counted on the bytes, and what the
//! whole will take is estimated ([`Measure::decoded`]). The bounds of lists are those of the
//! contract (`buf.validate`, `repeated.max_items`).

use std::{collections::HashMap, sync::LazyLock};

use prost::{
    bytes::Buf,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
    },
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::DESCRIPTOR_POOL;

/// The most entries of a list of which the contract says nothing.
const ENTRIES: u64 = 1_000;

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

/// The most violations that are told of one request.
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

/// What is known of a message type.
struct Shape {
    fields: HashMap<u32, Field>,
    has_lists: bool,
}

struct Field {
    name: String,
    list: bool,
    /// The fewest and the most entries of a list.
    count: Option<(u64, u64)>,
    inside: Inside,
}

/// What a length-delimited field holds.
enum Inside {
    Text,
    Password,
    Message(String),
    Struct,
    Mask,
    Any,
}

/// The messages of the contract by full name.
static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    let ours = DESCRIPTOR_POOL.all_messages().filter(is_ours);
    ours.map(|message| (message.full_name().to_owned(), Shape::of(&message))).collect()
});

/// The types that a method takes, by the name within the package.
static REQUESTS: LazyLock<HashMap<String, &'static Shape>> = LazyLock::new(|| {
    let services = DESCRIPTOR_POOL.services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let inputs = methods.map(|method| method.input());
    inputs
        .filter_map(|input| Some((input.name().to_owned(), SHAPES.get(input.full_name())?)))
        .collect()
});

fn is_ours(message: &MessageDescriptor) -> bool {
    message.package_name() == "bookstore.v1"
}

impl Shape {
    fn of(message: &MessageDescriptor) -> Self {
        let fields = message.fields().map(|field| (field.number(), Field::of(&field)));
        Self { fields: fields.collect(), has_lists: message.fields().any(|field| field.is_list()) }
    }
}

impl Field {
    fn of(field: &FieldDescriptor) -> Self {
        let inside = match field.kind() {
            Kind::Message(message) if is_ours(&message) => {
                Inside::Message(message.full_name().to_owned())
            }
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Struct" => Inside::Struct,
                "google.protobuf.FieldMask" => Inside::Mask,
                "google.protobuf.Any" => Inside::Any,
                _ => Inside::Text,
            },
            _ if field.name() == "password" => Inside::Password,
            _ => Inside::Text,
        };
        let count = field.is_list().then(|| items(field).unwrap_or((0, ENTRIES)));
        Self { name: field.name().to_owned(), list: field.is_list(), count, inside }
    }
}

/// `buf.validate.field.repeated.min_items` and `max_items` of a field.
fn items(field: &FieldDescriptor) -> Option<(u64, u64)> {
    let extension = DESCRIPTOR_POOL.get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    let rules = options.get_extension(&extension);
    let repeated = set(rules.as_message()?, "repeated")?;
    let bound = |name| set(repeated.as_message()?, name)?.as_u64();
    Some((bound("min_items").unwrap_or(0), bound("max_items").unwrap_or(ENTRIES)))
}

fn set(message: &DynamicMessage, name: &str) -> Option<Value> {
    let there = message.has_field_by_name(name);
    there.then(|| message.get_field_by_name(name))?.map(|value| value.into_owned())
}

/// Measures an encoded request, by the name of its type within `bookstore.v1`; nothing of it is
/// known where no method takes that type. What can't be read is left to the decoder.
pub fn measure(name: &str, bytes: &[u8]) -> Option<Measure> {
    let shape = REQUESTS.get(name)?;
    let mut walk = Walk { whole: bytes, measure: Measure::default() };
    walk.message(shape, bytes, &Path::Root, 0);
    if walk.measure.passwords > PASSWORDS {
        let told =
            format!("must have at most {PASSWORDS} passwords; it has {}", walk.measure.passwords);
        walk.violation("requests".to_owned(), told);
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

fn put(tag: u32, part: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(part.len() as u64, into);
    into.extend_from_slice(part);
}

fn for_each<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u32, &'a [u8])) {
    while let Some((tag, part)) = next(&mut bytes) {
        if let Some(part) = part {
            each(tag, part);
        }
    }
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
                    let told = format!("must have at most {MASK_PATHS} paths; it has {paths}");
                    self.violation(path.text(), told);
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
        if bytes.len() > STRUCT_BYTES {
            let told = "must be at most 65536 bytes as JSON; it is far more".to_owned();
            return self.violation(path.text(), told);
        }
        let mut data = Data::default();
        data.object(bytes, 0);
        self.measure.decoded += data.values * VALUE + data.objects * OBJECT + 4 * bytes.len();
        if data.values > STRUCT_VALUES {
            let told = format!(
                "must have at most {STRUCT_VALUES} values, nested ones included; it has {}",
                data.values
            );
            return self.violation(path.text(), told);
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

fn entries(mut bytes: &[u8], wanted: u32) -> u64 {
    let mut count = 0;
    while let Some((tag, _)) = next(&mut bytes) {
        count += u64::from(tag == wanted);
    }
    count
}

fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The next field, with its bytes if it is length-delimited; none at the end or where the bytes
/// can't be read.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
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

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::v1::{BatchCreateBooksRequest, Book, CreateBookRequest, ExecuteRequest};

    fn told(measure: &Measure) -> Vec<&str> {
        measure.violations.iter().map(|violation| violation.field.as_str()).collect()
    }

    /// A book whose attributes are a list of so many empty objects with a key each.
    fn crowded(objects: usize) -> Book {
        let entry = [0x0a, 0x08, 0x2a, 0x06, 0x0a, 0x04, 0x0a, 0x00, 0x12, 0x00];
        let list = entry.repeat(objects);
        let mut value = vec![0x32];
        prost::encoding::encode_varint(list.len() as u64, &mut value);
        value.extend(list);
        let mut pair = vec![0x0a, 0x01, b'k', 0x12];
        prost::encoding::encode_varint(value.len() as u64, &mut pair);
        pair.extend(value);
        let mut data = vec![0x0a];
        prost::encoding::encode_varint(pair.len() as u64, &mut data);
        data.extend(pair);
        let attributes = prost_types::Struct::decode(&*data).unwrap();
        Book { attributes: Some(attributes), ..Book::default() }
    }

    #[test]
    fn lists_are_counted_before_they_are_looked_into() {
        let bytes = [0x0a, 0].repeat(1_000);
        let measured = measure("BatchCreateBooksRequest", &bytes).unwrap();
        assert!(measured.violations.is_empty() && measured.decoded > 1_000 * MESSAGE);
        let bytes = [0x0a, 0].repeat(100_000);
        let measured = measure("BatchCreateBooksRequest", &bytes).unwrap();
        assert_eq!(told(&measured), ["requests"]);
        assert!(measured.decoded <= MESSAGE, "nothing was looked into");
        assert!(measure("Book", &bytes).is_none(), "no method takes it");
    }

    #[test]
    fn requests_inside_others_are_measured_too() {
        let batch = BatchCreateBooksRequest { requests: vec![CreateBookRequest::default(); 900] };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/bookstore.v1.BatchCreateBooksRequest".to_owned(),
            value: batch.encode_to_vec(),
        };
        let execute = ExecuteRequest { requests: vec![any; 100] };
        let measured = measure("ExecuteRequest", &execute.encode_to_vec()).unwrap();
        assert!(measured.decoded > 90_000 * MESSAGE, "{}", measured.decoded);
    }

    #[test]
    fn free_form_data_is_counted_by_its_values() {
        let create = |objects| {
            let book = Some(crowded(objects));
            CreateBookRequest { book, ..Default::default() }.encode_to_vec()
        };
        let measured = measure("CreateBookRequest", &create(1_000)).unwrap();
        assert!(measured.violations.is_empty(), "{:?}", measured.violations);
        assert!(measured.decoded > 1_000 * OBJECT);
        assert_eq!(measured.free_form[0].field, "book.attributes");
        let bytes = create(1_000);
        let inside = &bytes[measured.free_form[0].bytes.clone()];
        assert_eq!(Some(prost_types::Struct::decode(inside).unwrap()), crowded(1_000).attributes);
        let measured = measure("CreateBookRequest", &create(11_000)).unwrap();
        assert_eq!(told(&measured), ["book.attributes"]);
    }

    #[test]
    fn what_is_kept_of_a_request_depends_on_no_password() {
        use crate::v1::{CreateUserRequest, User};
        let create = |name: &str, password: &str| {
            let (username, password) = (name.to_owned(), password.to_owned());
            CreateUserRequest {
                user: Some(User { username, password, ..User::default() }),
                id: "x".to_owned(),
            }
            .encode_to_vec()
        };
        let kept = |bytes: &[u8]| without_passwords("CreateUserRequest", bytes);
        assert_eq!(kept(&create("a", "short")), kept(&create("a", "a far longer password")));
        assert_ne!(kept(&create("a", "short")), kept(&create("b", "short")));
        let within = |password| ExecuteRequest {
            requests: vec![prost_types::Any {
                type_url: "type.googleapis.com/bookstore.v1.CreateUserRequest".to_owned(),
                value: create("a", password),
            }],
        };
        let kept =
            |password| without_passwords("ExecuteRequest", &within(password).encode_to_vec());
        assert_eq!(kept("short"), kept("a far longer password"));
        let books = BatchCreateBooksRequest { requests: vec![CreateBookRequest::default(); 3] };
        let bytes = books.encode_to_vec();
        assert_eq!(without_passwords("BatchCreateBooksRequest", &bytes), bytes);
    }

    #[test]
    fn passwords_are_counted_wherever_they_are() {
        use crate::v1::{BatchCreateUsersRequest, CreateUserRequest, User};
        let user = User { password: "correct horse".to_owned(), ..User::default() };
        let one = CreateUserRequest { user: Some(user), ..Default::default() };
        let batch = BatchCreateUsersRequest { requests: vec![one; 60] };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/bookstore.v1.BatchCreateUsersRequest".to_owned(),
            value: batch.encode_to_vec(),
        };
        let measured = |count| {
            let execute = ExecuteRequest { requests: vec![any.clone(); count] };
            measure("ExecuteRequest", &execute.encode_to_vec()).unwrap()
        };
        assert_eq!((measured(1).passwords, measured(1).violations.len()), (60, 0));
        assert_eq!(told(&measured(2)), ["requests"]);
    }

    #[test]
    fn bytes_that_cannot_be_read_are_left_to_the_decoder() {
        for bytes in [&[0x0a][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff; 20]] {
            assert!(measure("CreateBookRequest", bytes).unwrap().violations.is_empty());
        }
    }
}
