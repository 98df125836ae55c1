//! What the contract says of its message types, as far as bounds need it.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::DESCRIPTOR_POOL;

/// The most entries of a list of which the contract says nothing.
const ENTRIES: u64 = 1_000;

/// What is known of a message type.
pub(crate) struct Shape {
    pub(crate) fields: HashMap<u32, Field>,
    pub(crate) has_lists: bool,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) list: bool,
    /// The fewest and the most entries of a list.
    pub(crate) count: Option<(u64, u64)>,
    pub(crate) inside: Inside,
}

/// What a length-delimited field holds.
pub(crate) enum Inside {
    Text,
    Password,
    Message(String),
    Struct,
    Mask,
    Any,
}

/// The messages of the contract by full name.
pub(crate) static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    let ours = DESCRIPTOR_POOL.all_messages().filter(is_ours);
    ours.map(|message| (message.full_name().to_owned(), Shape::of(&message))).collect()
});

/// Messages inside requests that are checked one by one, so that a bad one is rejected alone.
const ROWS: [&str; 1] = ["ImportBooksRow"];

/// The types that a method takes, and [`ROWS`], by the name within the package.
pub(crate) static REQUESTS: LazyLock<HashMap<String, &'static Shape>> = LazyLock::new(|| {
    let services = DESCRIPTOR_POOL.services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let inputs = methods.map(|method| method.input().name().to_owned());
    let names = inputs.chain(ROWS.map(str::to_owned));
    names
        .filter_map(|name| {
            let shape = SHAPES.get(&format!("bookstore.v1.{name}"))?;
            Some((name, shape))
        })
        .collect()
});

pub(crate) fn is_ours(message: &MessageDescriptor) -> bool {
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
pub(crate) fn items(field: &FieldDescriptor) -> Option<(u64, u64)> {
    let extension = DESCRIPTOR_POOL.get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    let rules = options.get_extension(&extension);
    let repeated = set(rules.as_message()?, "repeated")?;
    let bound = |name| set(repeated.as_message()?, name)?.as_u64();
    Some((bound("min_items").unwrap_or(0), bound("max_items").unwrap_or(ENTRIES)))
}

pub(crate) fn set(message: &DynamicMessage, name: &str) -> Option<Value> {
    let there = message.has_field_by_name(name);
    there.then(|| message.get_field_by_name(name))?.map(|value| value.into_owned())
}
