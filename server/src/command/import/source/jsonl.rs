//! JSON Lines: a value a line. Blank lines are skipped.

use std::io;

use super::{FileInput, LARGEST, Raw, Record};

/// Reads lines of JSON. They are parsed later.
pub struct JsonlSource {
    input: FileInput,
}

impl JsonlSource {
    /// Reads from here.
    #[must_use]
    pub fn new(input: FileInput) -> Self {
        Self { input }
    }

    /// The next line that isn't blank; none at the end.
    ///
    /// # Errors
    /// If the file can't be read on.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let (number, start) = (self.input.line, self.input.read);
            let mut line = Vec::new();
            loop {
                let bytes = self.input.peek()?;
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let part = &bytes[..end.unwrap_or(bytes.len())];
                if line.len() as u64 <= LARGEST {
                    line.extend_from_slice(part);
                }
                let count = part.len();
                if end.is_some() {
                    self.input.take(count + 1);
                    break;
                }
                if count == 0 {
                    break;
                }
                self.input.take(count);
            }
            let (read, size) = (self.input.read, self.input.read - start);
            if size == 0 {
                return Ok(None);
            }
            if line.len() as u64 > LARGEST {
                return Ok(Some(Record { line: number, read, raw: Raw::Large(size) }));
            }
            if !line.trim_ascii().is_empty() {
                line.truncate(line.trim_ascii_end().len());
                return Ok(Some(Record { line: number, read, raw: Raw::Line(line) }));
            }
        }
    }
}

#[test]
fn lines_are_counted() {
    let huge = "y".repeat(usize::try_from(LARGEST).unwrap() + 1);
    let text = format!("\u{feff}{{}}\r\n\n  \n[1]\n{huge}\nlast");
    let mut source = JsonlSource::new(FileInput::new(io::Cursor::new(text.into_bytes())).unwrap());
    let mut next = || source.next().unwrap().map(|record| (record.line, record.raw));
    assert_eq!(next(), Some((1, Raw::Line(b"{}".to_vec()))));
    assert_eq!(next(), Some((4, Raw::Line(b"[1]".to_vec()))));
    assert_eq!(next(), Some((5, Raw::Large(LARGEST + 2))));
    assert_eq!(next(), Some((6, Raw::Line(b"last".to_vec()))));
    assert_eq!(next(), None);
}
