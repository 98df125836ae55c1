//! Rules of one value of any type (`buf.validate.FieldRules`).

use bookstore_store::FieldViolation;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, Value};

use super::{
    options::{bound, integer_of, sub},
    ranges::{range, range_of_numbers},
    text::TextRule,
};

/// The rules of one value; those of other types than its own are unset.
#[derive(Default)]
pub(super) struct ValueRule {
    text: TextRule,
    bounds: Option<(i64, i64)>,
    double: Option<(f64, f64)>,
    /// The enum to which the values are limited.
    defined: Option<EnumDescriptor>,
    /// The values that are not allowed, each by its number and its name.
    not_in: Vec<(i32, String)>,
    /// The least and the greatest number of entries.
    count: Option<(u64, u64)>,
}

impl ValueRule {
    /// Reads `buf.validate.FieldRules` of a field of this kind.
    ///
    /// # Errors
    /// If a rule can't be read.
    pub(super) fn read(rules: &DynamicMessage, kind: Kind) -> Result<Self, String> {
        let mut rule = Self::default();
        if let Some(string) = sub(rules, "string") {
            rule.text = TextRule::read(&string)?;
        }
        for (integer, min, max) in
            [("int32", i64::from(i32::MIN), i64::from(i32::MAX)), ("int64", i64::MIN, i64::MAX)]
        {
            if let Some(integer) = sub(rules, integer) {
                let of = |name| bound(&integer, name).as_ref().and_then(integer_of);
                rule.bounds = Some((of("gte").unwrap_or(min), of("lte").unwrap_or(max)));
            }
        }
        if let Some(double) = sub(rules, "double") {
            let of = |name| bound(&double, name).and_then(|value| value.as_f64());
            rule.double = Some((of("gte").unwrap_or(f64::MIN), of("lte").unwrap_or(f64::MAX)));
        }
        if let Some(list) = sub(rules, "repeated") {
            let of = |name| bound(&list, name).and_then(|value| value.as_u64());
            rule.count = Some((of("min_items").unwrap_or(0), of("max_items").unwrap_or(u64::MAX)));
        }
        if let (Some(of_enum), Kind::Enum(kind)) = (sub(rules, "enum"), kind) {
            let not_in = bound(&of_enum, "not_in");
            let numbers = not_in.as_ref().and_then(Value::as_list).unwrap_or_default();
            let named = |number| Some((number, kind.get_value(number)?.name().to_owned()));
            rule.not_in = numbers.iter().filter_map(Value::as_i32).filter_map(named).collect();
            if bound(&of_enum, "defined_only") == Some(Value::Bool(true)) {
                rule.defined = Some(kind);
            }
        }
        Ok(rule)
    }

    /// Adds a violation for every rule that a value breaks, at its path.
    pub(super) fn check(&self, value: &Value, path: &str, violations: &mut Vec<FieldViolation>) {
        let mut violation =
            |description: String| violations.push(FieldViolation::new(path, description));
        match value {
            Value::String(text) => self.text.check(text, violation),
            Value::List(items) => {
                if let Some(description) = self.count_violation(items.len() as u64) {
                    violation(description);
                }
            }
            Value::F64(number) => {
                if let Some((least, most)) = self.double
                    && !(least..=most).contains(number)
                {
                    violation(format!("must be from {least} to {most}; it is {number}"));
                }
            }
            Value::EnumNumber(number) => {
                if let Some(defined) = &self.defined
                    && defined.get_value(*number).is_none()
                {
                    violation(format!("must be a value of {}; {number} is none", defined.name()));
                }
                if let Some((_, name)) = self.not_in.iter().find(|(known, _)| known == number) {
                    violation(format!("must not be {name} here"));
                }
            }
            _ => {
                if let (Some((least, most)), Some(number)) = (self.bounds, integer_of(value))
                    && !(least..=most).contains(&number)
                {
                    let bounds = range_of_numbers(least, most);
                    violation(format!("must be {bounds}; it is {number}"));
                }
            }
        }
    }

    /// The violation of a list with so many entries, if there is one.
    pub(super) fn count_violation(&self, count: u64) -> Option<String> {
        let (least, most) = self.count?;
        let description = || format!("must have {} entries; it has {count}", range(least, most));
        (!(least..=most).contains(&count)).then(description)
    }
}
