//! Reads the `[[jwt]]` tables of a policy.

use std::{collections::HashMap, time::Duration};

use toml::de::DeTable;

use super::{
    error::{Errors, hint},
    issuer::{JwtAlgorithm, JwtIssuer, KeySource},
    rule::{self, Role},
    table::{self, NAME, TableKey, Value, is_name},
};
use crate::identity::RoleSet;

/// The keys of a `[[jwt]]` table.
const KEYS: [&str; 14] = [
    "name",
    "issuer",
    "audience",
    "keys_file",
    "keys_url",
    "keys_ca_file",
    "keys_refresh",
    "algorithms",
    "typ",
    "max_lifetime",
    "user_claim",
    "roles_claim",
    "roles",
    "subjects",
];

/// `keys_refresh` where none is given.
const KEYS_REFRESH: Duration = Duration::from_mins(10);

/// `max_lifetime` where none is given.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// The issuers of all tables that are right.
pub(super) fn issuers(
    key: TableKey<'_>,
    value: Value<'_>,
    known: &[Role],
    errors: &mut Errors<'_>,
    warnings: &mut Errors<'_>,
) -> Vec<JwtIssuer> {
    let Some(tables) = value.get_ref().as_array() else {
        errors.on(key, "jwt must be written as [[jwt]], once for each issuer");
        return Vec::new();
    };
    let mut issuers: Vec<JwtIssuer> = Vec::new();
    for place in tables.iter() {
        let Some(table) = place.get_ref().as_table() else {
            errors.on(place, "jwt must be written as [[jwt]], once for each issuer");
            continue;
        };
        let Some(issuer) = one(place, table, known, errors, warnings) else { continue };
        if issuers.iter().any(|other| other.name == issuer.name) {
            errors.on(place, format!("a second [[jwt]] has the name {}", issuer.name));
        } else if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            errors.on(place, format!("a second [[jwt]] has the issuer {}", issuer.issuer));
        } else {
            issuers.push(issuer);
        }
    }
    issuers
}

fn one(
    place: Value<'_>,
    table: &DeTable<'_>,
    known: &[Role],
    errors: &mut Errors<'_>,
    warnings: &mut Errors<'_>,
) -> Option<JwtIssuer> {
    let entries = table::entries(table);
    for (key, _) in &entries {
        match &**key.get_ref() {
            "user_claim" => {
                let message = "user_claim has no effect: this version has no rules by row";
                warnings.on(*key, message);
            }
            name if !KEYS.contains(&name) => table::unknown_key(key, "[[jwt]]", &KEYS, errors),
            _ => {}
        }
    }
    let find = |name: &str| entries.iter().find(|(key, _)| *key.get_ref() == name).copied();
    let needed = |name: &str, errors: &mut Errors<'_>| match find(name) {
        Some((key, value)) => table::text(key, value, errors).map(str::to_owned),
        None => {
            errors.on(place, format!("[[jwt]] has no {name}"));
            None
        }
    };
    let given = |name: &str, errors: &mut Errors<'_>| {
        find(name).and_then(|(key, value)| table::text(key, value, errors)).map(str::to_owned)
    };
    let name = needed("name", errors);
    if let (Some(name), Some((key, _))) = (&name, find("name"))
        && !is_name(name)
    {
        errors.on(key, format!("the name {name:?} {NAME}"));
    }
    let issuer = needed("issuer", errors);
    let audience = needed("audience", errors);
    let keys = match (find("keys_file"), find("keys_url")) {
        (Some((key, value)), None) => {
            table::text(key, value, errors).map(|path| KeySource::File(path.into()))
        }
        (None, Some((key, value))) => address(key, value, errors).map(|url| {
            let authorities = given("keys_ca_file", errors).map(Into::into);
            KeySource::Url { url, authorities }
        }),
        _ => {
            errors.on(place, "[[jwt]] needs keys_file or keys_url, and only one of them");
            None
        }
    };
    if let (Some(_), Some((key, _))) = (find("keys_file"), find("keys_ca_file")) {
        errors.on(key, "keys_ca_file goes with keys_url");
    }
    let keys_refresh = find("keys_refresh").map_or(Some(KEYS_REFRESH), |(key, value)| {
        duration(key, value, Duration::from_secs(60)..=Duration::from_hours(24), errors)
    });
    let max_lifetime = find("max_lifetime").map_or(Some(MAX_LIFETIME), |(key, value)| {
        duration(key, value, Duration::from_secs(1)..=Duration::from_hours(24 * 366), errors)
    });
    let algorithms = find("algorithms").map(|(key, value)| algorithms(key, value, errors));
    if algorithms.is_none() {
        errors.on(place, "[[jwt]] has no algorithms");
    }
    let roles = find("roles").map(|(key, value)| mapped(key, value, known, errors));
    let roles_claim = given("roles_claim", errors);
    if find("roles").is_some() != find("roles_claim").is_some() {
        errors.on(
            place,
            "[[jwt]] needs roles_claim and roles together: the claim, and what its texts mean",
        );
    }
    let subjects = find("subjects").map(|(key, value)| mapped(key, value, known, errors));
    Some(JwtIssuer {
        name: name?.into(),
        issuer: issuer?,
        audience: audience?,
        keys: keys?,
        keys_refresh: keys_refresh?,
        algorithms: algorithms?,
        typ: given("typ", errors),
        max_lifetime: max_lifetime?,
        roles_claim,
        roles: roles.unwrap_or_default(),
        subjects: subjects.unwrap_or_default(),
    })
}

