//! The rejects file: the records that weren't imported, with the reasons. It can be corrected and
//! imported again with the same options.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, BufReader, Write as _},
    path::PathBuf,
};

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};
use serde_json::Value as Json;

use super::{
    cut::Reject,
    draft::RecordViolation,
    mapping::{NOTES, RAW},
    source::Raw,
};
use crate::command::transfer::{
    format::Format,
    json,
    place::{self, Place},
};

/// How the file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectsMode {
    /// It must not be there.
    New,
    /// It replaces what an earlier run of the same import wrote.
    Anew,
    /// It appends to what an earlier run of the same import wrote.
    Append,
}

/// How the records of the source are written.
#[derive(Clone, Debug)]
pub enum Shape {
    /// CSV with this header, what separates its cells, and what stands before a quote within quotes
    /// where it isn't doubled.
    Csv(ByteRecord, u8, Option<u8>),
    /// JSON Lines.
    Jsonl,
}

/// The rejects file. It is made at the first reject.
pub struct Rejects {
    /// As it was given.
    path: PathBuf,
    /// Behind all symbolic links.
    target: PathBuf,
    /// Whether it is a device or a pipe, which is written to as it is.
    is_special: bool,
    /// The file of an earlier run, until this run opens its own.
    before: Option<Metadata>,
    shape: Shape,
    mode: RejectsMode,
    file: Option<File>,
    /// Whether the import has begun, so that the file of an earlier run may be replaced.
    begun: bool,
    /// The last line of the source that the file of an earlier run has.
    last_written: i64,
}

impl Rejects {
    /// Checks that the file can be written.
    ///
    /// # Errors
    /// If it exists and mustn't, or the file of an earlier run can't be read.
    pub fn open(path: PathBuf, shape: Shape, mode: RejectsMode) -> Result<Self, String> {
        let shown = path.display().to_string();
        let mut last_written = 0;
        let place = Place::of(&path).map_err(|error| format!("{shown}: {error}"))?;
        let Place::Replaced { path: target, before } = place else {
            let (target, before) = (path.clone(), None);
            return Ok(Self {
                path,
                target,
                is_special: true,
                before,
                shape,
                mode,
                file: None,
                last_written,
                begun: false,
            });
        };
        match (before.is_some(), mode) {
            (true, RejectsMode::New) => {
                return Err(format!(
                    "{shown} is there already: move it away, or name another with --rejects"
                ));
            }
            (true, RejectsMode::Append) => {
                last_written =
                    last_line(&target, &shape).map_err(|error| format!("{shown}: {error}"))?;
            }
            (true, RejectsMode::Anew) | (false, _) => {}
        }
        if before.is_none() {
            // Checked now rather than when the first batch is committed.
            let tried = OpenOptions::new().write(true).create_new(true).open(&target);
            tried.and_then(|_| std::fs::remove_file(&target)).map_err(|error| {
                format!(
                    "rejected records can't be written to {shown}, \
                     name another file with --rejects: {error}"
                )
            })?;
        }
        Ok(Self {
            path,
            target,
            is_special: false,
            before,
            shape,
            mode,
            file: None,
            last_written,
            begun: false,
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes the rejects of a handled piece, in the order of the source.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&mut self, rejects: &[Reject]) -> io::Result<()> {
        let begun = std::mem::replace(&mut self.begun, true);
        if !begun && self.mode == RejectsMode::Anew && !self.is_special && self.before.is_some() {
            std::fs::remove_file(&self.target)?;
        }
        let last_written = self.last_written;
        let mut news = rejects.iter().filter(|reject| reject.line > last_written).peekable();
        if news.peek().is_none() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            match self.mode {
                _ if self.is_special => options.write(true),
                RejectsMode::Append => options.append(true).create(true),
                RejectsMode::New | RejectsMode::Anew => options.write(true).create_new(true),
            };
            let file = options.open(&self.target)?;
            if let Some(before) = self.before.take() {
                place::keep_owner(&before, &self.target);
                file.set_permissions(before.permissions())?;
            }
            if file.metadata()?.len() == 0 {
                self.shape.header(&mut bytes)?;
            }
            self.file = Some(file);
        }
        for reject in news {
            self.shape.record(reject, &mut bytes)?;
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&bytes))
    }
}

