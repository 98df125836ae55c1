//! Amounts of money between decimal text and the wire, exact to the last digit.

use bookstore_client::v1::Money;

/// Units and nanos, as [`Money`] has them.
pub type Amount = (i64, i32);

/// Digits behind the point: whole micros.
const FRACTION: usize = 6;

/// Reads a decimal such as `12`, `12.5` or `0.000001`.
///
/// # Errors
/// If it isn't one, or can't be held exactly: a phrase that follows the field's name.
pub fn read(text: &str) -> Result<Amount, String> {
    let text = text.trim_ascii();
    let refused = || format!("must be a decimal number such as 12.5; it is {}", shown(text));
    let (negative, plain) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(refused());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > FRACTION {
        let count = fraction.len();
        return Err(format!(
            "must have at most {FRACTION} digits behind the point; it has {count}"
        ));
    }
    let units: i64 = whole.parse().map_err(|_| format!("is too large: {}", shown(text)))?;
    let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| refused())?;
    Ok(if negative { (-units, -nanos) } else { (units, nanos) })
}

/// Writes an amount as [`read`] reads it, with no digit too many.
#[must_use]
pub fn write(money: &Money) -> String {
    let sign = if money.units < 0 || money.nanos < 0 { "-" } else { "" };
    let (units, nanos) = (money.units.unsigned_abs(), money.nanos.unsigned_abs());
    let text = format!("{sign}{units}.{nanos:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a whole number, which may be written as `12.0`.
///
/// # Errors
/// If it isn't one, or doesn't fit: a phrase that follows the field's name.
pub fn whole(text: &str) -> Result<i32, String> {
    let refused = || format!("must be a whole number; it is {}", shown(text));
    let (units, nanos) = read(text).map_err(|_| refused())?;
    if nanos != 0 {
        return Err(refused());
    }
    units.try_into().map_err(|_| format!("is too large: {}", shown(text)))
}

/// A value in quotes, cut where it is too long to be read.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, amount) in [
            ("0", (0, 0)),
            ("12", (12, 0)),
            ("012.50", (12, 500_000_000)),
            (" 9.99 ", (9, 990_000_000)),
            ("+0.000001", (0, 1_000)),
            ("0.1", (0, 100_000_000)),
            ("10000000.000001", (10_000_000, 1_000)),
            ("1.0000000000", (1, 0)),
            ("-0.5", (0, -500_000_000)),
            ("9223372036854775807", (i64::MAX, 0)),
        ] {
            assert_eq!(read(text), Ok(amount), "{text}");
        }
        for bad in
            ["", "-", ".5", "5.", "1,5", "1 000", "1e3", "0x1", "١", "9223372036854775808", "$5"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        let message = read("1.1234567").unwrap_err();
        assert_eq!(message, "must have at most 6 digits behind the point; it has 7");
    }

    #[test]
    fn written_amounts_are_read_back() {
        for (units, nanos, text) in [
            (0, 0, "0"),
            (100, 0, "100"),
            (12, 500_000_000, "12.5"),
            (0, 1_000, "0.000001"),
            (10_000_000, 0, "10000000"),
            (0, -500_000_000, "-0.5"),
        ] {
            let money = Money { currency_code: "USD".into(), units, nanos };
            assert_eq!(write(&money), text);
            assert_eq!(read(text), Ok((units, nanos)));
        }
    }

    #[test]
    fn a_whole_number_has_no_fraction() {
        assert_eq!(whole("12"), Ok(12));
        assert_eq!(whole("12.0"), Ok(12));
        assert_eq!(whole("-3"), Ok(-3));
        assert!(whole("12.5").is_err() && whole("many").is_err() && whole("2147483648").is_err());
        assert!(whole(&"9".repeat(4_000)).unwrap_err().len() < 200);
    }
}
