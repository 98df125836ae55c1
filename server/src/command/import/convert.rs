//! Converts a record of a file into a row of an import, or says why it can't.

use std::{borrow::Cow, collections::BTreeSet};

use bookstore_client::v1::ImportBooksRow;
use csv::ByteRecord;
use serde_json::Value as Json;

use super::{
    draft::{BookDraft, Cell, RecordViolation, without_line},
    mapping::{ColumnMapping, Places, RAW},
    source::{LARGEST, Raw, Record},
};
use crate::command::transfer::json;

impl ColumnMapping {
    /// The row of a record. Keys without a mapping are added to `unmapped`.
    ///
    /// # Errors
    /// Everything that is wrong with the record before the service's own checks.
    pub fn row(
        &self,
        record: &Record,
        unmapped: &mut Vec<String>,
    ) -> Result<ImportBooksRow, Vec<RecordViolation>> {
        let mut draft = BookDraft::default();
        match &record.raw {
            Raw::Large(size) => {
                let reason = format!("the record has {size} bytes, at most {LARGEST} are read");
                return Err(vec![RecordViolation::new("", reason)]);
            }
            Raw::Open => {
                let reason = "a quote of the record is not closed up to the end of the file";
                return Err(vec![RecordViolation::new("", reason)]);
            }
            Raw::Misquoted { column, fault, .. } => {
                let column = self.header_of(*column);
                return Err(vec![RecordViolation::new(column, fault.reason())]);
            }
            Raw::Cells(cells) => self.cells(cells, &mut draft)?,
            Raw::Line(line) => self.members(line, &mut draft, unmapped)?,
        }
        for (field, text) in &self.defaults {
            if !draft.has(field) {
                draft.set(field, Cell::Text(text));
            }
        }
        let (book, id) = draft.finish()?;
        Ok(ImportBooksRow { line: record.line, book: Some(book), id })
    }

    /// The header of a column of CSV, or its number.
    fn header_of(&self, column: usize) -> String {
        let header = match &self.places {
            Places::Columns { header, .. } => header.get(column),
            Places::Keys { .. } => None,
        };
        let name = header.and_then(|name| std::str::from_utf8(name).ok());
        name.map_or_else(|| format!("column {}", column + 1), str::to_owned)
    }

    /// Checks the defaults, so that a wrong one is reported before the file is read.
    ///
    /// # Errors
    /// All wrong defaults, a line each.
    pub fn check_defaults(&self) -> Result<(), String> {
        let mut draft = BookDraft::default();
        for (field, text) in &self.defaults {
            draft.set(field, Cell::Text(text));
        }
        let reason = |violation: RecordViolation| {
            format!("--default {}: {}", violation.field, violation.reason)
        };
        let violations = draft.finish().err().unwrap_or_default();
        let violations: Vec<_> = violations.into_iter().map(reason).collect();
        if violations.is_empty() { Ok(()) } else { Err(violations.join("\n")) }
    }

    fn cells(&self, cells: &ByteRecord, draft: &mut BookDraft) -> Result<(), Vec<RecordViolation>> {
        let Places::Columns { fields, id_from, header } = &self.places else { return Ok(()) };
        if cells.len() != header.len() {
            let (has, wants) = (cells.len(), header.len());
            let reason = format!("the record has {has} cells, the header has {wants}");
            return Err(vec![RecordViolation::new("", reason)]);
        }
        for (field, at) in fields {
            match std::str::from_utf8(&cells[*at]) {
                Ok(text) if text == self.null => {}
                Ok(text) => draft.set(field, Cell::Text(text)),
                Err(_) => draft.violation(field, "is not UTF-8".into()),
            }
        }
        if let Some(at) = id_from {
            let text = &cells[*at];
            draft.make_id(&header[*at], if text == self.null.as_bytes() { b"" } else { text });
        }
        Ok(())
    }

    fn members(
        &self,
        line: &[u8],
        draft: &mut BookDraft,
        unmapped: &mut Vec<String>,
    ) -> Result<(), Vec<RecordViolation>> {
        let Places::Keys { id_from, .. } = &self.places else { return Ok(()) };
        let text = std::str::from_utf8(line)
            .map_err(|_| vec![RecordViolation::new("", "the line is not UTF-8")])?;
        match serde_json::from_str(text) {
            Ok(Json::Object(_)) => {}
            Ok(_) => return Err(vec![RecordViolation::new("", "the line is no JSON object")]),
            Err(error) => {
                let reason = format!("the line is no JSON: {}", without_line(&error));
                return Err(vec![RecordViolation::new("", reason)]);
            }
        }
        let (mut seen, mut made) = (BTreeSet::new(), id_from.is_none());
        for (key, value) in json::members(text) {
            if key == RAW {
                return Err(vec![RecordViolation::new(
                    "",
                    format!("the text in {RAW} is still to be mended"),
                )]);
            }
            let fields = self.of_key(&key);
            let makes = id_from.as_ref() == Some(&key);
            if makes {
                made = true;
                let text: Cow<'_, str> = match serde_json::from_str(value) {
                    Ok(Json::String(text)) => text.into(),
                    Ok(Json::Null) => "".into(),
                    _ => value.into(),
                };
                draft.make_id(key.as_bytes(), text.as_bytes());
            }
            if fields.is_empty() && !makes {
                unmapped.push(key);
                continue;
            }
            for field in fields {
                if !seen.insert(field.clone()) {
                    draft.violation(&field, "stands twice in the line".into());
                } else if value != "null" {
                    draft.set(&field, Cell::Json(value));
                }
            }
        }
        if let Some(key) = id_from
            && !made
        {
            draft.make_id(key.as_bytes(), b"");
        }
        Ok(())
    }
}
