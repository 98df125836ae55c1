//! The rejects file: the records that weren't imported, with the reasons. It can be corrected and
//! imported again with the same options.

use std::{
    fs::{File, OpenOptions},
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
use crate::command::transfer::{format::Format, json};

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
    /// CSV with this header, and what separates its cells.
    Csv(ByteRecord, u8),
    /// JSON Lines.
    Jsonl,
}

/// The rejects file. It is made at the first reject.
pub struct Rejects {
    path: PathBuf,
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
        match (path.exists(), mode) {
            (true, RejectsMode::New) => {
                return Err(format!(
                    "{shown} is there already: move it away, or name another with --rejects"
                ));
            }
            (true, RejectsMode::Append) => {
                last_written =
                    last_line(&path, &shape).map_err(|error| format!("{shown}: {error}"))?;
            }
            (true, RejectsMode::Anew) | (false, _) => {}
        }
        if !path.exists() {
            // Checked now rather than when the first batch is committed.
            let tried = OpenOptions::new().write(true).create_new(true).open(&path);
            tried.and_then(|_| std::fs::remove_file(&path)).map_err(|error| {
                format!(
                    "rejected records can't be written to {shown}, \
                     name another file with --rejects: {error}"
                )
            })?;
        }
        Ok(Self { path, shape, mode, file: None, last_written, begun: false })
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
        if !begun && self.mode == RejectsMode::Anew && self.path.exists() {
            std::fs::remove_file(&self.path)?;
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
                RejectsMode::Append => options.append(true).create(true),
                RejectsMode::New | RejectsMode::Anew => options.write(true).create_new(true),
            };
            let file = options.open(&self.path)?;
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
        let Self::Csv(header, delimiter) = self else { return Ok(()) };
        let own = own(header, header);
        cells(bytes, *delimiter, NOTES.iter().map(|name| name.as_bytes()).chain(own))
    }

    fn record(&self, reject: &Reject, bytes: &mut Vec<u8>) -> io::Result<()> {
        let (line, field, reason) = notes(reject);
        match (self, &reject.raw) {
            (Self::Csv(header, delimiter), raw) => {
                let none = ByteRecord::new();
                let raw = if let Raw::Cells(raw) = raw { raw } else { &none };
                let notes = [line.as_bytes(), field.as_bytes(), reason.as_bytes()];
                cells(bytes, *delimiter, notes.into_iter().chain(own(header, raw)))
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
                    Raw::Cells(_) | Raw::Large(_) | Raw::Open => {
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
    let is_note = |at: usize| {
        header.get(at).is_some_and(|name| NOTES.iter().any(|note| note.as_bytes() == name))
    };
    record.iter().enumerate().filter(move |(at, _)| !is_note(*at)).map(|(_, cell)| cell)
}

fn cells<'a>(
    bytes: &mut Vec<u8>,
    delimiter: u8,
    cells: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
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
        Shape::Csv(_, delimiter) => {
            let mut reader =
                ReaderBuilder::new().delimiter(*delimiter).flexible(true).from_reader(file);
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
