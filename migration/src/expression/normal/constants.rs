//! Constants in their normal form.

use super::super::{
    parse::{ExpressionKind, SqlExpression},
    types::is_number,
};

pub(super) fn leaf(kind: ExpressionKind) -> SqlExpression {
    SqlExpression::new(kind, Vec::new())
}

pub(super) fn keyword(word: &str) -> SqlExpression {
    leaf(ExpressionKind::Keyword(word.to_owned()))
}

/// A number or text whose cast to another type of number changes nothing of its value.
pub(super) fn bare_constant(node: SqlExpression) -> SqlExpression {
    match (&node.kind, node.arguments.as_slice()) {
        (ExpressionKind::Cast(target), [inside]) if is_number(target) => match &inside.kind {
            ExpressionKind::Number(_) => inside.clone(),
            ExpressionKind::Text(text) if text.trim().parse::<f64>().is_ok() => {
                leaf(ExpressionKind::Number(normal_number(text.trim())))
            }
            _ => node,
        },
        _ => node,
    }
}

/// `1.50` is `1.5`, `+1` is `1`, `007` is `7`.
pub(super) fn normal_number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with("0x") || digits.contains('e') {
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
    let items = inside.split(',').map(|item| leaf(ExpressionKind::Text(item.to_owned()))).collect();
    Some(SqlExpression::operator("array", items))
}
