//! An SQL expression as a tree, by the precedences of both engines.

use super::{Engine, Spanned, Token, names::fold, normal_type};

mod infix;

/// A part of an expression: what it is, and the parts it is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SqlExpression {
    pub(super) kind: ExpressionKind,
    pub(super) arguments: Vec<SqlExpression>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ExpressionKind {
    /// A column or another name, with its qualifiers; whether the last part is in double quotes.
    Name(String, bool),
    /// A text constant.
    Text(String),
    /// A number.
    Number(String),
    /// A keyword that is a value: `null`, `true`, `current_timestamp`.
    Keyword(String),
    /// An operator, or one of `and`, `or`, `not`, `in`, `not in`, `is null`, `row`, `array`, `case`.
    Operator(String),
    /// A function by its name.
    Call(String),
    /// A cast to a type.
    Cast(String),
    /// With a collation.
    Collate(String),
}

impl SqlExpression {
    pub(super) fn new(kind: ExpressionKind, arguments: Vec<Self>) -> Self {
        Self { kind, arguments }
    }

    pub(super) fn operator(name: &str, arguments: Vec<Self>) -> Self {
        Self::new(ExpressionKind::Operator(name.to_owned()), arguments)
    }

    pub(super) fn is_operator(&self, name: &str) -> bool {
        matches!(&self.kind, ExpressionKind::Operator(operator) if operator == name)
    }

    /// Whether it is a constant.
    pub(super) fn is_constant(&self) -> bool {
        match &self.kind {
            ExpressionKind::Text(_) | ExpressionKind::Number(_) => true,
            ExpressionKind::Keyword(word) => ["null", "true", "false"].contains(&word.as_str()),
            ExpressionKind::Cast(_) => self.arguments.iter().all(Self::is_constant),
            _ => false,
        }
    }
}

/// How tightly operators bind, the loosest first (PostgreSQL, 4.1.6; SQLite, lang_expr).
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARISON: u8 = 5;
const PATTERN: u8 = 6;
const OTHER: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const POSTFIX: u8 = 11;

/// Functions whose arguments have a grammar of their own: they are kept as they are.
const SPECIAL: &[&str] = &["extract", "position", "overlay", "trim", "exists", "xmlserialize"];

/// Words that end an expression instead of being a name in it.
const KEYWORDS: &[&str] =
    &["and", "or", "when", "then", "else", "end", "as", "from", "between", "in", "is", "like"];

/// Values that are keywords.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "current_catalog",
    "current_schema",
];

/// The tree of a whole text; none if it has a form that isn't known here.
pub(super) fn parse(engine: Engine, tokens: &[Spanned]) -> Option<SqlExpression> {
    let mut parser = Parser { engine, tokens, at: 0 };
    let node = parser.expression(0)?;
    (parser.at == tokens.len()).then_some(node)
}

