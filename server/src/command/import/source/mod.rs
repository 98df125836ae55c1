//! Reads a file record by record, in bounded memory.

mod csv;
mod jsonl;
mod quotes;

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Chain, Cursor, ErrorKind, Read},
    path::Path,
};

use ::csv::ByteRecord;

pub use self::{csv::CsvSource, jsonl::JsonlSource, quotes::QuoteFault};
use crate::command::transfer::format::is_pipe;

/// The largest record, in bytes of the file. Without this limit an unclosed quote would read the
/// rest of the file into memory.
pub const LARGEST: u64 = 1 << 20;

/// A record of a file as it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// The cells of a line of CSV, without their quotes.
    Cells(ByteRecord),
    /// A line of JSON, without its end.
    Line(Vec<u8>),
    /// More than [`LARGEST`]: only its size is kept.
    Large(u64),
    /// CSV that the parser would alter.
    Misquoted {
        /// The record as it is written, without its end.
        text: Vec<u8>,
        /// The column at fault, counted from 0.
        column: usize,
        /// What is wrong.
        fault: QuoteFault,
    },
    /// CSV with an unclosed quote: it holds all following records up to the end of the file.
    Open,
}

impl Raw {
    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Cells(cells) => cells.as_slice().len() + 8 * cells.len(),
            Self::Line(line) => line.len(),
            Self::Misquoted { text, .. } => text.len(),
            Self::Large(_) | Self::Open => 0,
        }
    }
}

/// A record with its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The line of the file where it begins, counted from 1.
    pub line: i64,
    /// How many bytes of the file were read up to its end.
    pub read: u64,
    /// The record.
    pub raw: Raw,
}

/// A source of records.
pub enum Source {
    /// Records of CSV; the first one is the header.
    Csv(Box<CsvSource>),
    /// Lines of JSON.
    Jsonl(JsonlSource),
}

impl Source {
    /// The next record; none at the end of the file.
    ///
    /// # Errors
    /// If the file can't be read on.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Csv(source) => source.next(),
            Self::Jsonl(source) => source.next(),
        }
    }
}

/// A file's bytes, the first of which were read already.
type Bytes = Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// The bytes of a file, counted, without a byte order mark.
pub struct FileInput {
    bytes: BufReader<Bytes>,
    read: u64,
    line: i64,
    carriage: bool,
}

const MARK: &[u8] = b"\xef\xbb\xbf";

impl FileInput {
    /// Opens a file, or standard input for `-`. Also returns the file's length, if it has one.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        if is_pipe(path) {
            return Ok((Self::new(io::stdin())?, None));
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "is a directory"));
        }
        let length = about.is_file().then_some(about.len());
        Ok((Self::new(file)?, length))
    }

    /// Reads from anything.
    ///
    /// # Errors
    /// If its first bytes can't be read.
    pub fn new(bytes: impl Read + Send + 'static) -> io::Result<Self> {
        let mut bytes: Box<dyn Read + Send> = Box::new(bytes);
        let mut first = Vec::new();
        bytes.by_ref().take(3).read_to_end(&mut first)?;
        let marked = first == MARK;
        let read = if marked { 3 } else { 0 };
        let first = Cursor::new(if marked { Vec::new() } else { first });
        let bytes = BufReader::with_capacity(1 << 16, first.chain(bytes));
        Ok(Self { bytes, read, line: 1, carriage: false })
    }

    /// The bytes that come next; none at the end.
    fn peek(&mut self) -> io::Result<&[u8]> {
        while let Err(error) = self.bytes.fill_buf() {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(self.bytes.buffer())
    }

    /// Consumes as many of them.
    fn take(&mut self, count: usize) {
        for byte in &self.bytes.buffer()[..count] {
            // A line ends with CR, LF or both.
            match byte {
                b'\r' => self.line += 1,
                b'\n' if !self.carriage => self.line += 1,
                _ => {}
            }
            self.carriage = *byte == b'\r';
        }
        self.read += count as u64;
        self.bytes.consume(count);
    }
}
