//! Reads the file of a policy and holds it against the methods of the service.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    error::{Errors, PolicyError, hint},
    issuer::JwtIssuer,
    methods::{MethodName, PolicyMethod},
    needed::{CERTIFICATES, NeededSettings, TOKENS},
    operators::Operators,
    read_issuer,
    rule::{self, MOST_ROLES, RESERVED, Role, Rule, Verdict},
    table::{self, NAME, TableKey, Value, is_name},
};
use crate::identity::RoleSet;

/// The sections of a policy.
const SECTIONS: [&str; 7] =
    ["version", "roles", "jwt", "certificates", "tokens", "methods", "operators"];

/// Sections of later versions. A policy with one of them would do less than it says.
const LATER: [&str; 3] = ["fields", "limits", "audit"];

/// A service of later versions.
const LATER_SERVICE: &str = "AccessService";

/// What a policy holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) roles: Vec<Role>,
    pub(super) issuers: Vec<JwtIssuer>,
    pub(super) certificates: HashMap<Arc<str>, RoleSet>,
    pub(super) tokens: HashMap<Arc<str>, RoleSet>,
    pub(super) lines: Vec<(MethodName, Rule)>,
    pub(super) operators: Operators,
    pub(super) settings: NeededSettings,
    pub(super) warnings: Vec<PolicyError>,
}

/// Reads a policy for a service with these methods.
pub(super) fn read(text: &str, all: &[PolicyMethod]) -> Result<Contents, Vec<PolicyError>> {
    let mut errors = Errors::of(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        errors.at(error.span().map_or(0, |span| span.start), error.message());
    }
    if !syntax.is_empty() {
        // What was recovered may lack lines, which would be reported as well.
        return Err(errors.into_sorted());
    }
    let document = document.into_inner();
    let mut contents = Contents::default();
    let mut warnings = Errors::of(text);
    let sections = table::entries(&document);
    let find = |name: &str| sections.iter().find(|(key, _)| *key.get_ref() == name).copied();

    version(find("version"), &mut errors);
    for (key, _) in &sections {
        let name = &**key.get_ref();
        if LATER.contains(&name) {
            errors.on(*key, format!("this version has no [{name}]"));
        } else if !SECTIONS.contains(&name) {
            errors.on(*key, format!("there is no section {name}{}", hint(name, SECTIONS)));
        }
    }
    let mut held_by = RoleSet::default();
    if let Some((key, value)) = find("roles") {
        contents.roles = roles(key, value, &mut errors);
    }
    let known = contents.roles.clone();
    if let Some((key, value)) = find("jwt") {
        contents.issuers = read_issuer::issuers(key, value, &known, &mut errors, &mut warnings);
        for issuer in &contents.issuers {
            let given = issuer.roles.values().chain(issuer.subjects.values());
            held_by = given.fold(held_by, |all, some| all.union(*some));
        }
    }
    if let Some((key, value)) = find("certificates") {
        contents.certificates = holders(key, value, &known, certificate, &mut errors);
        contents.settings.note(CERTIFICATES, errors.line(key.span().start));
    }
    if let Some((key, value)) = find("tokens") {
        contents.tokens = holders(key, value, &known, token, &mut errors);
        contents.settings.note(TOKENS, errors.line(key.span().start));
    }
    let given = contents.certificates.values().chain(contents.tokens.values());
    held_by = given.fold(held_by, |all, some| all.union(*some));
    if let Some((key, value)) = find("roles") {
        for (name, _) in table::section(key, value, &mut errors) {
            let role = known.iter().find(|role| role.name == **name.get_ref());
            if role.is_some_and(|role| !role.set.intersects(held_by)) {
                let message = "has this role: no line of [[jwt]], [certificates] or [tokens] gives";
                errors.on(name, format!("no caller {message} {}", name.get_ref()));
            }
        }
    }
    contents.lines = methods(find("methods"), all, &known, &mut errors, &mut warnings);
    if let Some((key, value)) = find("operators") {
        contents.operators = operators(key, value, &known, &mut errors);
    }
    contents.warnings = warnings.into_sorted();
    match errors.into_sorted() {
        errors if errors.is_empty() => Ok(contents),
        errors => Err(errors),
    }
}