/// An address of keys. What comes over plain HTTP could be anybody's keys.
fn address(key: TableKey<'_>, value: Value<'_>, errors: &mut Errors<'_>) -> Option<String> {
    let text = table::text(key, value, errors)?;
    let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    match host {
        Some(host) if !host.is_empty() && !host.contains('@') => Some(text.to_owned()),
        _ => {
            errors.on(value, "keys_url must be an https:// address with a host, without a user");
            None
        }
    }
}

fn algorithms(key: TableKey<'_>, value: Value<'_>, errors: &mut Errors<'_>) -> Vec<JwtAlgorithm> {
    let mut algorithms = Vec::new();
    let all = JwtAlgorithm::ALL.map(JwtAlgorithm::name);
    let listed = value.get_ref().as_array().filter(|listed| !listed.is_empty());
    let Some(listed) = listed else {
        errors.on(key, format!("algorithms must be a list of {}", all.join(", ")));
        return algorithms;
    };
    for place in listed.iter() {
        let name = place.get_ref().as_str().unwrap_or_default();
        match JwtAlgorithm::named(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let hint = hint(name, all);
                errors.on(place, format!("the algorithm {name:?} isn't taken{hint}"));
            }
        }
    }
    algorithms
}

/// Roles by texts of a claim.
fn mapped(
    key: TableKey<'_>,
    value: Value<'_>,
    known: &[Role],
    errors: &mut Errors<'_>,
) -> HashMap<String, RoleSet> {
    let mut mapped = HashMap::new();
    for (text, words) in table::section(key, value, errors) {
        let Some(given) = table::text(text, words, errors) else { continue };
        match rule::read_roles(given, known) {
            Ok(set) => drop(mapped.insert(text.get_ref().to_string(), set)),
            Err(messages) => {
                for message in messages {
                    errors.on(words, format!("{}: {message}", text.get_ref()));
                }
            }
        }
    }
    mapped
}

/// A duration: a whole number and `s`, `m`, `h` or `d`.
fn duration(
    key: TableKey<'_>,
    value: Value<'_>,
    range: std::ops::RangeInclusive<Duration>,
    errors: &mut Errors<'_>,
) -> Option<Duration> {
    let text = table::text(key, value, errors)?;
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(*unit)?.parse::<u64>().ok()?;
        number.checked_mul(*seconds).map(Duration::from_secs)
    });
    match parsed.filter(|duration| range.contains(duration)) {
        Some(duration) => Some(duration),
        None => {
            let (least, most) = (range.start().as_secs(), range.end().as_secs());
            let message = format!(
                "{} must be a whole number with s, m, h or d behind it, from {least}s to {most}s",
                key.get_ref()
            );
            errors.on(value, message);
            None
        }
    }
}
