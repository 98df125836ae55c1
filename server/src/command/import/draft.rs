//! Builds a row: converts the file's values into a book, field by field.

use std::collections::BTreeMap;

use bookstore_client::v1::{Book, Money};
use prost_types::{Struct, Value, value::Kind};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::command::transfer::{
    field::BookField,
    json,
    money::{self, Amount},
};

/// The namespace of `--id-from`: an id is the UUID of version 5 of this and the text.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x5791_68d5_03ab_4e1f_b4d2_36f6_1e2d_6480);

/// A violation in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordViolation {
    /// The field; empty for the record as a whole.
    pub field: String,
    /// What is wrong, as a phrase that follows the field's name.
    pub reason: String,
}

impl RecordViolation {
    /// A violation of a field.
    pub fn new(field: impl ToString, reason: impl Into<String>) -> Self {
        Self { field: field.to_string(), reason: reason.into() }
    }
}

/// A field's value in a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// A cell of CSV, or a default.
    Text(&'a str),
    /// A value of JSON as it is written.
    Json(&'a str),
}

/// A row that is being built.
#[derive(Debug, Default)]
pub(super) struct BookDraft {
    id: String,
    book: Book,
    amount: Option<Amount>,
    currency: Option<String>,
    stock: Option<i32>,
    attributes: Option<Struct>,
    attribute: BTreeMap<String, Value>,
    violations: Vec<RecordViolation>,
}

impl BookDraft {
    /// Whether a field has a value or a violation.
    pub(super) fn has(&self, field: &BookField) -> bool {
        let name = field.name();
        let set = match field {
            BookField::Id => !self.id.is_empty(),
            // Titles and authors can't be empty, so empty is unset.
            BookField::Title => !self.book.title.is_empty(),
            BookField::Author => !self.book.author.is_empty(),
            BookField::Description => self.book.description.is_some(),
            BookField::Price => self.amount.is_some(),
            BookField::CurrencyCode => self.currency.is_some(),
            BookField::Stock => self.stock.is_some(),
            BookField::CategoryId => self.book.category_id.is_some(),
            BookField::CoverImage => self.book.cover_image.is_some(),
            BookField::Attributes => self.attributes.is_some(),
            BookField::Attribute(key) => {
                let given = self.attributes.as_ref().map(|all| &all.fields);
                self.attribute.contains_key(key) || given.is_some_and(|all| all.contains_key(key))
            }
            BookField::CreateTime | BookField::UpdateTime => true,
        };
        set || self.violations.iter().any(|violation| violation.field == name)
    }

    pub(super) fn set(&mut self, field: &BookField, cell: Cell<'_>) {
        if let Err(reason) = self.try_set(field, cell) {
            self.violation(field, reason);
        }
    }

    fn try_set(&mut self, field: &BookField, cell: Cell<'_>) -> Result<(), String> {
        match field {
            BookField::Id => self.id = cell.text()?,
            BookField::Title => self.book.title = cell.text()?,
            BookField::Author => self.book.author = cell.text()?,
            BookField::Description => self.book.description = Some(cell.text()?),
            BookField::Price => self.price(cell)?,
            BookField::CurrencyCode => self.currency(cell.text()?)?,
            BookField::Stock => self.stock = Some(money::whole(&cell.number()?)?),
            BookField::CategoryId => self.book.category_id = Some(cell.text()?),
            BookField::CoverImage => self.book.cover_image = Some(cell.text()?),
            BookField::Attributes => self.attributes = Some(cell.object()?),
            BookField::Attribute(key) => {
                let value = match cell {
                    Cell::Text(text) => Value { kind: Some(Kind::StringValue(text.to_owned())) },
                    Cell::Json(text) => json::value(parsed(text)?)?,
                };
                self.attribute.insert(key.clone(), value);
            }
            BookField::CreateTime | BookField::UpdateTime => {}
        }
        Ok(())
    }

    /// A price is a decimal, or in JSON also the contract's own message.
    fn price(&mut self, cell: Cell<'_>) -> Result<(), String> {
        let Cell::Json(text) = cell else {
            self.amount = Some(money::read(&cell.number()?)?);
            return Ok(());
        };
        if !text.starts_with('{') {
            self.amount = Some(money::read(&cell.number()?)?);
            return Ok(());
        }
        let (mut units, mut nanos) = (0, 0);
        for (key, value) in json::members(text) {
            let number = |value| Cell::Json(value).number();
            match key.as_str() {
                "currency_code" | "currencyCode" => self.currency(Cell::Json(value).text()?)?,
                "units" => {
                    let text = number(value)?;
                    units = text
                        .parse()
                        .map_err(|_| format!("must have whole units; it has {text}"))?;
                }
                "nanos" => nanos = money::whole(&number(value)?)?,
                other => return Err(format!("must have units and nanos; it has {other:?}")),
            }
        }
        self.amount = Some((units, nanos));
        Ok(())
    }

    /// The price may already have a currency of its own.
    fn currency(&mut self, code: String) -> Result<(), String> {
        match self.currency.replace(code.clone()) {
            Some(other) if other != code => {
                Err(format!("has two currencies, {other:?} and {code:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Adds a violation of a field.
    pub(super) fn violation(&mut self, field: &BookField, reason: String) {
        self.violations.push(RecordViolation::new(field, reason));
    }

    /// Makes the id of a text, so that the same text has the same id every time.
    pub(super) fn make_id(&mut self, header: &[u8], text: &[u8]) {
        if text.is_empty() {
            let header = String::from_utf8_lossy(header);
            self.violation(&BookField::Id, format!("is made of {header:?}, which is empty"));
            return;
        }
        self.id = Uuid::new_v5(&NAMESPACE, text).to_string();
    }

    pub(super) fn finish(self) -> Result<(Book, String), Vec<RecordViolation>> {
        if !self.violations.is_empty() {
            return Err(self.violations);
        }
        let mut book = self.book;
        let currency_code = self.currency.unwrap_or_default();
        book.price = self.amount.map(|(units, nanos)| Money { currency_code, units, nanos });
        book.stock = self.stock.unwrap_or_default();
        let mut attributes = self.attributes.unwrap_or_default();
        attributes.fields.extend(self.attribute);
        book.attributes = (!attributes.fields.is_empty()).then_some(attributes);
        Ok((book, self.id))
    }
}

impl Cell<'_> {
    fn text(self) -> Result<String, String> {
        match self {
            Cell::Text(text) => Ok(text.to_owned()),
            Cell::Json(text) => match parsed(text)? {
                Json::String(text) => Ok(text),
                _ => Err("must be a text, in quotes".into()),
            },
        }
    }

    /// A number with all its digits; JSON may have it in quotes.
    fn number(self) -> Result<String, String> {
        match self {
            Cell::Json(text) if !text.starts_with('"') => Ok(text.to_owned()),
            other => other.text(),
        }
    }

    fn object(self) -> Result<Struct, String> {
        let (Cell::Text(text) | Cell::Json(text)) = self;
        match serde_json::from_str(text) {
            Ok(Json::Object(entries)) => json::structure(entries),
            Ok(_) => Err("must be a JSON object".into()),
            Err(error) => Err(format!("must be a JSON object: {}", without_line(&error))),
        }
    }
}

fn parsed(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| without_line(&error))
}

/// A parser's error text without its line, which is always 1.
pub(super) fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at character ")
}
