//! Unknown names that resemble a setting.

use super::settings::{NAMES, Name};

/// Other programs also have variables with these prefixes. One that resembles a setting is probably
/// misspelt.
const GROUPS: [&str; 7] =
    ["DATABASE_", "LISTEN_", "SHUTDOWN_", "LOG_", "TLS_", "SECURITY_", "POLICY_"];

/// How many letters may differ.
const SLIPS: usize = 2;

/// A warning about a variable of the environment that is close to a setting. Its value isn't
/// repeated, since it may be a secret.
pub(super) fn warning(variable: &str) -> Option<String> {
    if !GROUPS.iter().any(|group| variable.starts_with(group)) {
        return None;
    }
    let near = nearest(variable, |name| &name.variable)?;
    Some(format!("the environment variable {variable} is ignored, did you mean {near}?"))
}

/// The known name that is closest to `given`: a few letters apart, or the
/// beginning of one another (`DATABASE_POOL`, `LISTEN_ADDRESS`).
pub(super) fn nearest(given: &str, spelled: fn(&Name) -> &String) -> Option<&'static str> {
    let rest = given.split_once('_').map_or("", |(_, rest)| rest);
    NAMES
        .iter()
        .filter_map(|name| {
            let known = spelled(name).as_str();
            let distance = strsim::damerau_levenshtein(given, known);
            let begins = !rest.is_empty() && (known.starts_with(given) || given.starts_with(known));
            (distance <= SLIPS || begins).then_some((distance, known))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
