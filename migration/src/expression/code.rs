//! Statements and bodies, of which only the spelling of words is folded.

use super::{
    Engine, Scope, Token,
    names::{fold, rename},
    tokens,
};

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
