//! The reasons of errors: the code uses only values of the contract's enums, and those enums have
//! the form that AIP-193 and Buf's rule ENUM_VALUE_PREFIX require.

use std::{collections::BTreeSet, sync::LazyLock};

use bookstore_proto::DESCRIPTOR_POOL;
use regex::Regex;

use crate::tidy;

/// The possible reasons: the values of all enums of the contract named `…ErrorReason`, without
/// their prefixes.
pub(crate) static REASONS: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| contract().iter().flat_map(ReasonEnum::reasons).collect());

/// The rule for `google.rpc.ErrorInfo.reason` (AIP-193).
static FORM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$").expect("a pattern"));

/// A resource writes its precondition's reason as a literal.
static MADE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\bPrecondition::new\(\s*("(\w*)")?"#).expect("a pattern"));

/// An enum of reasons.
struct ReasonEnum {
    /// Such as `PublisherErrorReason`.
    name: String,
    /// The names of its values, in the order of their numbers.
    values: Vec<String>,
}

impl ReasonEnum {
    /// `PUBLISHER_ERROR_REASON_` for `PublisherErrorReason`.
    fn prefix(&self) -> String {
        let mut prefix = String::new();
        for c in self.name.chars() {
            if c.is_uppercase() && !prefix.is_empty() {
                prefix.push('_');
            }
            prefix.extend(c.to_uppercase());
        }
        prefix + "_"
    }

    /// The reasons, without the unspecified value.
    fn reasons(&self) -> Vec<String> {
        let prefix = self.prefix();
        let reasons = self.values.iter().filter_map(|value| value.strip_prefix(&prefix));
        reasons.filter(|reason| *reason != "UNSPECIFIED").map(str::to_owned).collect()
    }
}

/// The contract's enums of reasons, in any file.
fn contract() -> Vec<ReasonEnum> {
    let all = DESCRIPTOR_POOL.all_enums();
    let ours = all.filter(|kind| {
        kind.package_name() == "bookstore.v1" && kind.name().ends_with("ErrorReason")
    });
    let values = |kind: &prost_reflect::EnumDescriptor| {
        kind.values().map(|value| value.name().to_owned()).collect()
    };
    ours.map(|kind| ReasonEnum { name: kind.name().to_owned(), values: values(&kind) }).collect()
}

/// The violations of the enums: values without the prefix, malformed reasons, and reasons of two
/// enums, since a reason is unique in its domain.
fn violations_of_enums(enums: &[ReasonEnum]) -> Vec<String> {
    let (mut violations, mut seen) = (Vec::new(), BTreeSet::new());
    for found in enums {
        let (name, prefix) = (&found.name, found.prefix());
        if found.values.first() != Some(&format!("{prefix}UNSPECIFIED")) {
            violations.push(format!("{name}: the first value is not {prefix}UNSPECIFIED"));
        }
        let stray = found.values.iter().filter(|value| !value.starts_with(&prefix));
        violations
            .extend(stray.map(|value| format!("{name}: {value} doesn't begin with {prefix}")));
        for reason in found.reasons() {
            if !FORM.is_match(&reason) {
                violations.push(format!("{name}: {reason} hasn't the form of a reason"));
            }
            if !seen.insert(reason.clone()) {
                violations.push(format!("{name}: another enum has {reason} too"));
            }
        }
    }
    violations
}

/// The violations of a file: a precondition's reason must be a literal that the contract has.
fn violations_of_code(path: &str, text: &str, known: &BTreeSet<String>) -> Vec<String> {
    if !path.starts_with("server/src/") {
        return Vec::new();
    }
    let made = MADE.captures_iter(text);
    let unknown = made.filter_map(|found| match found.get(2) {
        Some(reason) if known.contains(reason.as_str()) => None,
        Some(reason) => {
            Some(format!("{path}: no *ErrorReason of the contract has {}", reason.as_str()))
        }
        None => Some(format!("{path}: a precondition's reason is not a literal")),
    });
    unknown.collect()
}

#[test]
fn reason_enums_follow_aip_193() {
    assert!(REASONS.len() > 30, "{REASONS:?}");
    let violations = violations_of_enums(&contract());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_reason_in_the_code_is_in_the_contract() {
    let files = tidy::files(".rs");
    let violations = files.iter().flat_map(|(path, text)| violations_of_code(path, text, &REASONS));
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let made = files.iter().filter(|(path, _)| path.starts_with("server/src/resource/"));
    let made: usize = made.map(|(_, text)| MADE.find_iter(text).count()).sum();
    assert!(made >= 6, "{made} preconditions found");
}

#[test]
fn malformed_reason_enum_is_reported() {
    let kind = |name: &str, values: &[&str]| ReasonEnum {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let own = kind("ErrorReason", &["ERROR_REASON_UNSPECIFIED", "ERROR_REASON_CART_FULL"]);
    let publisher =
        |last: &str| kind("PublisherErrorReason", &["PUBLISHER_ERROR_REASON_UNSPECIFIED", last]);
    let find = |last: &str| {
        let own = kind("ErrorReason", &["ERROR_REASON_UNSPECIFIED", "ERROR_REASON_CART_FULL"]);
        violations_of_enums(&[own, publisher(last)]).len()
    };
    assert_eq!(find("PUBLISHER_ERROR_REASON_PUBLISHER_HAS_BOOKS"), 0);
    assert_eq!(find("ERROR_REASON_PUBLISHER_HAS_BOOKS"), 1, "another prefix");
    assert_eq!(find("PUBLISHER_ERROR_REASON_CART_FULL"), 1, "a reason of another enum");
    assert_eq!(find("PUBLISHER_ERROR_REASON_HAS_"), 1, "another form");
    assert_eq!(violations_of_enums(&[kind("XErrorReason", &["X_ERROR_REASON_A_B"])]).len(), 1);
    let both = [own, publisher("PUBLISHER_ERROR_REASON_PUBLISHER_HAS_BOOKS")];
    let reasons: Vec<String> = both.iter().flat_map(ReasonEnum::reasons).collect();
    assert_eq!(reasons, ["CART_FULL", "PUBLISHER_HAS_BOOKS"]);
}

#[test]
fn reason_without_an_enum_value_is_reported() {
    let known = BTreeSet::from(["CART_FULL".to_owned()]);
    let find =
        |text| violations_of_code("server/src/resource/cart/operations.rs", text, &known).len();
    assert_eq!(find("Precondition::new(\"CART_FULL\", \"full\")"), 0);
    assert_eq!(find("Precondition::new(\n    \"CART_FULL\",\n    \"full\",\n)"), 0);
    assert_eq!(find("Precondition::new(\"CART_FUL\", \"full\")"), 1);
    assert_eq!(find("Precondition::new(REASON, \"full\")"), 1);
    assert_eq!(
        violations_of_code("server/store/src/a.rs", "Precondition::new(A)", &known).len(),
        0
    );
}
