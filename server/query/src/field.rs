//! The fields that a list may filter and sort by: one table for each resource.
//!
//! Filters, orders and page tokens use this table only. A test compares it with the comment of the
//! List method in the contract.

/// Why a filter, an order or a search is invalid, as a text for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// The fields of one resource, and the order of its lists.
#[derive(Clone, Copy, Debug)]
pub struct ResourceFields {
    /// The table that holds them.
    pub table: &'static str,
    /// The fields, in the order in which the contract names them.
    pub fields: &'static [Field],
    /// The order of a list that names none, in the language of `order_by`.
    pub default_order: &'static str,
}

/// One field as callers name it, and the column behind it.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The path on the wire, such as `price.currency_code`.
    pub name: &'static str,
    /// The column of the table.
    pub column: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// Whether a filter may name it.
    pub filterable: bool,
    /// Whether an order may name it. The column must be NOT NULL and have an index with the id.
    pub sortable: bool,
    /// Whether the column may be NULL, which is an unset field on the wire.
    pub nullable: bool,
    /// The table of the column, if it is a field of repeated messages that are rows of their own,
    /// such as `items.book_id`. `None`: the resource's table.
    pub children: Option<ChildTable>,
    /// The index of the words of a text. `:` then finds words. `None`: `:` finds any part of the text
    /// and reads each row.
    pub words: Option<WordIndex>,
}

/// An index of the words of one text field. The migrations make it and the database maintains it.
///
/// On PostgreSQL it is a GIN index on a function that makes a `tsvector` of the column (12.2.2. Creating
/// Indexes). On SQLite it is an FTS5 table and a table that maps its rowids, `number`, to ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordIndex {
    /// The function on PostgreSQL, and the FTS5 table on SQLite.
    pub name: &'static str,
    /// The table that maps rowids to ids (SQLite).
    pub keys: &'static str,
    /// The column of that table with the id of the row (SQLite).
    pub key: &'static str,
}

/// The table of child rows, which a resource holds as repeated messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildTable {
    /// The table. An index must begin with the field's column and have `parent` after it.
    pub table: &'static str,
    /// The column with the resource's id. It must be NOT NULL.
    pub parent: &'static str,
}

/// The type of a field: the form of its values in a filter, and the type of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, compared code point by code point.
    Text,
    /// Text of thousands of characters, such as a description: `:` takes a shorter pattern.
    LongText,
    /// A whole number of at most 64 bits.
    Integer,
    /// A decimal number with at most six fraction digits; the column holds millionths.
    Micros,
    /// A number with a fraction, of 64 bits.
    Double,
    /// `true` or `false`.
    Bool,
    /// One of these names, each beside the text that the column holds.
    Enum(&'static [(&'static str, &'static str)]),
    /// A lower-case UUID.
    Id,
    /// A time (RFC 3339), cut to microseconds.
    Time,
    /// A JSON object: a filter names a path below it, such as `attributes.language`.
    Json,
}

impl Field {
    /// A text field that is NOT NULL, filterable and not sortable.
    pub const fn filterable(name: &'static str, column: &'static str) -> Self {
        Self {
            name,
            column,
            kind: Kind::Text,
            filterable: true,
            sortable: false,
            nullable: false,
            children: None,
            words: None,
        }
    }

    /// A filterable id in child rows: a filter holds if one of them has it.
    pub const fn in_children(
        name: &'static str,
        column: &'static str,
        children: ChildTable,
    ) -> Self {
        Self { kind: Kind::Id, children: Some(children), ..Self::filterable(name, column) }
    }
}

impl ResourceFields {
    /// The filterable fields as the contract lists them; `.*` marks a JSON object.
    pub fn filterable(&self) -> String {
        list(self.fields.iter().filter(|field| field.filterable))
    }

    /// The sortable fields as the contract lists them.
    pub fn sortable(&self) -> String {
        list(self.fields.iter().filter(|field| field.sortable))
    }
}

impl Kind {
    /// The form of a value of this kind, as the end of a sentence.
    pub(crate) fn wanted(self) -> String {
        match self {
            Kind::Text | Kind::LongText => "text".to_owned(),
            Kind::Integer => "a whole number of at most 64 bits, such as 5".to_owned(),
            Kind::Micros => {
                "a decimal number with at most 6 fraction digits, such as 12.50".to_owned()
            }
            Kind::Double => "a number, such as 4.5".to_owned(),
            Kind::Bool => "true or false".to_owned(),
            Kind::Enum(names) => {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                format!("one of {}", names.join(", "))
            }
            Kind::Id => "a lower-case UUID".to_owned(),
            Kind::Time => {
                "a time of the years 1 to 9999 in quotes, such as \"2026-05-04T10:30:00Z\""
                    .to_owned()
            }
            Kind::Json => "a path below it".to_owned(),
        }
    }
}

/// A text of the caller's, cut and in backquotes.
pub fn shown(text: &str) -> String {
    format!("`{}`", cut(text))
}

/// A text of the caller's, cut to 60 characters.
pub(crate) fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn list<'a>(fields: impl Iterator<Item = &'a Field>) -> String {
    let names: Vec<_> = fields
        .map(|field| match field.kind {
            Kind::Json => format!("{}.*", field.name),
            _ => field.name.to_owned(),
        })
        .collect();
    names.join(", ")
}
