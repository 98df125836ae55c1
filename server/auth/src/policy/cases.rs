//! Cases that a policy must decide as they say: the file of `bookstore policy test`.

use std::collections::{BTreeSet, HashMap};

use toml::de::{DeTable, DeValue};

use super::{
    error::{Errors, PolicyError, hint},
    judge::Policy,
    methods::MethodName,
    rule::{self, Verdict},
    table::{self, Value},
};
use crate::identity::{Identity, RoleSet};

/// The caller without credentials, whom no file has to name.
const ANYONE: &str = "anyone";

/// The caller with credentials and without a role.
const EVERYONE: &str = "everyone";

/// What may be expected of a call.
const EXPECT: [&str; 4] = ["all", "none", "METHOD_FORBIDDEN", "CREDENTIALS_MISSING"];

/// The keys of a case.
const KEYS: [&str; 3] = ["who", "call", "expect"];

/// The keys of a person.
const PERSON: [&str; 7] = ["role", "token", "certificate", "jwt", "subject", "claims", "user"];

/// The result of a file of cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseReport {
    /// How many calls were judged.
    pub judged: usize,
    /// The cases that the policy decides otherwise, each with its line.
    pub failures: Vec<PolicyError>,
    /// The methods that no case decides for a caller with this role alone, in order.
    pub undecided: Vec<(String, MethodName)>,
}

/// A caller of the cases.
#[derive(Clone)]
enum Person {
    NoCredentials,
    Roles(RoleSet),
}