fn version(given: Option<(TableKey<'_>, Value<'_>)>, errors: &mut Errors<'_>) {
    match given {
        None => errors.at(0, "version = 1 is missing"),
        Some((_, value)) => {
            let number = value.get_ref().as_integer().map(|number| number.as_str());
            if number != Some("1") {
                errors.on(value, "this program reads version = 1");
            }
        }
    }
}

fn roles(key: TableKey<'_>, value: Value<'_>, errors: &mut Errors<'_>) -> Vec<Role> {
    let mut roles = Vec::new();
    for (name, description) in table::section(key, value, errors) {
        let description = table::text(name, description, errors);
        let text = &**name.get_ref();
        if RESERVED.contains(&text) {
            errors.on(name, format!("{text} is a word of the rules and can't be a role"));
        } else if !is_name(text) {
            errors.on(name, format!("the role {text:?} {NAME}"));
        } else if roles.len() == MOST_ROLES {
            errors.on(name, format!("a policy has at most {MOST_ROLES} roles"));
        } else {
            let set = RoleSet(1 << roles.len());
            let description = description.unwrap_or_default().to_owned();
            roles.push(Role { name: text.to_owned(), description, set });
        }
    }
    roles
}

/// The roles by the name of what has them.
fn holders(
    key: TableKey<'_>,
    value: Value<'_>,
    known: &[Role],
    check: fn(&str) -> Option<String>,
    errors: &mut Errors<'_>,
) -> HashMap<Arc<str>, RoleSet> {
    let mut holders = HashMap::new();
    for (name, words) in table::section(key, value, errors) {
        if let Some(message) = check(name.get_ref()) {
            errors.on(name, message);
        }
        let Some(text) = table::text(name, words, errors) else { continue };
        match rule::read_roles(text, known) {
            Ok(set) => drop(holders.insert(Arc::from(&**name.get_ref()), set)),
            Err(messages) => at_each(words, name, messages, errors),
        }
    }
    holders
}

/// Adds the errors of a line's words.
fn at_each(place: Value<'_>, name: TableKey<'_>, messages: Vec<String>, errors: &mut Errors<'_>) {
    for message in messages {
        errors.on(place, format!("{}: {message}", name.get_ref()));
    }
}

/// What is wrong with the name of a static token.
fn token(name: &str) -> Option<String> {
    (!is_name(name)).then(|| format!("the token {name:?} {NAME}"))
}

/// What is wrong with the name of a client certificate.
fn certificate(name: &str) -> Option<String> {
    if name.contains('*') {
        return Some(format!("{name:?}: a wildcard names no certificate"));
    }
    let spiffe = name.strip_prefix("spiffe://").is_some_and(|rest| {
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        !domain.is_empty() && !path.is_empty()
    });
    let dns = name.strip_prefix("dns:").is_some_and(|rest| {
        let plain = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
        };
        !rest.is_empty() && rest.chars().all(plain)
    });
    let form = "must be a spiffe:// URI with a path, or dns: and a DNS name in lower case";
    (!spiffe && !dns).then(|| format!("the certificate {name:?} {form}"))
}

