//! Cuts SQL into tokens, as PostgreSQL (4.1. Lexical Structure) and SQLite do.
//!
//! Blanks and comments are no tokens, so two texts with the same tokens are the same SQL.

use std::ops::Range;

use crate::revision::Engine;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A key word or a name without quotes.
    Word,
    /// A name in quotes: `"books"`, on SQLite also `[books]` and `` `books` ``.
    Name,
    /// A text in quotes: `'…'`, with its prefix (`E'…'`, `X'…'`).
    Text,
    /// A text between dollar quotes (PostgreSQL).
    Dollar,
    /// A number or a parameter.
    Number,
    /// An operator or a punctuation mark.
    Symbol,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementToken<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text, with its quotes.
    pub text: &'a str,
    /// The bytes of the whole text that it takes.
    pub range: Range<usize>,
}

impl StatementToken<'_> {
    /// Whether it is this key word, in any case.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this operator or mark.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// The name that it means: without quotes as it stands, folded to lower case where it has
    /// none.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_ascii_lowercase()),
            TokenKind::Name => {
                let inner = self.text.get(1..self.text.len().saturating_sub(1))?;
                Some(inner.replace("\"\"", "\""))
            }
            _ => None,
        }
    }
}

/// The tokens of a text. What isn't closed reaches to the end.
pub fn tokens(text: &str, engine: Engine) -> Vec<StatementToken<'_>> {
    let mut lexer = StatementLexer { text, at: 0, engine };
    let mut tokens = Vec::new();
    while let Some((kind, range)) = lexer.next() {
        tokens.push(StatementToken { kind, text: &text[range.clone()], range });
    }
    tokens
}

/// The text with one blank between tokens and without comments: equal texts are equal SQL,
/// however they are formatted.
pub fn fold(text: &str, engine: Engine) -> String {
    let tokens = tokens(text, engine);
    tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
}

/// The statements of a text, each without the semicolon that ends it. Bodies of triggers and
/// functions (`BEGIN … END`) are part of theirs.
pub fn split(text: &str, engine: Engine) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut from, mut depth, mut has_body, mut is_first) = (None, 0_usize, false, true);
    let mut to = 0;
    for token in tokens(text, engine) {
        if token.is_symbol(";") && depth == 0 {
            if let Some(from) = from.take() {
                statements.push(&text[from..to]);
            }
            (has_body, is_first) = (false, true);
            continue;
        }
        if is_first {
            from = Some(token.range.start);
            has_body = token.is_word("create");
            is_first = false;
        } else if has_body && (token.is_word("begin") || token.is_word("case")) {
            depth += 1;
        } else if has_body && token.is_word("end") {
            depth = depth.saturating_sub(1);
        }
        to = token.range.end;
    }
    statements.extend(from.map(|from| &text[from..to]));
    statements
}

struct StatementLexer<'a> {
    text: &'a str,
    at: usize,
    engine: Engine,
}

