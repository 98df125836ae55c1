//! A set of a resource's fields, by their names.

use sea_orm::{ActiveValue, Value};

/// Fields of a resource: those of these names, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(Option<Vec<String>>);

impl Paths {
    /// All fields.
    pub fn all() -> Self {
        Self(None)
    }

    /// The fields of these names.
    pub fn named(names: Vec<String>) -> Self {
        Self(Some(names))
    }

    /// Whether a field is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|paths| paths.iter().any(|path| path == name))
    }

    /// A column's value, if its field is among them.
    pub fn pick<V: Into<Value>>(&self, name: &str, value: V) -> ActiveValue<V> {
        match self.contains(name) {
            true => ActiveValue::Set(value),
            false => ActiveValue::NotSet,
        }
    }
}
