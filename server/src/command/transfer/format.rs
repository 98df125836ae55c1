//! How a file is written: CSV or JSON Lines.

use std::path::Path;

use clap::ValueEnum;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values as RFC 4180 has them, with a header.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl Format {
    /// The ending of its files' names.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    /// The given format, or that of the file name's ending.
    ///
    /// # Errors
    /// If neither names a format.
    pub fn of(asked: Option<Self>, path: &Path) -> Result<Self, String> {
        if let Some(format) = asked {
            return Ok(format);
        }
        if is_pipe(path) {
            return Err("- is a pipe, which has no name: say --format csv or --format jsonl".into());
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            _ => Err(format!(
                "{} ends in none of .csv, .jsonl and .ndjson: say --format csv or --format jsonl",
                path.display()
            )),
        }
    }
}

/// Whether the file is `-`: standard input or output.
#[must_use]
pub fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Parses the separator of CSV: one ASCII character, or `\t` for a tab.
///
/// # Errors
/// If it is another text, or a character with a meaning in CSV.
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("must be one ASCII character other than a quote, or \\t for a tab".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_the_name_gives_the_format() {
        let of = |name: &str| Format::of(None, Path::new(name));
        assert_eq!(of("a.csv"), Ok(Format::Csv));
        assert_eq!(of("A.CSV"), Ok(Format::Csv));
        assert_eq!(of("a/b.jsonl"), Ok(Format::Jsonl));
        assert_eq!(of("b.ndjson"), Ok(Format::Jsonl));
        assert!(of("b.json").is_err() && of("csv").is_err());
        assert!(of("-").unwrap_err().contains("--format"));
        assert_eq!(Format::of(Some(Format::Jsonl), Path::new("a.csv")), Ok(Format::Jsonl));
    }

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(delimiter(";"), Ok(b';'));
        assert_eq!(delimiter("\\t"), Ok(b'\t'));
        for bad in ["", "\"", "\n", "ab", "→"] {
            assert!(delimiter(bad).is_err(), "{bad:?}");
        }
    }
}
