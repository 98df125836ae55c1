//! A record of a file becomes a row of an import, or is told why it can't.

use std::{borrow::Cow, collections::BTreeSet};

use bookstore_client::v1::ImportBooksRow;
use csv::ByteRecord;
use serde_json::Value as Json;

use super::{
    draft::{Cell, Draft, FieldViolation, without_line},
    plan::{Places, Plan, RAW},
    source::{LARGEST, Raw, Record},
};
use crate::command::transfer::json;

impl Plan {
    /// The row that a record makes. Keys that nothing maps are put to the others.
    ///
    /// # Errors
    /// Everything that is wrong with the record and that the service wouldn't see.
    pub fn row(
        &self,
        record: &Record,
        unmapped: &mut Vec<String>,
    ) -> Result<ImportBooksRow, Vec<FieldViolation>> {
        let mut draft = Draft::default();
        match &record.raw {
            Raw::Large(size) => {
                let reason = format!("the record has {size} bytes, at most {LARGEST} are read");
                return Err(vec![FieldViolation::new("", reason)]);
            }
            Raw::Open => {
                let reason = "a quote of the record is not closed up to the end of the file";
                return Err(vec![FieldViolation::new("", reason)]);
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

    /// Tries the defaults, so that a wrong one is told before anything is read.
    ///
    /// # Errors
    /// All that are wrong, a line each.
    pub fn check_defaults(&self) -> Result<(), String> {
        let mut draft = Draft::default();
        for (field, text) in &self.defaults {
            draft.set(field, Cell::Text(text));
        }
        let told = |fault: FieldViolation| format!("--default {}: {}", fault.field, fault.reason);
        let faults = draft.finish().err().unwrap_or_default();
        let faults: Vec<_> = faults.into_iter().map(told).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    fn cells(&self, cells: &ByteRecord, draft: &mut Draft) -> Result<(), Vec<FieldViolation>> {
        let Places::Columns { fields, id_from, header } = &self.places else { return Ok(()) };
        if cells.len() != header.len() {
            let (has, wants) = (cells.len(), header.len());
            let reason = format!("the record has {has} cells, the header has {wants}");
            return Err(vec![FieldViolation::new("", reason)]);
        }
        for (field, at) in fields {
            match std::str::from_utf8(&cells[*at]) {
                Ok(text) if text == self.null => {}
                Ok(text) => draft.set(field, Cell::Text(text)),
                Err(_) => draft.fault(field, "is not UTF-8".into()),
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
        draft: &mut Draft,
        unmapped: &mut Vec<String>,
    ) -> Result<(), Vec<FieldViolation>> {
        let Places::Keys { id_from, .. } = &self.places else { return Ok(()) };
        let text = std::str::from_utf8(line)
            .map_err(|_| vec![FieldViolation::new("", "the line is not UTF-8")])?;
        match serde_json::from_str(text) {
            Ok(Json::Object(_)) => {}
            Ok(_) => return Err(vec![FieldViolation::new("", "the line is no JSON object")]),
            Err(error) => {
                let reason = format!("the line is no JSON: {}", without_line(&error));
                return Err(vec![FieldViolation::new("", reason)]);
            }
        }
        let (mut seen, mut made) = (BTreeSet::new(), id_from.is_none());
        for (key, value) in json::members(text) {
            if key == RAW {
                return Err(vec![FieldViolation::new(
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
                    draft.fault(&field, "stands twice in the line".into());
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
