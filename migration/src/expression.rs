//! SQL expressions as both engines write them, and one normal form for all spellings of one meaning.
//!
//! [`normal_form`] is for CHECKs, defaults, predicates and index expressions, [`normal_code`] for
//! whole statements and bodies, where only white space, comments, case and quotes are folded.

mod code;
mod constants;
mod names;
mod normal;
mod parse;
mod scope;
mod stable;
mod tokens;
mod types;

pub use crate::revision::Engine;

pub use self::{
    code::normal_code,
    normal::normal_form,
    scope::{ColumnType, Scope},
    stable::is_stable,
    tokens::{Spanned, Token, identifiers, tokens},
    types::normal_type,
};