impl StatementLexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The end of what begins here and reaches to the first character that doesn't fit.
    fn while_fits(&self, from: usize, fits: impl Fn(char) -> bool) -> usize {
        let rest = &self.text[from..];
        rest.find(|character| !fits(character)).map_or(self.text.len(), |end| from + end)
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let from = self.at;
            self.at = self.while_fits(self.at, char::is_whitespace);
            if self.rest().starts_with("--") {
                self.at = self.while_fits(self.at, |character| character != '\n');
            } else if self.rest().starts_with("/*") {
                self.at = self.end_of_comment();
            }
            if self.at == from {
                return;
            }
        }
    }

    /// Comments nest on PostgreSQL alone.
    fn end_of_comment(&self) -> usize {
        let (mut at, mut depth) = (self.at + 2, 1);
        while depth > 0 {
            let rest = &self.text[at..];
            let close = rest.find("*/");
            let open = rest.find("/*").filter(|_| self.engine == Engine::Postgres);
            match (open, close) {
                (Some(open), Some(close)) if open < close => {
                    (at, depth) = (at + open + 2, depth + 1);
                }
                (_, Some(close)) => (at, depth) = (at + close + 2, depth - 1),
                (_, None) => return self.text.len(),
            }
        }
        at
    }

    fn next(&mut self) -> Option<(TokenKind, Range<usize>)> {
        self.skip_blanks_and_comments();
        let from = self.at;
        let first = self.rest().chars().next()?;
        let (kind, end) = match first {
            '\'' => (TokenKind::Text, self.end_of_quoted(from, '\'', false)),
            '"' => (TokenKind::Name, self.end_of_quoted(from, '"', false)),
            '`' if self.engine == Engine::Sqlite => {
                (TokenKind::Name, self.end_of_quoted(from, '`', false))
            }
            '[' if self.engine == Engine::Sqlite => {
                let end = self.rest().find(']').map_or(self.text.len(), |end| from + end + 1);
                (TokenKind::Name, end)
            }
            '$' => self.dollar(from),
            '0'..='9' => {
                let fits = |next: char| next.is_alphanumeric() || next == '_' || next == '.';
                (TokenKind::Number, self.while_fits(from, fits))
            }
            _ if first.is_alphabetic() || first == '_' || !first.is_ascii() => self.word(from),
            _ => (TokenKind::Symbol, self.symbol(from, first)),
        };
        self.at = end;
        Some((kind, from..end))
    }

    /// A word, or a text whose prefix it is.
    fn word(&self, from: usize) -> (TokenKind, usize) {
        let fits =
            |next: char| next.is_alphanumeric() || next == '_' || next == '$' || !next.is_ascii();
        let end = self.while_fits(from, fits);
        let word = &self.text[from..end];
        let is_prefix = ["e", "x", "b", "n"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix));
        if is_prefix && self.text[end..].starts_with('\'') {
            let escapes = word.eq_ignore_ascii_case("e");
            return (TokenKind::Text, self.end_of_quoted(end, '\'', escapes));
        }
        (TokenKind::Word, end)
    }

    /// Behind the closing quote; a quote inside is written twice, or behind a backslash.
    fn end_of_quoted(&self, from: usize, quote: char, escapes: bool) -> usize {
        let mut characters = self.text[from..].char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if escapes && character == '\\' {
                characters.next();
            } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none()
            {
                return from + at + 1;
            }
        }
        self.text.len()
    }

    /// A text between dollar quotes, or a parameter (`$1`).
    fn dollar(&self, from: usize) -> (TokenKind, usize) {
        let tag_end = self.while_fits(from + 1, |next| next.is_alphanumeric() || next == '_');
        let tag = &self.text[from + 1..tag_end];
        let opens = self.text[tag_end..].starts_with('$')
            && !tag.starts_with(|first: char| first.is_ascii_digit());
        if !opens || self.engine == Engine::Sqlite {
            return (TokenKind::Number, tag_end.max(from + 1));
        }
        let delimiter = &self.text[from..=tag_end];
        let body = tag_end + 1;
        let end = self.text[body..].find(delimiter);
        (TokenKind::Dollar, end.map_or(self.text.len(), |end| body + end + delimiter.len()))
    }

    /// Operators take as many characters as fit, but for the beginning of a comment.
    fn symbol(&self, from: usize, first: char) -> usize {
        const OPERATORS: &str = "+-*/<>=~!@#%^&|?:";
        let mut end = from + first.len_utf8();
        if !OPERATORS.contains(first) {
            return end;
        }
        while let Some(next) = self.text[end..].chars().next() {
            let rest = &self.text[end..];
            if !OPERATORS.contains(next) || rest.starts_with("--") || rest.starts_with("/*") {
                break;
            }
            end += next.len_utf8();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, engine: Engine) -> Vec<&str> {
        tokens(text, engine).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn formatting_and_comments_are_no_tokens() {
        let one = "CREATE TABLE \"a\" (\r\n\t\"b\" text, -- why\n \"c\" int /* x /* y */ z */ );";
        let other = "CREATE TABLE \"a\"(\"b\" text,\"c\" int);";
        assert_eq!(fold(one, Engine::Postgres), fold(other, Engine::Postgres));
    }

    #[test]
    fn quoted_texts_keep_every_byte() {
        let text = "SELECT 'a  ''b', E'\\'  --', $x$ 1  2 $x$, \"a  b\"";
        let expected =
            ["SELECT", "'a  ''b'", ",", "E'\\'  --'", ",", "$x$ 1  2 $x$", ",", "\"a  b\""];
        assert_eq!(texts(text, Engine::Postgres), expected);
        assert_ne!(fold("SELECT 'a  b'", Engine::Sqlite), fold("SELECT 'a b'", Engine::Sqlite));
    }

    #[test]
    fn operators_end_before_comments() {
        assert_eq!(texts("a->>'b'--c", Engine::Postgres), ["a", "->>", "'b'"]);
        assert_eq!(texts("a=-- c\nb", Engine::Sqlite), ["a", "=", "b"]);
        assert_eq!(texts("$1::int", Engine::Postgres), ["$1", "::", "int"]);
    }

    #[test]
    fn statements_end_outside_of_bodies() {
        let trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN d THEN 1 \
                       END; DELETE FROM e; END";
        let text = format!("BEGIN; {trigger}; SELECT ';' ; ");
        assert_eq!(split(&text, Engine::Sqlite), ["BEGIN", trigger, "SELECT ';'"]);
        let function = "CREATE FUNCTION f() RETURNS int AS $$ BEGIN; END $$";
        assert_eq!(split(&format!("{function};"), Engine::Postgres), [function]);
    }
}
