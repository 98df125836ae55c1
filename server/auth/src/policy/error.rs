//! What is wrong with a policy, each with its line.

use std::fmt;

use toml::Spanned;

/// One thing that is wrong with a policy. It has no path: the caller knows the file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyError {
    /// Its line, counted from 1.
    pub line: usize,
    /// What is wrong, and what is right where that is known.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PolicyError {}

/// Collects the errors of a text, so that its author gets them together.
pub(super) struct Errors<'t> {
    text: &'t str,
    found: Vec<PolicyError>,
}

impl<'t> Errors<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Adds an error at a byte of the text.
    pub(super) fn at(&mut self, byte: usize, message: impl Into<String>) {
        self.found.push(PolicyError { line: self.line(byte), message: message.into() });
    }

    /// The line of a byte of the text, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        1 + self.text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
    }

    /// Adds an error at a key or a value.
    pub(super) fn on<T>(&mut self, place: &Spanned<T>, message: impl Into<String>) {
        self.at(place.span().start, message);
    }

    /// All errors, in the order of their lines; none twice.
    pub(super) fn into_sorted(mut self) -> Vec<PolicyError> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// The name that a misspelled one may mean.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    let best = known.into_iter().min_by_key(distance)?;
    (distance(&best) <= 1 + name.chars().count() / 4).then_some(best)
}

/// `, did you mean NAME?`, or nothing.
pub(super) fn hint<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(name, known).map(|near| format!(", did you mean {near}?")).unwrap_or_default()
}