struct Parser<'a> {
    engine: Engine,
    tokens: &'a [Spanned],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> Option<&Spanned> {
        self.tokens.get(self.at + ahead)
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let found = self.peek(0).is_some_and(|token| token.is(keyword));
        self.at += usize::from(found);
        found
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek(0).is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let found =
            (0..keywords.len()).all(|at| self.peek(at).is_some_and(|token| token.is(keywords[at])));
        self.at += if found { keywords.len() } else { 0 };
        found
    }

    fn need(&mut self, symbol: &str) -> Option<()> {
        self.eat_symbol(symbol).then_some(())
    }

    /// An expression whose operators bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Option<SqlExpression> {
        let mut left = self.prefix()?;
        while let Some(next) = self.infix(&left, least)? {
            left = next;
        }
        Some(left)
    }

    fn prefix(&mut self) -> Option<SqlExpression> {
        if self.eat("not") {
            return Some(SqlExpression::operator("not", vec![self.expression(NOT)?]));
        }
        for sign in ["-", "+", "~"] {
            if self.eat_symbol(sign) {
                let operand = self.expression(PRODUCT + 1)?;
                return Some(match (&operand.kind, sign) {
                    (ExpressionKind::Number(number), "-") => {
                        SqlExpression::new(ExpressionKind::Number(format!("-{number}")), Vec::new())
                    }
                    (ExpressionKind::Number(_), "+") => operand,
                    _ => SqlExpression::operator(sign, vec![operand]),
                });
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Option<SqlExpression> {
        let spanned = self.peek(0)?.clone();
        self.at += 1;
        match spanned.token {
            Token::Number(number) => {
                Some(SqlExpression::new(ExpressionKind::Number(number), Vec::new()))
            }
            Token::Text(text) => Some(SqlExpression::new(ExpressionKind::Text(text), Vec::new())),
            Token::Symbol(symbol) if symbol == "(" => {
                let mut items = self.list(")")?;
                match items.len() {
                    1 => items.pop(),
                    _ => Some(SqlExpression::operator("row", items)),
                }
            }
            Token::Symbol(_) => None,
            Token::Word(word) => self.word(word.to_lowercase(), false),
            Token::Quoted(name) => self.word(name, true),
        }
    }

    /// What a word begins: a value, a call, a construct or a name.
    fn word(&mut self, word: String, quoted: bool) -> Option<SqlExpression> {
        let opens = self.peek(0).is_some_and(|token| token.is_symbol("("));
        if !quoted && KEYWORDS.contains(&word.as_str()) {
            return None;
        }
        if !quoted && VALUES.contains(&word.as_str()) {
            if opens && word.starts_with("current_") {
                self.at += 1;
                self.list(")")?;
            }
            return Some(SqlExpression::new(ExpressionKind::Keyword(word), Vec::new()));
        }
        match word.as_str() {
            "case" if !quoted => return self.case(),
            "cast" if !quoted && opens => {
                self.at += 1;
                let inside = self.expression(0)?;
                let target = self.eat("as").then(|| self.type_name())??;
                self.need(")")?;
                return Some(SqlExpression::new(ExpressionKind::Cast(target), vec![inside]));
            }
            "array" if !quoted && self.eat_symbol("[") => {
                return Some(SqlExpression::operator("array", self.list("]")?));
            }
            "interval" if !quoted && matches!(self.peek(0)?.token, Token::Text(_)) => {
                let inside = self.primary()?;
                return Some(SqlExpression::new(ExpressionKind::Cast(word), vec![inside]));
            }
            _ => {}
        }
        let mut name = word;
        let mut last_quoted = quoted;
        while self.eat_symbol(".") {
            let spanned = self.peek(0)?.clone();
            self.at += 1;
            name.push('.');
            name.push_str(&match &spanned.token {
                Token::Word(part) => part.to_lowercase(),
                Token::Quoted(part) => part.clone(),
                _ => return None,
            });
            last_quoted = matches!(spanned.token, Token::Quoted(_));
        }
        if !self.eat_symbol("(") {
            return Some(SqlExpression::new(ExpressionKind::Name(name, last_quoted), Vec::new()));
        }
        let name = fold(self.engine, name.trim_start_matches("pg_catalog."));
        let arguments =
            if SPECIAL.contains(&name.as_str()) { self.raw_arguments()? } else { self.list(")")? };
        Some(SqlExpression::new(ExpressionKind::Call(name), arguments))
    }

    /// Expressions with commas between them, to the closing bracket.
    fn list(&mut self, close: &str) -> Option<Vec<SqlExpression>> {
        let mut items = Vec::new();
        if self.eat_symbol(close) {
            return Some(items);
        }
        loop {
            if self.eat_symbol("*") {
                items.push(SqlExpression::operator("*", Vec::new()));
            } else {
                items.push(self.expression(0)?);
            }
            if self.eat_symbol(close) {
                return Some(items);
            }
            self.need(",")?;
        }
    }

    /// The tokens to the closing bracket, each as it is.
    fn raw_arguments(&mut self) -> Option<Vec<SqlExpression>> {
        let (mut depth, mut items) = (1, Vec::new());
        loop {
            let token = self.peek(0)?.clone();
            self.at += 1;
            depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
            if depth == 0 {
                return Some(items);
            }
            items.push(SqlExpression::new(leaf(self.engine, token.token), Vec::new()));
        }
    }

    fn case(&mut self) -> Option<SqlExpression> {
        let mut parts = Vec::new();
        if !self.peek(0)?.is("when") {
            parts.push(SqlExpression::operator("of", vec![self.expression(0)?]));
        }
        while self.eat("when") {
            let condition = self.expression(0)?;
            let value = self.eat("then").then(|| self.expression(0))??;
            parts.push(SqlExpression::operator("when", vec![condition, value]));
        }
        if self.eat("else") {
            parts.push(SqlExpression::operator("else", vec![self.expression(0)?]));
        }
        self.eat("end").then(|| SqlExpression::operator("case", parts))
    }

    fn name(&mut self) -> Option<String> {
        let name = self.peek(0)?.name()?.to_owned();
        self.at += 1;
        if self.eat_symbol(".") {
            return self.name();
        }
        Some(name)
    }

    /// A type's name with its length, its zone and its brackets.
    fn type_name(&mut self) -> Option<String> {
        let start = self.at;
        self.peek(0)?.name()?;
        self.at += 1;
        while self.eat_symbol(".") {
            self.at += 1;
        }
        while ["precision", "varying", "unsigned"].into_iter().any(|word| self.eat(word)) {}
        if self.eat_symbol("(") {
            self.list(")")?;
        }
        let _zone =
            self.eat_all(&["with", "time", "zone"]) || self.eat_all(&["without", "time", "zone"]);
        while self.eat_symbol("[") {
            self.need("]")?;
        }
        let words = self.tokens.get(start..self.at)?;
        let text: Vec<String> = words.iter().map(|word| plain(&word.token)).collect();
        Some(normal_type(self.engine, &text.join(" ")))
    }
}

fn plain(token: &Token) -> String {
    match token {
        Token::Word(text) | Token::Number(text) | Token::Symbol(text) | Token::Text(text) => {
            text.clone()
        }
        Token::Quoted(text) => format!("\"{text}\""),
    }
}

/// A single token as a leaf.
fn leaf(engine: Engine, token: Token) -> ExpressionKind {
    match token {
        Token::Word(word) => ExpressionKind::Name(word.to_lowercase(), false),
        Token::Quoted(word) => ExpressionKind::Name(fold(engine, &word), true),
        Token::Text(text) => ExpressionKind::Text(text),
        Token::Number(number) => ExpressionKind::Number(number),
        Token::Symbol(symbol) => ExpressionKind::Operator(symbol),
    }
}
