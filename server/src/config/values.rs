//! Parses the texts of settings. Each error names the key and the origin.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{
    layers::{Given, Layers},
    settings::Setting,
};

/// The given values and the problems found so far.
#[derive(Debug)]
pub(super) struct SettingValues {
    pub(super) given: Vec<Given>,
    pub(super) problems: Vec<String>,
}

impl SettingValues {
    pub(super) fn new(layers: Layers) -> Self {
        Self { given: layers.given, problems: layers.problems }
    }

    /// The value of a setting. `None` means that a problem has been noted; the caller goes on, so
    /// that all wrong values are reported together.
    pub(super) fn read<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let given = self.given.iter().find(|given| given.setting.key == setting.key)?;
        let (key, origin) = (setting.key, &given.origin);
        match parse(&given.text) {
            Ok(value) => Some(value),
            Err(problem) => {
                let text = &given.text;
                let value = if setting.secret { String::new() } else { format!(" = {text:?}") };
                self.problems.push(format!("{key}{value} from {origin}: {problem}"));
                None
            }
        }
    }
}

/// A whole number, as the unit of the setting has it.
pub(super) fn whole(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> {
    move |text| {
        let number = digits(text).and_then(|text| text.parse().ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            format!("must be a whole number from {} to {}", range.start(), range.end())
        })
    }
}

/// `true`, `yes`, `on` or `1`, and `false`, `no`, `off` or `0`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A number with `ms`, `s`, `m` or `h`, or with nothing, which is seconds.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        parse_duration(text).filter(|duration| range.contains(duration)).ok_or_else(|| {
            format!(
                "must be a time from {} to {}, such as 500ms, 3s, 2m or 1h; \
                 a number alone is seconds",
                show_duration(*range.start()),
                show_duration(*range.end())
            )
        })
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    // "ms" is tried before "s". "" matches everything, so it is the last.
    let (number, seconds) =
        units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    digits(whole).and(digits(fraction))?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A whole number of bytes, or with `KiB` or `MiB`.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> {
    move |text| {
        let units = [("KiB", KIB), ("MiB", MIB), ("", 1)];
        let parsed = units.into_iter().find_map(|(unit, bytes)| {
            let number: usize = digits(text.strip_suffix(unit)?)?.parse().ok()?;
            number.checked_mul(bytes)
        });
        parsed.filter(|size| range.contains(size)).ok_or_else(|| {
            format!(
                "must be a size from {} to {}, such as 512KiB, 4MiB or a number of bytes",
                show_size(*range.start()),
                show_size(*range.end())
            )
        })
    }
}

fn show_size(size: usize) -> String {
    if size.is_multiple_of(MIB) {
        format!("{}MiB", size / MIB)
    } else {
        format!("{}KiB", size / KIB)
    }
}

/// An IP address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address with a port, such as 127.0.0.1:50051 or [::]:50051".to_owned()
    })
}

/// Accepts only ASCII digits: `parse` alone would also accept a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}
