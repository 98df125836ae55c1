//! SQL expressions as both engines write them, and one normal form for all spellings of one meaning.
//!
//! [`normal_form`] is for CHECKs, defaults, predicates and index expressions, [`normal_code`] for
//! whole statements and bodies, where only white space, comments, case and quotes are folded.

mod constants;
mod normal;
mod parse;
mod tokens;
mod types;

use std::collections::HashMap;

pub use crate::revision::Engine;

pub use self::{
    tokens::{Spanned, Token, identifiers, tokens},
    types::normal_type,
};

/// A column as far as the meaning of an expression depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnType {
    /// The type, as the catalog names it.
    pub type_name: String,
    /// The collation; none if the type has none, or if it is SQLite's BINARY.
    pub collation: Option<String>,
}

/// What names in an expression stand for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The columns of the expression's table.
    pub columns: HashMap<String, ColumnType>,
    /// Names that the compared side knows by another one: old name to new name.
    pub renamed: HashMap<String, String>,
    /// Whether casts of columns say nothing, because the type of a column differs anyway.
    pub ignore_casts: bool,
}

/// The normal form of an expression: two expressions with the same form have the same meaning.
/// The reverse holds for the spellings that the module knows.
pub fn normal_form(engine: Engine, text: &str, scope: &Scope) -> String {
    normal::normal_form(engine, text, scope)
}

/// A statement or a function's body with white space, comments, case of unquoted words and quotes
/// of names folded.
pub fn normal_code(engine: Engine, text: &str, scope: &Scope) -> String {
    let mut words = Vec::new();
    for spanned in tokens(engine, text) {
        let word = match spanned.token {
            Token::Word(word) => rename(scope, word.to_lowercase()),
            Token::Quoted(word) => rename(scope, fold(engine, &word)),
            Token::Text(text) => format!("'{text}'"),
            Token::Number(text) | Token::Symbol(text) => text,
        };
        words.push(word);
    }
    // A last semicolon ends nothing.
    while words.last().is_some_and(|word| word == ";") {
        words.pop();
    }
    words.join(" ")
}

/// A quoted name as it is compared: SQLite's names have no case.
fn fold(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => name.to_owned(),
        Engine::Sqlite => name.to_lowercase(),
    }
}

fn rename(scope: &Scope, name: String) -> String {
    scope.renamed.get(&name).cloned().unwrap_or(name)
}
