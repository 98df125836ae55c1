//! Field behaviour (AIP-203), read from the contract's descriptors.

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};

/// What callers and the service may do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// The caller must give it.
    Required,
    /// Only the service sets it.
    OutputOnly,
    /// The service takes it and never answers it.
    InputOnly,
    /// It never changes.
    Immutable,
}

/// A field's behaviours.
pub fn behaviors(field: &FieldDescriptor) -> Vec<Behavior> {
    let option = option(field.options(), "google.api.field_behavior");
    let numbers = option.as_ref().and_then(Value::as_list).unwrap_or_default();
    let behaviors = numbers.iter().filter_map(|number| match number.as_enum_number() {
        Some(2) => Some(Behavior::Required),
        Some(3) => Some(Behavior::OutputOnly),
        Some(4) => Some(Behavior::InputOnly),
        Some(5) => Some(Behavior::Immutable),
        _ => None,
    });
    behaviors.collect()
}

/// An extension of a descriptor's options, by its full name.
pub fn option(options: DynamicMessage, name: &str) -> Option<Value> {
    let extension = options.descriptor().parent_pool().get_extension_by_name(name)?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}