fn methods(
    given: Option<(TableKey<'_>, Value<'_>)>,
    all: &[PolicyMethod],
    known: &[Role],
    errors: &mut Errors<'_>,
    warnings: &mut Errors<'_>,
) -> Vec<(MethodName, Rule)> {
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in all.iter().filter_map(|method| MethodName::of_path(method.path)) {
        let methods = missing.entry(name.service).or_default();
        // The versions of reflection have one line.
        if !methods.contains(&name.method) {
            methods.push(name.method);
        }
    }
    let services: Vec<String> = missing.keys().cloned().collect();
    let mut lines = Vec::new();
    let (mut places, mut at) = (HashMap::new(), HashMap::new());
    let sections = given.map(|(key, value)| table::section(key, value, errors));
    for (service, value) in sections.into_iter().flatten() {
        let name = &**service.get_ref();
        places.insert(name.to_owned(), service.span().start);
        if name == LATER_SERVICE {
            errors.on(service, format!("this version has no {LATER_SERVICE}"));
            continue;
        }
        let Some(methods) = missing.get_mut(name) else {
            // An unquoted name with dots is a section inside another.
            let inside = services.iter().find(|other| other.starts_with(&format!("{name}.")));
            let hint = match inside {
                Some(whole) => format!(", write [methods.\"{whole}\"]"),
                None => hint(name, services.iter().map(|known| &**known)),
            };
            errors.on(service, format!("the service has no {name}{hint}"));
            continue;
        };
        let all = methods.clone();
        for (method, words) in table::section(service, value, errors) {
            let text = &**method.get_ref();
            if !all.iter().any(|known| known == text) {
                let hint = hint(text, all.iter().map(|known| &**known));
                errors.on(method, format!("{name} has no method {text}{hint}"));
                continue;
            }
            methods.retain(|known| known != text);
            let Some(rule) = table::text(method, words, errors) else { continue };
            match rule::read_rule(rule, known) {
                Ok(rule) => {
                    let name = MethodName { service: name.to_owned(), method: text.to_owned() };
                    at.insert(name.clone(), method.span().start);
                    lines.push((name, rule));
                }
                Err(messages) => at_each(words, method, messages, errors),
            }
        }
    }
    let place = given.map_or(0, |(key, _)| key.span().start);
    for (service, methods) in missing {
        let place = places.get(&service).copied().unwrap_or(place);
        for method in methods {
            let section = match service.contains('.') {
                true => format!("[methods.\"{service}\"]"),
                false => format!("[methods.{service}]"),
            };
            errors.at(place, format!("{section} has no line for {method}"));
        }
    }
    for method in all {
        let Some(name) = MethodName::of_path(method.path) else { continue };
        let entries = method.entries.and_then(MethodName::of_path);
        if let (Some(place), Some(entries)) = (at.get(&name), entries)
            && let Some(without) = without_entries(&name, &entries, &lines, known)
        {
            let message = format!(
                "{} allows {without}, but {} doesn't, which judges each entry",
                name.method, entries.method
            );
            warnings.at(*place, message);
        }
    }
    lines
}

/// The place of each rule in the text of a policy, in the order of the text: the bytes of its value,
/// with the quotes. A text that isn't TOML has none.
pub(super) fn rule_places(text: &str) -> Vec<(MethodName, Range<usize>)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let document = document.into_inner();
    let services = document.get("methods").and_then(|methods| methods.get_ref().as_table());
    let mut places = Vec::new();
    for (service, methods) in services.into_iter().flat_map(table::entries) {
        for (method, rule) in methods.get_ref().as_table().into_iter().flat_map(table::entries) {
            let (service, method) = (service.get_ref().to_string(), method.get_ref().to_string());
            places.push((MethodName { service, method }, rule.span()));
        }
    }
    places.sort_by_key(|(_, place)| place.start);
    places
}

/// The callers that a method's line allows, and the line of its entries doesn't; none if there
/// are none.
fn without_entries(
    name: &MethodName,
    entries: &MethodName,
    lines: &[(MethodName, Rule)],
    known: &[Role],
) -> Option<String> {
    let rule = |wanted: &MethodName| lines.iter().find(|(name, _)| name == wanted);
    let (many, one) = (rule(name)?.1, rule(entries)?.1);
    let callers = [("anyone", None), ("everyone", Some(RoleSet::default()))].into_iter();
    let callers = callers.chain(known.iter().map(|role| (&*role.name, Some(role.set))));
    let without = callers.filter(|(_, roles)| {
        many.judge(*roles) == Verdict::Allowed && one.judge(*roles) != Verdict::Allowed
    });
    let names: Vec<&str> = without.map(|(name, _)| name).collect();
    // Every role is one of them where `anyone` or `everyone` is.
    let first = names.first().filter(|name| RESERVED.contains(name)).copied();
    (!names.is_empty()).then(|| first.map_or_else(|| names.join(" "), str::to_owned))
}

fn operators(
    key: TableKey<'_>,
    value: Value<'_>,
    known: &[Role],
    errors: &mut Errors<'_>,
) -> Operators {
    let mut operators = Operators::default();
    for (name, words) in table::section(key, value, errors) {
        let place = match &**name.get_ref() {
            "see" => &mut operators.see,
            "change" => &mut operators.change,
            "diagnose" => &mut operators.diagnose,
            _ => {
                table::unknown_key(name, "[operators]", &["see", "change", "diagnose"], errors);
                continue;
            }
        };
        let Some(text) = table::text(name, words, errors) else { continue };
        match rule::read_rule(text, known) {
            Ok(rule) => *place = rule,
            Err(messages) => at_each(words, name, messages, errors),
        }
    }
    operators
}
