//! CSV (RFC 4180) with any kind of line end. Blank lines are skipped. A record that the parser
//! would alter is returned as it is written.

use std::io;

use csv::ByteRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{FileInput, LARGEST, Raw, Record, quotes::QuoteCheck};

/// Reads records of CSV.
pub struct CsvSource {
    input: FileInput,
    reader: Reader,
    /// The cells of a record one behind the other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    quotes: QuoteCheck,
    /// The record as it is written.
    text: Vec<u8>,
}

impl CsvSource {
    /// Reads from here, with this byte as separator, and this one before a quote within quotes
    /// where it isn't doubled.
    #[must_use]
    pub fn new(input: FileInput, delimiter: u8, escape: Option<u8>) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).escape(escape).build();
        let (cells, ends) = (vec![0; 4 << 10], vec![0; 64]);
        let quotes = QuoteCheck::new(delimiter, escape);
        Self { input, reader, cells, ends, quotes, text: Vec::new() }
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// If the file can't be read on.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let bytes = self.input.peek()?;
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            match (bytes.len(), blank) {
                (0, _) => return Ok(None),
                (_, 0) => break,
                (_, blank) => self.input.take(blank),
            }
        }
        let (line, start) = (self.input.line, self.input.read);
        let (mut written, mut ended) = (0, 0);
        self.quotes.begin();
        self.text.clear();
        loop {
            let size = self.input.read - start;
            if size > LARGEST {
                // Read to its end, but no longer kept.
                (written, ended) = (0, 0);
                self.text.clear();
            }
            if written == self.cells.len() {
                self.cells.resize(2 * written, 0);
            }
            if ended == self.ends.len() {
                self.ends.resize(2 * ended, 0);
            }
            let (cells, ends) = (&mut self.cells[written..], &mut self.ends[ended..]);
            let input = self.input.peek()?;
            let is_end = input.is_empty();
            // The last line may lack its end. Inside quotes that is a part of the cell.
            let input = if is_end { b"\n" } else { input };
            let (result, read, out, more) = self.reader.read_record(input, cells, ends);
            self.quotes.read(&input[..read]);
            if !is_end {
                self.text.extend_from_slice(&input[..read]);
            }
            self.input.take(if is_end { 0 } else { read });
            (written, ended) = (written + out, ended + more);
            if matches!(result, ReadRecordResult::Record | ReadRecordResult::End) {
                break;
            }
            if is_end {
                return Ok(Some(Record { line, read: self.input.read, raw: Raw::Open }));
            }
        }
        let (read, size) = (self.input.read, self.input.read - start);
        if size > LARGEST {
            return Ok(Some(Record { line, read, raw: Raw::Large(size) }));
        }
        if let Some((column, fault)) = self.quotes.fault() {
            let length = self.text.trim_ascii_end().len();
            let end = self.text[length..].iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let text = self.text[..length + end.unwrap_or(self.text.len() - length)].to_vec();
            return Ok(Some(Record { line, read, raw: Raw::Misquoted { text, column, fault } }));
        }
        let mut cells = ByteRecord::with_capacity(written, ended);
        let mut from = 0;
        for end in &self.ends[..ended] {
            cells.push_field(&self.cells[from..*end]);
            from = *end;
        }
        Ok(Some(Record { line, read, raw: Raw::Cells(cells) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(i64, Vec<String>)> {
        let mut source =
            CsvSource::new(FileInput::new(io::Cursor::new(text.to_vec())).unwrap(), b',', None);
        let mut records = Vec::new();
        while let Some(record) = source.next().unwrap() {
            let cells = match record.raw {
                Raw::Cells(cells) => {
                    cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
                }
                other => vec![format!("{other:?}")],
            };
            records.push((record.line, cells));
        }
        records
    }

    fn rows(wanted: &[(i64, &[&str])]) -> Vec<(i64, Vec<String>)> {
        let owned = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
        wanted.iter().map(|(line, cells)| (*line, owned(cells))).collect()
    }

    #[test]
    fn a_record_has_the_line_where_it_begins() {
        let text = b"\xef\xbb\xbfa,b\r\n1,\"x\r\ny, \"\"z\"\"\"\r\n\r\n\n2,\xe2\x80\x9cq\xe2\x80\x9d\n3\n\n";
        let wanted: &[(i64, &[&str])] =
            &[(1, &["a", "b"]), (2, &["1", "x\r\ny, \"z\""]), (6, &["2", "“q”"]), (7, &["3"])];
        assert_eq!(read(text), rows(wanted));
        assert_eq!(read(b"a\rb\r\rc"), rows(&[(1, &["a"]), (2, &["b"]), (4, &["c"])]));
        assert_eq!(read(b""), rows(&[]));
        assert_eq!(read(b"\n\r\n"), rows(&[]));
        assert_eq!(read(b"a,"), rows(&[(1, &["a", ""])]));
        assert_eq!(read(b"5' 10\",b"), rows(&[(1, &["5' 10\"", "b"])]));
    }

    #[test]
    fn a_record_that_is_too_large_is_skipped() {
        let huge = usize::try_from(LARGEST).unwrap() + 10;
        let text = format!("a,b\n1,\"{}\"\n{}\n2,x\n", "y\n".repeat(huge / 2), ",".repeat(huge));
        let records = read(text.as_bytes());
        assert_eq!(records.len(), 4);
        assert!(records[1].1[0].starts_with("Large(10485"), "{:?}", records[1]);
        assert!(records[2].1[0].starts_with("Large(10485"), "{:?}", records[2]);
        let last = i64::try_from(huge / 2).unwrap() + 4;
        assert_eq!(records[3], (last, vec!["2".to_owned(), "x".to_owned()]));
        let records = read(format!("a\n\"{}", "y".repeat(3 * huge)).as_bytes());
        assert_eq!(records[1].1, ["Open"]);
    }

    #[test]
    fn a_record_that_would_be_altered_is_kept_as_it_is_written() {
        let records = read(b"a,b\r\n1,\"x \\\"y\\\"\" \r\n2,z\n");
        assert_eq!(records.len(), 3);
        let text = format!("text: {:?}, column: 1", b"1,\"x \\\"y\\\"\" ".to_vec());
        assert!(records[1].1[0].contains(&text), "{:?}", records[1]);
        assert_eq!(records[2], (3, vec!["2".to_owned(), "z".to_owned()]));

        let input = FileInput::new(io::Cursor::new(b"a\n\"x \\\"y\\\\\"\n".to_vec())).unwrap();
        let mut source = CsvSource::new(input, b',', Some(b'\\'));
        source.next().unwrap();
        let Some(Raw::Cells(cells)) = source.next().unwrap().map(|record| record.raw) else {
            unreachable!("cells")
        };
        assert_eq!(&cells[0], b"x \"y\\");
    }

    #[test]
    fn a_quote_without_an_end_is_reported() {
        assert_eq!(read(b"a,b\n1,\"x\n2,y\n"), rows(&[(1, &["a", "b"]), (2, &["Open"])]));
        assert_eq!(read(b"a\n\""), rows(&[(1, &["a"]), (2, &["Open"])]));
        for whole in [b"a\n\"x\"".as_slice(), b"a\n\"x\"\n", b"a\nx", b"a\n\"x\"y"] {
            assert_ne!(read(whole)[1].1, ["Open"]);
        }
    }
}
