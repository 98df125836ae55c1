//! The tokens of an SQL text, each with its position.

use std::{collections::BTreeSet, ops::Range};

use super::{Engine, names::fold};

/// A word of an SQL text. Comments and white space are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A keyword or an unquoted name, as it is written.
    Word(String),
    /// A quoted name, without its quotes.
    Quoted(String),
    /// A text constant, without its quotes; bytes with their `x`.
    Text(String),
    /// A number.
    Number(String),
    /// An operator or a bracket.
    Symbol(String),
}

/// A token and its position in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned {
    /// The token.
    pub token: Token,
    /// Its position.
    pub span: Range<usize>,
}

impl Spanned {
    /// Whether it is this keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(&self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is this operator or bracket.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        matches!(&self.token, Token::Symbol(text) if text == symbol)
    }

    /// The name that it is, if it can be one: SQLite takes texts for names too.
    pub fn name(&self) -> Option<&str> {
        match &self.token {
            Token::Word(name) | Token::Quoted(name) | Token::Text(name) => Some(name),
            Token::Number(_) | Token::Symbol(_) => None,
        }
    }
}

/// Operators of more than one character, the longest first.
const OPERATORS: &[&str] = &[
    "!~~*", "->>", "#>>", "!~~", "!~*", "~~*", "<=>", "::", "<=", ">=", "<>", "!=", "==", "||",
    "->", "#>", "#-", "@>", "<@", "@@", "@?", "~~", "!~", "~*", "&&", "<<", ">>", "?|", "?&", ":=",
    "=>",
];

/// The tokens of a text. What can't be read, an open quote, is a token to the end of the text.
pub fn tokens(engine: Engine, text: &str) -> Vec<Spanned> {
    let mut lexer = Lexer { engine, text, at: 0 };
    std::iter::from_fn(|| lexer.next()).collect()
}

/// The names in a text, quoted or not, as the engine folds them. Keywords are among them.
pub fn identifiers(engine: Engine, text: &str) -> BTreeSet<String> {
    let name = |spanned: Spanned| match spanned.token {
        Token::Word(name) => Some(name.to_lowercase()),
        Token::Quoted(name) => Some(fold(engine, &name)),
        Token::Text(_) | Token::Number(_) | Token::Symbol(_) => None,
    };
    tokens(engine, text).into_iter().filter_map(name).collect()
}

