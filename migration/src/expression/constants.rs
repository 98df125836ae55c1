//! Constants in one spelling.

use super::parse::{ExpressionKind, SqlExpression};

/// Whether a text is no longer than `character varying(n)` allows, so that the cast cuts nothing.
pub(super) fn fits(text: &str, target: &str) -> bool {
    let most = target.strip_prefix("character varying(").and_then(|rest| rest.strip_suffix(')'));
    most.and_then(|most| most.parse().ok()).is_some_and(|most: usize| text.chars().count() <= most)
}

/// `1.50` is `1.5`, `+1` is `1`, `007` is `7`, `0x10` is `16`.
pub(super) fn normal_number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    if let Some(value) = hexadecimal.and_then(|digits| i64::from_str_radix(digits, 16).ok()) {
        return normal_number(&format!("{sign}{value}"));
    }
    if hexadecimal.is_some() || digits.contains('e') {
        return format!("{sign}{digits}");
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let sign = if whole == "0" && fraction.is_empty() { "" } else { sign };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// What PostgreSQL reads as a truth value (manual, 8.6. Boolean Type).
pub(super) fn boolean(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    match text.as_str() {
        "1" | "on" => Some("true"),
        "0" | "off" | "of" => Some("false"),
        "" | "o" => None,
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some("true"),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some("false"),
        _ => None,
    }
}

/// `'{A,B}'` as a list, if its elements are plain words.
pub(super) fn array_constant(text: &str) -> Option<SqlExpression> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    if inside.is_empty() || inside.contains(['"', '\\', '{', '}']) {
        return None;
    }
    let items = inside
        .split(',')
        .map(|item| SqlExpression::new(ExpressionKind::Text(item.to_owned()), Vec::new()))
        .collect();
    Some(SqlExpression::operator("array", items))
}

#[test]
fn numbers_have_one_spelling() {
    for (one, other) in [("0x1F", "31"), ("-0x0", "0"), ("1.50", "1.5"), ("+007", "7")] {
        assert_eq!(normal_number(one), normal_number(other), "{one}");
    }
    assert_ne!(normal_number("0xFFFFFFFFFFFFFFFF"), normal_number("-1"));
}

#[test]
fn a_cast_to_a_length_may_cut() {
    assert!(fits("USER", "character varying(4)"));
    assert!(!fits("USERS", "character varying(4)"));
    assert!(!fits("USER", "character(4)"));
}
