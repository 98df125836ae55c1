//! Cuts a file into numbered batches. The same file and options give the same batches, so that a
//! batch number means the same rows when an import is resumed.

use std::io;

use bookstore_client::v1::ImportBooksRow;
use prost::Message as _;

use super::{
    draft::RecordViolation,
    mapping::ColumnMapping,
    source::{Raw, Source},
};

/// The most bytes of a batch, encoded, and of the records that it was made of. A quarter of the
/// service's default `max_message_size`.
const MOST_BYTES: usize = 1 << 20;

/// A rejected record with its violations.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// The line of the file where it begins.
    pub line: i64,
    /// The record.
    pub raw: Raw,
    /// What is wrong, at least one thing.
    pub violations: Vec<RecordViolation>,
}

/// Consecutive records of the file.
#[derive(Debug, Default)]
pub struct Piece {
    /// The number of its batch; none if none of its records can be sent.
    pub number: Option<i64>,
    /// The rows to send.
    pub rows: Vec<ImportBooksRow>,
    /// The records that they were made of, in the same order.
    pub raws: Vec<Raw>,
    /// The records that no row could be made of.
    pub rejects: Vec<Reject>,
    /// How many bytes of the file were read up to its end.
    pub read: u64,
    /// Ignored keys that occur here for the first time.
    pub ignored: Vec<String>,
}

/// Cuts a file into pieces.
pub struct Cutter {
    source: Source,
    mapping: ColumnMapping,
    batch_size: usize,
    /// A row that didn't fit into the batch, with its record.
    left: Option<(ImportBooksRow, Raw, u64)>,
    number: i64,
    ignored: Vec<String>,
}

/// The most keys that are reported as ignored.
const MOST_IGNORED: usize = 100;

impl Cutter {
    /// Cuts pieces of at most `batch_size` records.
    #[must_use]
    pub fn new(source: Source, mapping: ColumnMapping, batch_size: usize) -> Self {
        Self { source, mapping, batch_size, left: None, number: 0, ignored: Vec::new() }
    }

    /// The number of the last batch so far.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The next piece; none at the end of the file.
    ///
    /// # Errors
    /// If the file can't be read on.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut piece = Piece::default();
        let (mut encoded, mut weight) = (0, 0);
        while piece.rows.len() + piece.rejects.len() < self.batch_size && weight < MOST_BYTES {
            let (row, raw, read) = match self.left.take() {
                Some(left) => left,
                None => {
                    let Some(record) = self.source.next()? else { break };
                    let mut unmapped = Vec::new();
                    let row = self.mapping.row(&record, &mut unmapped);
                    self.note(unmapped, &mut piece);
                    let row = row.and_then(fitting);
                    match row {
                        Ok(row) => (row, record.raw, record.read),
                        Err(violations) => {
                            weight += record.raw.weight();
                            piece.read = record.read;
                            let (line, raw) = (record.line, record.raw);
                            piece.rejects.push(Reject { line, raw, violations });
                            continue;
                        }
                    }
                }
            };
            let size = row.encoded_len();
            if !piece.rows.is_empty() && encoded + size > MOST_BYTES {
                self.left = Some((row, raw, read));
                break;
            }
            encoded += size;
            weight += raw.weight();
            piece.read = read;
            piece.rows.push(row);
            piece.raws.push(raw);
        }
        if !piece.rows.is_empty() {
            self.number += 1;
            piece.number = Some(self.number);
        }
        Ok((piece.number.is_some() || !piece.rejects.is_empty()).then_some(piece))
    }

    fn note(&mut self, unmapped: Vec<String>, piece: &mut Piece) {
        for key in unmapped {
            let known =
                super::mapping::NOTES.contains(&key.as_str()) || self.ignored.contains(&key);
            if !known && self.ignored.len() < MOST_IGNORED {
                self.ignored.push(key.clone());
                piece.ignored.push(key);
            }
        }
    }
}

/// A row that is small enough to be sent.
fn fitting(row: ImportBooksRow) -> Result<ImportBooksRow, Vec<RecordViolation>> {
    let size = row.encoded_len();
    if size <= MOST_BYTES {
        return Ok(row);
    }
    let reason = format!("the row has {size} bytes, at most {MOST_BYTES} are sent");
    Err(vec![RecordViolation::new("", reason)])
}
