//! An SQL expression as a tree, by the precedences of both engines.

use super::{Engine, Spanned, Token, names::fold, normal_type};

mod infix;

/// A part of an expression: what it is, and the parts it is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) arguments: Vec<Node>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
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

impl Node {
    pub(super) fn new(kind: Kind, arguments: Vec<Self>) -> Self {
        Self { kind, arguments }
    }

    pub(super) fn operator(name: &str, arguments: Vec<Self>) -> Self {
        Self::new(Kind::Operator(name.to_owned()), arguments)
    }

    pub(super) fn is_operator(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Operator(operator) if operator == name)
    }

    /// Whether it is a constant.
    pub(super) fn is_constant(&self) -> bool {
        match &self.kind {
            Kind::Text(_) | Kind::Number(_) => true,
            Kind::Keyword(word) => ["null", "true", "false"].contains(&word.as_str()),
            Kind::Cast(_) => self.arguments.iter().all(Self::is_constant),
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
pub(super) fn parse(engine: Engine, tokens: &[Spanned]) -> Option<Node> {
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
    fn expression(&mut self, least: u8) -> Option<Node> {
        let mut left = self.prefix()?;
        while let Some(next) = self.infix(&left, least)? {
            left = next;
        }
        Some(left)
    }

    fn prefix(&mut self) -> Option<Node> {
        if self.eat("not") {
            return Some(Node::operator("not", vec![self.expression(NOT)?]));
        }
        for sign in ["-", "+", "~"] {
            if self.eat_symbol(sign) {
                let operand = self.expression(PRODUCT + 1)?;
                return Some(match (&operand.kind, sign) {
                    (Kind::Number(number), "-") => {
                        Node::new(Kind::Number(format!("-{number}")), Vec::new())
                    }
                    (Kind::Number(_), "+") => operand,
                    _ => Node::operator(sign, vec![operand]),
                });
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Option<Node> {
        let spanned = self.peek(0)?.clone();
        self.at += 1;
        match spanned.token {
            Token::Number(number) => Some(Node::new(Kind::Number(number), Vec::new())),
            Token::Text(text) => Some(Node::new(Kind::Text(text), Vec::new())),
            Token::Symbol(symbol) if symbol == "(" => {
                let mut items = self.list(")")?;
                match items.len() {
                    1 => items.pop(),
                    _ => Some(Node::operator("row", items)),
                }
            }
            Token::Symbol(_) => None,
            Token::Word(word) => self.word(word.to_lowercase(), false),
            Token::Quoted(name) => self.word(name, true),
        }
    }

    /// What a word begins: a value, a call, a construct or a name.
    fn word(&mut self, word: String, quoted: bool) -> Option<Node> {
        let opens = self.peek(0).is_some_and(|token| token.is_symbol("("));
        if !quoted && KEYWORDS.contains(&word.as_str()) {
            return None;
        }
        if !quoted && VALUES.contains(&word.as_str()) {
            if opens && word.starts_with("current_") {
                self.at += 1;
                self.list(")")?;
            }
            return Some(Node::new(Kind::Keyword(word), Vec::new()));
        }
        match word.as_str() {
            "case" if !quoted => return self.case(),
            "cast" if !quoted && opens => {
                self.at += 1;
                let inside = self.expression(0)?;
                let target = self.eat("as").then(|| self.type_name())??;
                self.need(")")?;
                return Some(Node::new(Kind::Cast(target), vec![inside]));
            }
            "array" if !quoted && self.eat_symbol("[") => {
                return Some(Node::operator("array", self.list("]")?));
            }
            "interval" if !quoted && matches!(self.peek(0)?.token, Token::Text(_)) => {
                let inside = self.primary()?;
                return Some(Node::new(Kind::Cast(word), vec![inside]));
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
            return Some(Node::new(Kind::Name(name, last_quoted), Vec::new()));
        }
        let name = fold(self.engine, name.trim_start_matches("pg_catalog."));
        let arguments =
            if SPECIAL.contains(&name.as_str()) { self.raw_arguments()? } else { self.list(")")? };
        Some(Node::new(Kind::Call(name), arguments))
    }

    /// Expressions with commas between them, to the closing bracket.
    fn list(&mut self, close: &str) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        if self.eat_symbol(close) {
            return Some(items);
        }
        loop {
            if self.eat_symbol("*") {
                items.push(Node::operator("*", Vec::new()));
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
    fn raw_arguments(&mut self) -> Option<Vec<Node>> {
        let (mut depth, mut items) = (1, Vec::new());
        loop {
            let token = self.peek(0)?.clone();
            self.at += 1;
            depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
            if depth == 0 {
                return Some(items);
            }
            items.push(Node::new(leaf(self.engine, token.token), Vec::new()));
        }
    }

    fn case(&mut self) -> Option<Node> {
        let mut parts = Vec::new();
        if !self.peek(0)?.is("when") {
            parts.push(Node::operator("of", vec![self.expression(0)?]));
        }
        while self.eat("when") {
            let condition = self.expression(0)?;
            let value = self.eat("then").then(|| self.expression(0))??;
            parts.push(Node::operator("when", vec![condition, value]));
        }
        if self.eat("else") {
            parts.push(Node::operator("else", vec![self.expression(0)?]));
        }
        self.eat("end").then(|| Node::operator("case", parts))
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
fn leaf(engine: Engine, token: Token) -> Kind {
    match token {
        Token::Word(word) => Kind::Name(word.to_lowercase(), false),
        Token::Quoted(word) => Kind::Name(fold(engine, &word), true),
        Token::Text(text) => Kind::Text(text),
        Token::Number(number) => Kind::Number(number),
        Token::Symbol(symbol) => Kind::Operator(symbol),
    }
}