impl Shape {
    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Csv(..) => Format::Csv,
            Self::Jsonl => Format::Jsonl,
        }
    }

    fn header(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Self::Csv(header, delimiter, escape) = self else { return Ok(()) };
        let own = own(header, header);
        cells(bytes, *delimiter, *escape, NOTES.iter().map(|name| name.as_bytes()).chain(own))
    }

    fn record(&self, reject: &Reject, bytes: &mut Vec<u8>) -> io::Result<()> {
        let (line, field, reason) = notes(reject);
        match (self, &reject.raw) {
            // As it is written, so that a person can see and correct it.
            (Self::Csv(header, delimiter, escape), Raw::Misquoted { text, .. }) => {
                let notes = [line.as_bytes(), field.as_bytes(), reason.as_bytes()];
                cells(bytes, *delimiter, *escape, notes.into_iter())?;
                // In place of the end of the notes.
                bytes.pop();
                bytes.push(*delimiter);
                let has_notes = header.iter().take(NOTES.len()).eq(NOTES.map(str::as_bytes));
                bytes.extend_from_slice(match has_notes {
                    true => behind_notes(text, *delimiter, *escape),
                    false => text,
                });
                bytes.push(b'\n');
                Ok(())
            }
            (Self::Csv(header, delimiter, escape), raw) => {
                let none = ByteRecord::new();
                let raw = if let Raw::Cells(raw) = raw { raw } else { &none };
                let notes = [line.as_bytes(), field.as_bytes(), reason.as_bytes()];
                cells(bytes, *delimiter, *escape, notes.into_iter().chain(own(header, raw)))
            }
            (Self::Jsonl, raw) => {
                let text = |text: &str| Json::from(text).to_string();
                let mut members = vec![
                    format!("\"_line\":{line}"),
                    format!("\"_field\":{}", text(&field)),
                    format!("\"_reason\":{}", text(&reason)),
                ];
                match raw {
                    Raw::Line(raw) => members.extend(own_members(raw)),
                    Raw::Cells(_) | Raw::Misquoted { .. } | Raw::Large(_) | Raw::Open => {
                        members.push(format!("\"{RAW}\":\"\""))
                    }
                }
                writeln!(bytes, "{{{}}}", members.join(","))
            }
        }
    }
}

/// The cells that are the source's own, not the notes of an earlier rejects file.
fn own<'a>(header: &'a ByteRecord, record: &'a ByteRecord) -> impl Iterator<Item = &'a [u8]> {
    let is_noted = |at: usize| header.get(at).is_some_and(is_note);
    record.iter().enumerate().filter(move |(at, _)| !is_noted(*at)).map(|(_, cell)| cell)
}

/// The source's own part of a record as it is written: what is behind the third separator outside
/// quotes. The whole record if there is none.
fn behind_notes(text: &[u8], delimiter: u8, escape: Option<u8>) -> &[u8] {
    let (mut is_quoted, mut separators) = (false, 0);
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match *byte {
            byte if is_quoted && escape == Some(byte) => _ = bytes.next(),
            b'"' => is_quoted = !is_quoted,
            byte if byte == delimiter && !is_quoted => {
                separators += 1;
                if separators == NOTES.len() {
                    return &text[at + 1..];
                }
            }
            _ => {}
        }
    }
    text
}

/// Whether a column is one of an earlier rejects file.
fn is_note(name: &[u8]) -> bool {
    NOTES.iter().any(|note| note.as_bytes() == name)
}

/// Writes a record that is read back with the same separator and the same escape.
fn cells<'a>(
    bytes: &mut Vec<u8>,
    delimiter: u8,
    escape: Option<u8>,
    cells: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
    if let Some(escape) = escape {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                bytes.push(delimiter);
            }
            bytes.push(b'"');
            for byte in cell {
                if matches!(*byte, b'"') || *byte == escape {
                    bytes.push(escape);
                }
                bytes.push(*byte);
            }
            bytes.push(b'"');
        }
        bytes.push(b'\n');
        return Ok(());
    }
    let mut writer = WriterBuilder::new().delimiter(delimiter).from_writer(bytes);
    writer.write_record(cells)?;
    writer.flush()
}

/// The members of the line as they are written; a line that is no object is kept as a text.
fn own_members(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    let parsed = serde_json::from_slice::<Json>(line);
    if !matches!(parsed, Ok(Json::Object(_))) {
        return vec![format!("\"{RAW}\":{}", Json::from(text.as_ref()))];
    }
    let members = json::members(&text);
    let own = members.into_iter().filter(|(key, _)| !NOTES.contains(&key.as_str()));
    own.map(|(key, value)| format!("{}:{value}", Json::from(key))).collect()
}

/// Line, field and reason of a record; several violations are joined.
fn notes(reject: &Reject) -> (String, String, String) {
    let phrase = |violation: &RecordViolation| match violation.field.as_str() {
        "" => violation.reason.clone(),
        field => format!("{field} {}", violation.reason),
    };
    let mut fields: Vec<&str> =
        reject.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.dedup();
    let reasons: Vec<_> = reject.violations.iter().map(phrase).collect();
    (reject.line.to_string(), fields.join(", "), reasons.join("; "))
}

/// The last line of the source that a rejects file has; 0 without one.
fn last_line(path: &std::path::Path, shape: &Shape) -> io::Result<i64> {
    let mut file = BufReader::new(File::open(path)?);
    let mut last = 0;
    match shape {
        Shape::Csv(_, delimiter, escape) => {
            let mut reader = ReaderBuilder::new();
            let reader = reader.delimiter(*delimiter).escape(*escape).flexible(true);
            let mut reader = reader.from_reader(file);
            for record in reader.byte_records() {
                let record = record?;
                let line =
                    record.get(0).and_then(|cell| std::str::from_utf8(cell).ok()?.parse().ok());
                last = last.max(line.unwrap_or_default());
            }
        }
        Shape::Jsonl => {
            let mut line = String::new();
            while io::BufRead::read_line(&mut file, &mut line)? > 0 {
                let parsed: Option<Json> = serde_json::from_str(&line).ok();
                last = last.max(parsed.and_then(|json| json["_line"].as_i64()).unwrap_or_default());
                line.clear();
            }
        }
    }
    Ok(last)
}
