//! The language of `filter`: AIP-160 over the fields that a resource names.
//!
//! Parsing and typing don't depend on the engine. [`Filter::condition`] makes the SQL, with bound
//! values. It finds the same rows on both engines.

mod attributes;
mod check;
mod condition;
mod node;
mod simplify;
mod support;
mod value;

use std::fmt;

use aip_160::{FilterError, parse_filter_with_max_depth};
use sea_orm::{DbBackend, sea_query::Condition};

use self::node::{FilterNode, LITERAL_STAR};
pub use self::support::IndexSupport;
use crate::field::{Invalid, ResourceFields};

/// The most characters of a filter.
pub const MOST_CHARACTERS: usize = 4_096;

/// The deepest nesting of parentheses in a filter.
pub const DEEPEST: usize = 16;

/// A valid filter. Its `Display` is canonical: it has the same text with other white space and
/// without needless parentheses.
///
/// In AIP-160 `OR` binds tighter than `AND`. The details beyond AIP-160:
///
/// - Text: `=`, `!=`, `<`, `<=`, `>`, `>=` go by code points; `:` finds a part
///   without minding the case (on SQLite of ASCII letters only). A `*` at the end of a
///   value of `=` or `!=` makes it a prefix; elsewhere it is refused. A literal star is
///   written `\*` in quotes.
///   In a field with an index of words (`full_name`), `:` finds words: the text has all words of the
///   value, in any order, without regard to case and accents. A `*` at the end of a word finds the
///   words that begin with it.
/// - Numbers and `true` and `false` are bare, times are in quotes; UUIDs are either.
/// - `field:*` holds where the field is set. Every other comparison is false where it
///   isn't, `!=` too. `NOT` and `-` negate exactly that, so `NOT x` gives the rows
///   that `x` doesn't. A text that the contract does not mark `optional` is set unless it is empty;
///   the other comparisons compare the empty text.
/// - JSON: `attributes.a."b.c"` walks objects only, never lists, at most 16 keys deep. A
///   quoted value is a string, a bare one a number, `true`, `false` or else a string;
///   `=` and `!=` tell these types apart, `<` and its like hold for numbers
///   only. A key whose value is `null` is set.
/// - `items.book_id = id`, also with `:`, holds if one of the items has the id; `!=` is refused,
///   and `NOT` gives the rows without such an item. `items.book_id:*` holds if there is an item.
/// - `:` looks for at most 200 characters, in long texts 64; a filter has at most 32 of them,
///   and one in a long text.
/// - There is no `null`, no function, no value without a field.
#[derive(Clone, Debug)]
pub struct Filter {
    table: &'static str,
    root: Option<FilterNode>,
    canonical: String,
}

impl Filter {
    /// Parses a filter. An empty one matches every row.
    ///
    /// # Errors
    /// Text that isn't AIP-160, longer than [`MOST_CHARACTERS`] or nested deeper than [`DEEPEST`];
    /// fields that aren't filterable; comparisons and values that don't fit the field.
    pub fn parse(text: &str, fields: &ResourceFields) -> Result<Filter, Invalid> {
        let prepared = prepare(text)?;
        let parsed = parse_filter_with_max_depth(&prepared, DEEPEST)
            .map_err(|error| unreadable(&error, &prepared))?;
        let root = match &parsed.expression {
            Some(expression) => Some(check::check(expression, fields)?),
            None => None,
        };
        if let Some(root) = &root {
            check::bound_patterns(root)?;
        }
        let root = root.map(simplify::simplify);
        Ok(Filter { table: fields.table, root, canonical: parsed.to_string() })
    }

    /// Whether it matches every row.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// What of the filter an index can serve.
    pub fn index_support(&self) -> IndexSupport {
        let mut support = IndexSupport::default();
        if let Some(root) = &self.root {
            support.add(root);
        }
        support
    }

    /// The filter as a condition on its table. Filters of the same shape have the same SQL text. An
    /// empty filter is an empty condition.
    pub fn condition(&self, backend: DbBackend) -> Condition {
        let condition = Condition::all();
        match &self.root {
            Some(root) => condition.add(condition::expression(root, self.table, backend)),
            None => condition,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

/// Checks the limits, and marks what the parser would lose: it reads `NOT(` as a function, and
/// doesn't report which stars were escaped. All bytes keep their offsets.
fn prepare(text: &str) -> Result<String, Invalid> {
    if text.chars().count() > MOST_CHARACTERS {
        return Err(Invalid(format!("a filter has at most {MOST_CHARACTERS} characters")));
    }
    if text.contains(LITERAL_STAR) {
        return Err(Invalid("a filter holds no NUL".to_owned()));
    }
    let mut prepared = String::with_capacity(text.len());
    let mut quote = None;
    let mut word = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        prepared.push(character);
        match (quote, character) {
            (Some(_), '\\') => match characters.next() {
                Some('*') => prepared.push(LITERAL_STAR),
                Some(escaped) => prepared.push(escaped),
                None => {}
            },
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(') if matches!(word.as_str(), "AND" | "OR" | "NOT") => {
                return Err(Invalid(format!("write a space between {word} and its parenthesis")));
            }
            (None, _) => {}
        }
        match character {
            _ if quote.is_some() => word.clear(),
            character if character.is_alphanumeric() || matches!(character, '-' | '_' | '.') => {
                word.push(character);
            }
            _ => word.clear(),
        }
    }
    Ok(prepared)
}

fn unreadable(error: &FilterError, text: &str) -> Invalid {
    match error {
        FilterError::TooDeep { limit } => {
            Invalid(format!("the parentheses of a filter nest at most {limit} deep"))
        }
        FilterError::Syntax { offset, message } => {
            let position = text.get(..*offset).map_or(0, |before| before.chars().count()) + 1;
            Invalid(format!(
                "the filter can't be read from character {position} on: {message} (text with \
                 spaces or any of . , : = < > ! ( ) is put in quotes)"
            ))
        }
        error => Invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
