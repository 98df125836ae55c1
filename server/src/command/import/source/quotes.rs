//! Finds what the parser of CSV would alter: text behind a closing quote, which RFC 4180 does not
//! allow, and escapes that mean something else than the character behind them.

/// What is wrong with the quotes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteFault {
    /// `"text" more`.
    TextBehindQuote,
    /// The escape character before one that needs none, such as `\n` for a line's end.
    UnknownEscape,
    /// The escape character in a cell without quotes.
    EscapeOutsideQuotes,
}

impl QuoteFault {
    /// A phrase that follows the column's name.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TextBehindQuote => {
                "has text behind a closing quote: a quote within quotes is doubled (RFC 4180), or \
                 --escape names the character before it"
            }
            Self::UnknownEscape => {
                "has the escape character before one that is no quote, escape, separator or line's \
                 end"
            }
            Self::EscapeOutsideQuotes => "has the escape character and no quotes around it",
        }
    }
}

/// Follows the parser through a record.
#[derive(Debug)]
pub struct QuoteCheck {
    delimiter: u8,
    escape: Option<u8>,
    state: QuoteState,
    column: usize,
    /// How many bytes the cell without quotes has, and whether the first is the escape.
    plain: (usize, bool),
    fault: Option<(usize, QuoteFault)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuoteState {
    CellStart,
    Plain,
    Quoted,
    Escaped,
    /// Behind a quote that ends the cell, unless another one follows.
    QuoteInQuoted,
}

impl QuoteCheck {
    /// Checks cells with this separator and this escape character.
    #[must_use]
    pub fn new(delimiter: u8, escape: Option<u8>) -> Self {
        let (state, plain) = (QuoteState::CellStart, (0, false));
        Self { delimiter, escape, state, column: 0, plain, fault: None }
    }

    /// Begins a record.
    pub fn begin(&mut self) {
        (self.state, self.column, self.fault) = (QuoteState::CellStart, 0, None);
    }

    /// The column, counted from 0, and the first fault of the record.
    #[must_use]
    pub fn fault(&self) -> Option<(usize, QuoteFault)> {
        self.fault
    }

    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        let is_end = byte == self.delimiter || matches!(byte, b'\r' | b'\n');
        let is_escape = self.escape == Some(byte);
        self.state = match self.state {
            QuoteState::CellStart if byte == b'"' => QuoteState::Quoted,
            QuoteState::CellStart | QuoteState::Plain | QuoteState::QuoteInQuoted if is_end => {
                self.end_plain();
                self.column += 1;
                QuoteState::CellStart
            }
            QuoteState::CellStart => {
                self.plain = (1, is_escape);
                QuoteState::Plain
            }
            QuoteState::Plain => {
                self.plain.0 += 1;
                // `\N` alone is MySQL's NULL.
                let is_other = self.plain == (2, true) && byte != b'N';
                if is_escape || is_other || self.plain == (3, true) {
                    self.note(QuoteFault::EscapeOutsideQuotes);
                }
                QuoteState::Plain
            }
            QuoteState::Quoted if is_escape => QuoteState::Escaped,
            QuoteState::Quoted if byte == b'"' => QuoteState::QuoteInQuoted,
            QuoteState::Quoted => QuoteState::Quoted,
            QuoteState::Escaped => {
                if !is_end && !is_escape && byte != b'"' {
                    self.note(QuoteFault::UnknownEscape);
                }
                QuoteState::Quoted
            }
            QuoteState::QuoteInQuoted if byte == b'"' => QuoteState::Quoted,
            QuoteState::QuoteInQuoted => {
                self.note(QuoteFault::TextBehindQuote);
                self.plain = (0, false);
                QuoteState::Plain
            }
        };
    }

    fn end_plain(&mut self) {
        if self.state == QuoteState::Plain && self.plain == (1, true) {
            self.note(QuoteFault::EscapeOutsideQuotes);
        }
    }

    fn note(&mut self, fault: QuoteFault) {
        self.fault.get_or_insert((self.column, fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, escape: Option<u8>) -> Option<(usize, QuoteFault)> {
        let mut check = QuoteCheck::new(b',', escape);
        check.begin();
        // In two parts, as a buffer may end anywhere.
        for byte in text.as_bytes() {
            check.read(&[*byte]);
        }
        check.fault()
    }

    #[test]
    fn text_behind_a_closing_quote_is_found() {
        use QuoteFault::TextBehindQuote;
        for (text, found) in [
            ("\"a\"\n", None),
            ("\"a \"\"b\"\" c\",d\r\n", None),
            ("5' 10\",b\n", None),
            (" \"a\",b\n", None),
            ("\"\",\"\"\n", None),
            ("\"A \\\"X\\\": B\",C\n", Some((0, TextBehindQuote))),
            ("a,\"b\" ,c\n", Some((1, TextBehindQuote))),
            ("a,\"b\"c\"d\"\n", Some((1, TextBehindQuote))),
        ] {
            assert_eq!(fault(text, None), found, "{text}");
        }
    }

    #[test]
    fn an_escape_that_means_something_else_is_found() {
        use QuoteFault::{EscapeOutsideQuotes, TextBehindQuote, UnknownEscape};
        for (text, found) in [
            (r#""A \"X\": B",C"#, None),
            (r#""a \\ b","c \, d""#, None),
            (r#""a "" b""#, None),
            (r"\N,a", None),
            (r#""a\nb""#, Some((0, UnknownEscape))),
            (r#"a,"\0""#, Some((1, UnknownEscape))),
            (r"a\,b", Some((0, EscapeOutsideQuotes))),
            (r"\Nx,b", Some((0, EscapeOutsideQuotes))),
            (r"a,\", Some((1, EscapeOutsideQuotes))),
            (r"a,\n", Some((1, EscapeOutsideQuotes))),
            (r"\0,b", Some((0, EscapeOutsideQuotes))),
            (r#""a\"" x"#, Some((0, TextBehindQuote))),
        ] {
            assert_eq!(fault(&format!("{text}\n"), Some(b'\\')), found, "{text}");
        }
    }
}
