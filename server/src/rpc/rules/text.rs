//! Rules of texts (`buf.validate.StringRules`).

use prost_reflect::{DynamicMessage, Value};
use regex::Regex;

use super::{
    expressions::{TEXT_EXPRESSIONS, TextHolds},
    options::{bound, predefined},
    ranges::range,
};

/// The descriptions of known patterns. For others the pattern itself is shown.
const PATTERNS: &[(&str, &str)] = &[
    (r"^[^@\s]+@[^@\s]+$", "must have one @ with text before and behind it, and no white space"),
    ("^[A-Z]{3}$", "must be three capital letters, as in ISO 4217"),
];

/// The description for a text with a NUL character, which PostgreSQL can't store.
pub(super) const NUL: &str = "must not hold a NUL character";

/// The rules of one text.
#[derive(Default)]
pub(super) struct TextRule {
    /// The least and the greatest number of characters.
    length: Option<(u64, u64)>,
    /// A pattern and its description.
    pattern: Option<(Regex, String)>,
    /// Predefined rules, each with its description.
    predefined: Vec<(TextHolds, String)>,
}

impl TextRule {
    /// Reads `buf.validate.StringRules`.
    ///
    /// # Errors
    /// If the pattern is no regular expression or a predefined rule isn't known here.
    pub(super) fn read(rules: &DynamicMessage) -> Result<Self, String> {
        let mut rule = Self::default();
        let least = bound(rules, "min_len").and_then(|value| value.as_u64());
        let most = bound(rules, "max_len").and_then(|value| value.as_u64());
        if least.is_some() || most.is_some() {
            rule.length = Some((least.unwrap_or(0), most.unwrap_or(u64::MAX)));
        }
        if let Some(pattern) = bound(rules, "pattern").as_ref().and_then(Value::as_str) {
            let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
            let known = PATTERNS.iter().find(|(known, _)| *known == pattern);
            let description = match known {
                Some((_, description)) => (*description).to_owned(),
                None => format!("must match {pattern}"),
            };
            rule.pattern = Some((regex, description));
        }
        for (extension, value) in rules.extensions() {
            let name = extension.full_name();
            if *value != Value::Bool(true) {
                return Err(format!("the predefined rule {name} can only be set to true"));
            }
            let expressions = predefined(&extension);
            if expressions.is_empty() {
                return Err(format!("{name} declares no rule"));
            }
            for expression in expressions {
                let id = &expression.id;
                let known = TEXT_EXPRESSIONS.iter().find(|(known, _)| known == id);
                let (_, holds) =
                    known.ok_or_else(|| format!("the contract's rule {id} isn't known"))?;
                rule.predefined.push((*holds, expression.message));
            }
        }
        Ok(rule)
    }

    /// Calls `violation` for every rule that a text breaks.
    pub(super) fn check(&self, text: &str, mut violation: impl FnMut(String)) {
        let length = text.chars().count() as u64;
        if let Some((least, most)) = self.length
            && !(least..=most).contains(&length)
        {
            violation(format!("must have {} characters; it has {length}", range(least, most)));
        }
        if let Some((pattern, description)) = &self.pattern
            && !pattern.is_match(text)
        {
            violation(description.clone());
        }
        for (_, description) in self.predefined.iter().filter(|(holds, _)| !holds(text)) {
            violation(description.clone());
        }
        if text.contains('\0') {
            violation(NUL.into());
        }
    }
}
