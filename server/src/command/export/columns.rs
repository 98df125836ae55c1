//! Books as rows of CSV or as lines of JSON.

use std::collections::BTreeSet;

use bookstore_client::v1::Book;
use chrono::{DateTime, SecondsFormat};
use csv::WriterBuilder;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use crate::command::transfer::{
    field::{Assignment, BookField},
    format::Format,
    json, money,
};

/// The columns of an export and how they are written.
pub struct ExportColumns {
    format: Format,
    fields: Vec<(BookField, String)>,
    null: String,
    delimiter: u8,
    ambiguous: u64,
}

impl ExportColumns {
    /// The given columns; without any, all fields of a book. Money is one value in JSON and two
    /// columns in CSV.
    ///
    /// # Errors
    /// If two have the same header.
    pub fn new(
        format: Format,
        asked: &[Assignment],
        null: String,
        delimiter: u8,
    ) -> Result<Self, String> {
        let asked = asked.iter().map(|column| (column.field.clone(), column.text.clone()));
        let mut fields: Vec<(BookField, String)> = asked.collect();
        if fields.is_empty() {
            let all = BookField::ALL.into_iter();
            let all =
                all.filter(|field| format == Format::Csv || *field != BookField::CurrencyCode);
            fields = all.map(|field| (field.clone(), field.to_string())).collect();
        }
        let mut headers = BTreeSet::new();
        for (_, header) in &fields {
            if !headers.insert(header) {
                return Err(format!("two --column are called {header:?}"));
            }
        }
        Ok(Self { format, fields, null, delimiter, ambiguous: 0 })
    }

    /// How many cells have the text that stands for unset, but are set.
    #[must_use]
    pub fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// The header of the file.
    ///
    /// # Errors
    /// If it can't be encoded.
    pub fn header(&self) -> Result<Vec<u8>, String> {
        match self.format {
            Format::Csv => self.rows([self.fields.iter().map(|(_, header)| header.clone())]),
            Format::Jsonl => Ok(Vec::new()),
        }
    }

    /// The rows of these books.
    ///
    /// # Errors
    /// If they can't be encoded.
    pub fn books(&mut self, books: &[Book]) -> Result<Vec<u8>, String> {
        if self.format == Format::Jsonl {
            return Ok(books.iter().map(|book| self.line(book)).collect::<String>().into_bytes());
        }
        let mut rows = Vec::new();
        for book in books {
            let mut row = Vec::new();
            for (field, _) in &self.fields {
                let cell = value(book, field).map(|value| match (field, value) {
                    (BookField::Price, _) => {
                        book.price.as_ref().map(money::write).unwrap_or_default()
                    }
                    (_, Json::String(text)) => text,
                    (_, value) => value.to_string(),
                });
                self.ambiguous += u64::from(cell.as_ref() == Some(&self.null));
                row.push(cell.unwrap_or_else(|| self.null.clone()));
            }
            rows.push(row);
        }
        self.rows(rows)
    }

    fn rows<R: IntoIterator<Item = String>>(
        &self,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Vec<u8>, String> {
        let mut writer = WriterBuilder::new().delimiter(self.delimiter).from_writer(Vec::new());
        for row in rows {
            writer.write_record(row).map_err(|error| error.to_string())?;
        }
        writer.into_inner().map_err(|error| error.to_string())
    }

    /// A book as an object with its members in the order of the columns. Unset fields are omitted.
    fn line(&self, book: &Book) -> String {
        let members = self.fields.iter().filter_map(|(field, header)| {
            Some(format!("{}:{}", Json::from(header.as_str()), value(book, field)?))
        });
        format!("{{{}}}\n", members.collect::<Vec<_>>().join(","))
    }
}

/// A field's value in the contract's JSON form; none if it is unset.
fn value(book: &Book, field: &BookField) -> Option<Json> {
    let text = |text: &String| Some(Json::from(text.as_str()));
    match field {
        BookField::Id => text(&book.id),
        BookField::Title => text(&book.title),
        BookField::Author => text(&book.author),
        BookField::Description => book.description.as_ref().and_then(text),
        BookField::Price => book.price.as_ref().map(|price| {
            // 64-bit numbers are texts in protobuf's JSON.
            json!({
                "currency_code": price.currency_code,
                "units": price.units.to_string(),
                "nanos": price.nanos,
            })
        }),
        BookField::CurrencyCode => book.price.as_ref().and_then(|price| text(&price.currency_code)),
        BookField::Stock => Some(Json::from(book.stock)),
        BookField::CategoryId => book.category_id.as_ref().and_then(text),
        BookField::CoverImage => book.cover_image.as_ref().and_then(text),
        BookField::Attributes => book.attributes.as_ref().map(json::object),
        BookField::Attribute(key) => {
            book.attributes.as_ref().and_then(|all| all.fields.get(key)).map(json::json)
        }
        BookField::CreateTime => book.create_time.as_ref().and_then(time),
        BookField::UpdateTime => book.update_time.as_ref().and_then(time),
    }
}

fn time(time: &Timestamp) -> Option<Json> {
    let nanos = u32::try_from(time.nanos).ok()?;
    let time = DateTime::from_timestamp(time.seconds, nanos)?;
    Some(Json::from(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}
