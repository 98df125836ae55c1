//! The values of a filter: converts a caller's text to a value of the column.

use aip_160::Comparator;
use chrono::{DateTime, Datelike, Utc};
use sea_orm::{Value, sea_query::BinOper};
use uuid::Uuid;

use crate::{
    field::{Invalid, Kind},
    filter::node::{Operand, Test},
};

/// The SQL operator of a comparison.
pub(crate) fn operator(comparator: Comparator) -> BinOper {
    match comparator {
        Comparator::Equal | Comparator::Has => BinOper::Equal,
        Comparator::NotEqual => BinOper::NotEqual,
        Comparator::LessThan => BinOper::SmallerThan,
        Comparator::LessThanOrEqual => BinOper::SmallerThanOrEqual,
        Comparator::GreaterThan => BinOper::GreaterThan,
        Comparator::GreaterThanOrEqual => BinOper::GreaterThanOrEqual,
    }
}

/// The error for a `:` with a value, where the field is no text.
pub(crate) fn only_set(name: &str) -> Invalid {
    Invalid(format!("{name}:* asks whether {name} is set; compare values with = instead of :"))
}

/// Makes the test of a text field.
///
/// # Errors
/// A star that isn't escaped, except at the end of a value of `=` or `!=`.
pub(crate) fn text(
    name: &str,
    comparator: Comparator,
    operand: Operand<'_>,
) -> Result<Test, Invalid> {
    let equality = matches!(comparator, Comparator::Equal | Comparator::NotEqual);
    let prefix = operand.text.strip_suffix('*').filter(|_| equality);
    if prefix.unwrap_or(operand.text).contains('*') {
        let place = match comparator {
            Comparator::Equal | Comparator::NotEqual => "stands only at its end",
            Comparator::Has => "has no meaning, since : finds any part",
            _ => "has no meaning",
        };
        return Err(Invalid(format!(
            "in the value of {name} {comparator} a * {place}; a literal one is written \\* in quotes"
        )));
    }
    let Some(prefix) = prefix else {
        let text = operand.literal();
        return Ok(match comparator {
            Comparator::Has => Test::Contains(containing(&text)),
            _ => Test::Compare(operator(comparator), text.into()),
        });
    };
    let from = Operand { text: prefix, ..operand }.literal();
    let until = after_prefix(&from);
    Ok(match comparator {
        Comparator::NotEqual => Test::Outside(from, until),
        _ => Test::Within(from, until),
    })
}

/// Converts to a kind other than text and JSON; `None` if the operand isn't of that kind.
pub(crate) fn typed(kind: Kind, operand: Operand<'_>) -> Option<Value> {
    let Operand { text, quoted } = operand;
    match kind {
        Kind::Integer if !quoted => decimal(text, 0).map(Value::from),
        Kind::Double if !quoted => double(text).map(Value::from),
        Kind::Micros if !quoted => decimal(text, 6).map(Value::from),
        Kind::Bool if !quoted => match text {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        Kind::Enum(names) => {
            let (_, stored) = names.iter().find(|(name, _)| *name == text)?;
            Some((*stored).into())
        }
        Kind::Id => {
            let id = Uuid::try_parse(text).ok()?;
            // Other spellings of the same UUID are refused, so that it has one name.
            (id.hyphenated().to_string() == text).then(|| id.into())
        }
        Kind::Time => time(text).map(Value::from),
        Kind::Integer
        | Kind::Micros
        | Kind::Double
        | Kind::Bool
        | Kind::Text
        | Kind::LongText
        | Kind::Json => None,
    }
}

/// Parses a number exactly, in units of 10^-`scale`. `None` if it is no number, has more fraction
/// digits, or needs more than 64 bits.
fn decimal(text: &str, scale: i32) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let digits = format!("{whole}{fraction}");
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if whole.is_empty() || unsigned.is_empty() {
        return None;
    }
    if !digits.bytes().chain(unsigned.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    // The length of a filter is limited, so an exponent in range is far from the limits of i32.
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent.checked_add(scale)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let significant = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).ok()? + i64::from(shift);
    let zeros = u32::try_from(zeros).ok()?;
    if significant.len() > 19 || zeros > 19 {
        return None;
    }
    let magnitude = significant.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(zeros)?)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Parses a finite number. Words such as `inf` are refused.
