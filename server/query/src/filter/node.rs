//! The tree of a typed filter, between parsing and SQL.

use sea_orm::{Value, sea_query::BinOper};
use serde_json::Number;

use crate::{
    field::{Field, WordIndex},
    search::words::Words,
};

/// Stands for a `*` that is meant literally, between parsing and typing. No filter holds the
/// character itself, since PostgreSQL stores no NUL.
pub(crate) const LITERAL_STAR: char = '\0';

/// A typed filter.
#[derive(Clone, Debug)]
pub(crate) enum FilterNode {
    All(Vec<FilterNode>),
    Any(Vec<FilterNode>),
    Not(Box<FilterNode>),
    Test(&'static Field, Test),
}

/// A test of one field.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Set,
    Compare(BinOper, Value),
    /// Equal to one of these values, in child rows.
    OneOf(Vec<Value>),
    /// Text from the first bound up to the second; `None` if no text is greater.
    Within(String, Option<String>),
    /// Text outside of such bounds.
    Outside(String, Option<String>),
    /// Text that contains this, in any case: a LIKE pattern.
    Contains(String),
    /// Text that has all of these words.
    Words(WordIndex, Words),
    /// A test of the value at a path in a JSON object.
    Json(Vec<String>, JsonTest),
}

/// A value as the caller wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    /// The text, with [`LITERAL_STAR`] for each star that was escaped.
    pub(crate) text: &'a str,
    pub(crate) quoted: bool,
}

impl Operand<'_> {
    /// The text with its literal stars.
    pub(crate) fn literal(self) -> String {
        self.text.replace(LITERAL_STAR, "*")
    }

    /// Whether the value is the bare `*` of `field:*`.
    pub(crate) fn is_star(self) -> bool {
        self.text == "*" && !self.quoted
    }
}

/// A test of a value in a JSON object.
#[derive(Clone, Debug)]
pub(crate) enum JsonTest {
    Set,
    Equal(Scalar),
    NotEqual(Scalar),
    Order(BinOper, Number),
}

/// A JSON value to compare with.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Text(String),
    Number(Number),
    Bool(bool),
}