impl Policy {
    /// Runs a file of cases: people, and what they may call.
    ///
    /// # Errors
    /// What is wrong with the file, each with its line.
    pub fn test(&self, text: &str) -> Result<CaseReport, Vec<PolicyError>> {
        let mut errors = Errors::of(text);
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            errors.at(error.span().map_or(0, |span| span.start), error.message());
        }
        if !syntax.is_empty() {
            return Err(errors.into_sorted());
        }
        let document = document.into_inner();
        let mut people = HashMap::from([
            (ANYONE.to_owned(), Person::NoCredentials),
            (EVERYONE.to_owned(), Person::Roles(RoleSet::default())),
        ]);
        let mut cases = Vec::new();
        for (key, value) in table::entries(&document) {
            match &**key.get_ref() {
                "people" => {
                    for (name, given) in table::section(key, value, &mut errors) {
                        let Some(person) = self.person(given, &mut errors) else { continue };
                        if people.insert(name.get_ref().to_string(), person).is_some() {
                            errors.on(name, format!("{} is known already", name.get_ref()));
                        }
                    }
                }
                "case" => {
                    cases.extend(value.get_ref().as_array().into_iter().flat_map(|it| it.iter()))
                }
                _ => table::unknown_key(key, "the file", &["people", "case"], &mut errors),
            }
        }
        let mut report = CaseReport::default();
        let mut decided = BTreeSet::new();
        let mut failures = Errors::of(text);
        for case in cases {
            self.case(case, &people, &mut decided, &mut report, &mut failures, &mut errors);
        }
        let errors = errors.into_sorted();
        if !errors.is_empty() {
            return Err(errors);
        }
        report.failures = failures.into_sorted();
        for role in self.roles() {
            let open =
                self.lines().iter().filter(|(name, _)| !decided.contains(&(role.set.0, name)));
            report.undecided.extend(open.map(|(name, _)| (role.name.clone(), name.clone())));
        }
        Ok(report)
    }

    /// The roles of a person: given by name, or by credentials.
    fn person(&self, given: Value<'_>, errors: &mut Errors<'_>) -> Option<Person> {
        let Some(fields) = given.get_ref().as_table() else {
            errors.on(given, "a person must be a table, such as { role = \"reader\" }");
            return None;
        };
        let (mut roles, mut token, mut certificate) = (None, None, None);
        let (mut jwt, mut subject, mut claims) = (None, None, Vec::new());
        for (key, value) in table::entries(fields) {
            match &**key.get_ref() {
                "role" => roles = Some((value, table::text(key, value, errors)?)),
                "token" => token = Some(table::text(key, value, errors)?),
                "certificate" => certificate = Some(table::text(key, value, errors)?),
                "jwt" => jwt = Some(table::text(key, value, errors)?),
                "subject" => subject = Some(table::text(key, value, errors)?),
                "claims" => claims = texts(value, errors),
                // For rules by row, which this version doesn't have. It changes no result here.
                "user" => drop(table::text(key, value, errors)?),
                _ => {
                    table::unknown_key(key, "a person", &PERSON, errors);
                    return None;
                }
            }
        }
        let identity = match (roles, token, certificate, jwt) {
            (Some((place, names)), None, None, None) => {
                return match rule::read_roles(names, self.roles()) {
                    Ok(set) => Some(Person::Roles(set)),
                    Err(messages) => {
                        messages.into_iter().for_each(|message| errors.on(place, message));
                        None
                    }
                };
            }
            (None, Some(name), None, None) => Identity::Token { name: name.into() },
            (None, None, Some(name), None) => Identity::Certificate { name: name.into() },
            (None, None, None, Some(issuer)) => Identity::Jwt {
                issuer: issuer.into(),
                subject: subject.unwrap_or_default().into(),
                roles: claims.into_iter().map(|(_, text)| text.into()).collect(),
            },
            _ => {
                errors.on(given, "a person has one of role, token, certificate and jwt");
                return None;
            }
        };
        Some(Person::Roles(self.roles_of(&identity)))
    }

    fn case<'p>(
        &'p self,
        case: Value<'_>,
        people: &HashMap<String, Person>,
        decided: &mut BTreeSet<(u64, &'p MethodName)>,
        report: &mut CaseReport,
        failures: &mut Errors<'_>,
        errors: &mut Errors<'_>,
    ) {
        let Some(fields) = case.get_ref().as_table() else {
            return errors.on(case, "cases are written as [[case]]");
        };
        for (key, _) in table::entries(fields) {
            if **key.get_ref() == *"request" {
                errors.on(key, "request: this version has no rules by row or field");
            } else if !KEYS.contains(&&**key.get_ref()) {
                table::unknown_key(key, "a case", &KEYS, errors);
            }
        }
        let (Some(who), Some(call), Some(expect)) =
            (fields.get("who"), fields.get("call"), fields.get("expect"))
        else {
            return errors.on(case, "a case has who, call and expect");
        };
        let expected = expect.get_ref().as_str().unwrap_or_default();
        if expected == "own" {
            return errors.on(expect, "own: this version has no rules by row");
        }
        if !EXPECT.contains(&expected) {
            return errors.on(expect, format!("expect must be one of {}", EXPECT.join(", ")));
        }
        let calls = texts(call, errors);
        for (place, name) in texts(who, errors) {
            let Some(person) = people.get(name) else {
                let known = people.keys().map(|known| &**known);
                errors.on(place, format!("{name} is none of [people]{}", hint(name, known)));
                continue;
            };
            for (place, call) in &calls {
                let mut matched = false;
                for (method, _) in self.lines() {
                    if !matches(call, method) {
                        continue;
                    }
                    matched = true;
                    report.judged += 1;
                    let verdict = self.verdict(method, person.roles());
                    if let Person::Roles(RoleSet(role)) = person {
                        decided.insert((*role, method));
                    }
                    if !fits(expected, verdict) {
                        let found = reason(verdict);
                        let message =
                            format!("{name} {method}: expected {expected}, found {found}");
                        failures.on(place, message);
                    }
                }
                if !matched {
                    errors.on(place, format!("no method of the policy is {call}"));
                }
            }
        }
    }
}

impl Person {
    fn roles(&self) -> Option<RoleSet> {
        match self {
            Self::NoCredentials => None,
            Self::Roles(roles) => Some(*roles),
        }
    }
}

/// Whether a call of a case means a method: `BookService/GetBook`, `BookService/*` or `*`.
fn matches(call: &str, method: &MethodName) -> bool {
    match call.split_once('/') {
        Some((service, "*")) => service == method.service,
        Some((service, name)) => service == method.service && name == method.method,
        None => call == "*",
    }
}

fn fits(expected: &str, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Allowed => expected == "all",
        verdict => expected == "none" || expected == reason(verdict),
    }
}

/// A verdict as a case expects it.
fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "all",
        Verdict::CredentialsMissing => "CREDENTIALS_MISSING",
        Verdict::Forbidden | Verdict::EntriesForbidden | Verdict::NoMethod => "METHOD_FORBIDDEN",
    }
}

/// A text or a list of texts.
fn texts<'t>(value: Value<'t>, errors: &mut Errors<'_>) -> Vec<(Value<'t>, &'t str)> {
    let listed: Vec<Value<'t>> = match value.get_ref() {
        DeValue::Array(list) => list.iter().collect(),
        _ => vec![value],
    };
    let mut texts = Vec::new();
    for place in listed {
        match place.get_ref().as_str() {
            Some(text) => texts.push((place, text)),
            None => errors.on(place, "must be a text or a list of texts"),
        }
    }
    texts
}