struct Lexer<'a> {
    engine: Engine,
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Spanned> {
        self.skip();
        let start = self.at;
        let rest = &self.text[start..];
        let first = rest.chars().next()?;
        let second = rest[first.len_utf8()..].chars().next();
        let token = match first {
            '\'' => Token::Text(self.quoted(1, '\'')),
            '"' => Token::Quoted(self.quoted(1, '"')),
            '`' if self.engine == Engine::Sqlite => Token::Quoted(self.quoted(1, '`')),
            '[' if self.engine == Engine::Sqlite => Token::Quoted(self.quoted(1, ']')),
            'x' | 'X' | 'b' | 'B' if second == Some('\'') => {
                let digits = self.quoted(2, '\'').to_lowercase();
                Token::Text(format!("{}{digits}", first.to_ascii_lowercase()))
            }
            'e' | 'E' if second == Some('\'') && self.engine == Engine::Postgres => {
                Token::Text(self.escaped())
            }
            '$' if self.engine == Engine::Postgres && self.dollar_tag().is_some() => {
                Token::Text(self.dollar_quoted())
            }
            _ if first.is_ascii_digit() || (first == '.' && second.is_some_and(is_digit)) => {
                Token::Number(self.number())
            }
            _ if is_word(first) => {
                Token::Word(self.take(|character| is_word(character) || character == '$'))
            }
            _ => {
                let known = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
                let length = known.map_or(first.len_utf8(), |operator| operator.len());
                self.at += length;
                Token::Symbol(rest[..length].to_owned())
            }
        };
        Some(Spanned { token, span: start..self.at })
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = &rest[blank..];
            if rest.starts_with("--") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += self.comment(rest);
            } else {
                return;
            }
        }
    }

    /// The length of a comment in `/* */`; PostgreSQL's nest.
    fn comment(&self, rest: &str) -> usize {
        let (mut depth, mut at) = (0, 0);
        while at < rest.len() {
            let here = &rest[at..];
            if here.starts_with("/*") && (depth == 0 || self.engine == Engine::Postgres) {
                depth += 1;
                at += 2;
            } else if here.starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            } else {
                at += here.chars().next().map_or(1, char::len_utf8);
            }
        }
        rest.len()
    }

    /// The text between quotes, of which two inside are one. `before` bytes open it.
    fn quoted(&mut self, before: usize, quote: char) -> String {
        self.at += before;
        let mut inside = String::new();
        let mut characters = self.text[self.at..].chars().peekable();
        while let Some(character) = characters.next() {
            self.at += character.len_utf8();
            if character != quote {
                inside.push(character);
            } else if characters.peek() == Some(&quote) && quote != ']' {
                characters.next();
                self.at += quote.len_utf8();
                inside.push(quote);
            } else {
                break;
            }
        }
        inside
    }

    /// The text of an `E''`: of its escapes only those of quote and backslash are decoded.
    fn escaped(&mut self) -> String {
        self.at += 2;
        let mut inside = String::new();
        let mut characters = self.text[self.at..].chars().peekable();
        while let Some(character) = characters.next() {
            self.at += character.len_utf8();
            match character {
                '\\' => {
                    let Some(next) = characters.next() else { break };
                    self.at += next.len_utf8();
                    if next != '\\' && next != '\'' {
                        inside.push('\\');
                    }
                    inside.push(next);
                }
                '\'' if characters.peek() == Some(&'\'') => {
                    characters.next();
                    self.at += 1;
                    inside.push('\'');
                }
                '\'' => break,
                _ => inside.push(character),
            }
        }
        inside
    }

    /// `$tag$`, if the text goes on with one.
    fn dollar_tag(&self) -> Option<&str> {
        let rest = &self.text[self.at..];
        let end = rest[1..].find('$')? + 2;
        let inside = &rest[1..end - 1];
        let digit_first = inside.chars().next().is_some_and(is_digit);
        (!digit_first && inside.chars().all(is_word)).then_some(&rest[..end])
    }

    fn dollar_quoted(&mut self) -> String {
        let tag = self.dollar_tag().unwrap_or_default().to_owned();
        let inside = &self.text[self.at + tag.len()..];
        let length = inside.find(&tag).unwrap_or(inside.len());
        self.at = (self.at + 2 * tag.len() + length).min(self.text.len());
        inside[..length].to_owned()
    }

    fn number(&mut self) -> String {
        let start = self.at;
        let mut before = ' ';
        self.take(|character| {
            let exponent = before.eq_ignore_ascii_case(&'e') && ['+', '-'].contains(&character);
            before = character;
            character.is_ascii_alphanumeric() || character == '.' || exponent
        });
        self.text[start..self.at].to_lowercase()
    }

    fn take(&mut self, mut belongs: impl FnMut(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let length = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_owned()
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

#[test]
fn texts_are_split_into_tokens() {
    let words = |engine, text| -> Vec<Token> {
        tokens(engine, text).into_iter().map(|spanned| spanned.token).collect()
    };
    let word = |text: &str| Token::Word(text.to_owned());
    let symbol = |text: &str| Token::Symbol(text.to_owned());
    assert_eq!(
        words(Engine::Postgres, "a/* x /* y */ */ ->> 'it''s' -- end\n::$q$it's$q$"),
        [
            word("a"),
            symbol("->>"),
            Token::Text("it's".to_owned()),
            symbol("::"),
            Token::Text("it's".to_owned())
        ]
    );
    assert_eq!(
        words(Engine::Sqlite, "[a b] `c` 1e-3 x'0F'"),
        [
            Token::Quoted("a b".to_owned()),
            Token::Quoted("c".to_owned()),
            Token::Number("1e-3".to_owned()),
            Token::Text("x0f".to_owned())
        ]
    );
    // An open quote reaches to the end.
    assert_eq!(words(Engine::Postgres, "'open"), [Token::Text("open".to_owned())]);
}