fn double(text: &str) -> Option<f64> {
    let digit_first =
        text.strip_prefix('-').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|number: &f64| digit_first && number.is_finite())
}

/// Parses a time and cuts it to microseconds, as stored times are. Only years of four digits, since
/// SQLite stores and orders times as texts.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    // A leap second becomes the next second, as in both engines.
    let time = DateTime::from_timestamp_micros(time.timestamp_micros())?;
    (1..=9999).contains(&time.year()).then_some(time)
}

/// The least text that is greater than every text with the prefix: increments the last code point
/// that can be incremented. `None` if there is no such text.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // A range of chars skips the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// The LIKE pattern of texts that contain this one; `\` is the escape character.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (text, scale, number) in [
            ("0", 0, Some(0)),
            ("-0", 6, Some(0)),
            ("0e99999999999", 6, Some(0)),
            ("007", 0, Some(7)),
            ("5.0", 0, Some(5)),
            ("1e3", 0, Some(1_000)),
            ("2500e-2", 0, Some(25)),
            ("2.5", 0, None),
            ("12.5", 6, Some(12_500_000)),
            ("0.000001", 6, Some(1)),
            ("0.0000010", 6, Some(1)),
            ("0.0000001", 6, None),
            ("1.2345678", 6, None),
            ("-1.5E+2", 6, Some(-150_000_000)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("9223372036854775808", 0, None),
            ("9223372036854.775807", 6, Some(i64::MAX)),
            ("9223372036854.775808", 6, None),
            ("1e18", 0, Some(1_000_000_000_000_000_000)),
            ("1e19", 0, None),
            ("1e2147483647", 6, None),
            ("1e-2147483648", 6, None),
            ("1e99999999999", 0, None),
            ("NaN", 0, None),
            ("inf", 0, None),
            ("", 0, None),
            ("-", 0, None),
            ("--1", 0, None),
            ("+1", 0, None),
            ("1.", 0, None),
            (".5", 6, None),
            ("1e", 0, None),
            ("1e+-2", 0, None),
            ("0x10", 0, None),
            ("1_000", 0, None),
            ("١", 0, None),
        ] {
            assert_eq!(decimal(text, scale), number, "{text:?} at scale {scale}");
        }
    }

    #[test]
    fn doubles_are_finite_numbers() {
        for (text, number) in [
            ("4.5", Some(4.5)),
            ("-1e-3", Some(-0.001)),
            ("0", Some(0.0)),
            ("1e400", None),
            ("inf", None),
            ("NaN", None),
            ("-", None),
            ("", None),
            (".5", None),
            ("4,5", None),
        ] {
            assert_eq!(double(text), number, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_ends_before_the_next_text() {
        for (prefix, after) in [
            ("ab", Some("ac")),
            ("a\u{7f}", Some("a\u{80}")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), after, "{prefix:?}");
        }
    }

    #[test]
    fn times_are_cut_to_microseconds() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T01:00:00.0000019+01:00", Some(1)),
            ("1969-12-31T23:59:59.9999999Z", Some(-1)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000)),
            ("0000-06-01T00:00:00Z", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("2026-02-30T00:00:00Z", None),
            ("2026-02-03T00:00:00", None),
            ("2026-02-03", None),
        ] {
            assert_eq!(time(text).map(|time| time.timestamp_micros()), micros, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_takes_its_text_literally() {
        assert_eq!(containing(r"5%_a\*"), r"%5\%\_a\\*%");
    }
}
