//! The contract's rules in the Common Expression Language, by their ids. This file implements them.
//! Their expressions and messages are in the contract, for the tools of other languages.

use prost_reflect::DynamicMessage;

use super::options::integer_of;

/// Whether a message keeps a rule.
pub(super) type Holds = fn(&DynamicMessage) -> bool;

/// Whether a text keeps a rule.
pub(super) type TextHolds = fn(&str) -> bool;

/// The rules of messages.
pub(super) const EXPRESSIONS: &[(&str, Holds)] = &[
    ("money.whole_micros", |money| number(money, "nanos") % 1_000 == 0),
    ("book.price.limit", |price| {
        let units = number(price, "units");
        units < 10_000_000 || (units == 10_000_000 && number(price, "nanos") == 0)
    }),
];

/// The predefined rules of texts.
pub(super) const TEXT_EXPRESSIONS: &[(&str, TextHolds)] = &[("string.lower_uuid", is_lower_uuid)];

/// Whether a text is a UUID as RFC 9562, section 4, writes it, with lower-case letters.
fn is_lower_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn number(message: &DynamicMessage, name: &str) -> i64 {
    let value = message.get_field_by_name(name);
    value.as_deref().and_then(integer_of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bookstore_proto::DESCRIPTOR_POOL;
    use regex::Regex;

    use super::*;
    use crate::rpc::rules::options::predefined;

    /// Compares this implementation with the contract's own expression for many texts.
    #[test]
    fn a_predefined_rule_means_what_its_expression_says() {
        let rule = DESCRIPTOR_POOL.get_extension_by_name("bookstore.v1.lower_uuid").unwrap();
        let rules = predefined(&rule);
        assert_eq!(rules.len(), 1);
        let (id, expression) = (&rules[0].id, &rules[0].expression);
        assert_eq!(id, "string.lower_uuid");
        let pattern = expression.split('\'').nth(1).unwrap();
        assert_eq!(*expression, format!("!rule || this.matches('{pattern}')"));
        let pattern = Regex::new(pattern).unwrap();
        let good = "01930000-0000-7000-8000-0000000101f4";
        let mut texts = vec![good.to_owned(), String::new(), good.to_uppercase()];
        texts.extend([format!("{good}\n"), format!(" {good}"), good.replace('-', "")]);
        texts.extend([good.replace('f', "g"), good.replacen("-0", "0-", 1), "é".repeat(18)]);
        // One character is replaced, at each position.
        for at in 0..good.len() {
            for other in ["-", "a", "0", "F", "_"] {
                texts.push(format!("{}{other}{}", &good[..at], &good[at + 1..]));
            }
        }
        for text in texts {
            assert_eq!(is_lower_uuid(&text), pattern.is_match(&text), "{text:?}");
        }
        assert!(is_lower_uuid(good));
    }
}
