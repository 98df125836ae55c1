//! SQL as text: the words that stand for a dialect, and the lexer behind hashes, offline SQL and
//! the checks of steps.

pub mod dialect;
pub mod facts;
pub mod lexer;
mod quoted;

pub(crate) use self::quoted::{literal, quoted};
