//! A position in the tokens of a CREATE statement.

use crate::expression::{Engine, Spanned, tokens};

/// Reads the tokens of a text one after the other.
pub(super) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, tokens: tokens(Engine::Sqlite, text), at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The token that is `ahead` of the next one.
    pub(super) fn peek(&self, ahead: usize) -> Option<&Spanned> {
        self.tokens.get(self.at + ahead)
    }

    /// Whether the next token is the keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.peek(0).is_some_and(|token| token.is(keyword))
    }

    /// Whether the next token is the symbol.
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.peek(0).is_some_and(|token| token.is_symbol(symbol))
    }

    /// Consumes keywords if all of them come next.
    pub(super) fn eat(&mut self, keywords: &str) -> bool {
        let words: Vec<&str> = keywords.split(' ').collect();
        let found =
            (0..words.len()).all(|at| self.peek(at).is_some_and(|token| token.is(words[at])));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Consumes a symbol if it comes next.
    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    /// The next token as a name in lower case, since names of SQLite have no case.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = self.peek(0)?.name()?.to_lowercase();
        self.at += 1;
        Some(name)
    }

    /// The next name, without the schema in front of it.
    pub(super) fn qualified_name(&mut self) -> Option<String> {
        let name = self.name()?;
        if self.eat_symbol(".") { self.name() } else { Some(name) }
    }

    /// The text of the next token, as it is written.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let span = self.peek(0)?.span.clone();
        self.at += 1;
        self.text.get(span)
    }

    /// The text between brackets that come next, without them.
    pub(super) fn bracketed(&mut self) -> Option<&'a str> {
        if !self.is_symbol("(") {
            return None;
        }
        let start = self.peek(0)?.span.end;
        let mut depth = 0;
        while let Some(token) = self.peek(0) {
            depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
            let end = token.span.start;
            self.at += 1;
            if depth == 0 {
                return self.text.get(start..end).map(str::trim);
            }
        }
        None
    }

    /// The text from here to a comma or the end, brackets skipped.
    pub(super) fn up_to_comma(&mut self) -> &'a str {
        let start = self.peek(0).map_or(self.text.len(), |token| token.span.start);
        let (mut depth, mut end) = (0, start);
        while let Some(token) = self.peek(0) {
            if depth == 0 && token.is_symbol(",") {
                break;
            }
            depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
            end = token.span.end;
            self.at += 1;
        }
        self.text.get(start..end).unwrap_or_default()
    }

    /// The text from here to the end.
    pub(super) fn rest(&mut self) -> &'a str {
        let start = self.peek(0).map_or(self.text.len(), |token| token.span.start);
        self.at = self.tokens.len();
        self.text.get(start..).unwrap_or_default().trim().trim_end_matches(';').trim()
    }
}
