//! The borders between crates: dependencies that a crate of the workspace must not have, also
//! through others.
//!
//! Cargo refuses an import that the manifest doesn't name. These tests hold the manifests.
//! Cargo.lock names the dependencies of all features and tests, so a crate that it lacks is unused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::tidy;

/// gRPC, its messages and the contract.
const WIRE: &[&str] = &["tonic", "prost", "bookstore-proto"];
/// The database and its libraries.
const DATABASE: &[&str] = &["sea-orm", "sqlx", "bookstore-store"];
/// The crates of the service above the store.
const ABOVE_STORE: &[&str] = &["bookstore-entity", "bookstore-migration", "bookstore-query"];

/// The service, its tests, and the libraries of its commands.
const SERVICE: &[&str] =
    &["bookstore-server", "bookstore-tests", "sea-query", "csv", "indicatif", "clap"];

/// Each crate of the workspace, and its forbidden dependencies.
const BORDERS: &[(&str, &[&[&str]])] = &[
    ("bookstore-proto", &[DATABASE, ABOVE_STORE]),
    ("bookstore-entity", &[WIRE, &["bookstore-store"]]),
    ("bookstore-migration", &[WIRE, &["bookstore-store"]]),
    ("bookstore-store", &[WIRE, ABOVE_STORE]),
    ("bookstore-auth", &[WIRE, DATABASE, ABOVE_STORE, SERVICE]),
    ("bookstore-client", &[DATABASE, ABOVE_STORE, SERVICE]),
    ("bookstore-query", &[WIRE, &["bookstore-migration"]]),
    ("bookstore-server", &[&["bookstore-tests"]]),
    ("bookstore-tests", &[]),
];

/// The packages of a lock file, each with the names of its dependencies.
type Packages = BTreeMap<String, BTreeSet<String>>;

fn packages(lock: &str) -> Packages {
    let mut packages = Packages::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = "));
        let name = name.expect("a package's name").trim_matches('"').to_owned();
        let listed = package.lines().filter_map(|line| line.strip_prefix(" \""));
        // A version follows the name where there are several.
        let listed = listed.filter_map(|line| line.split([' ', '"']).next());
        packages.entry(name).or_default().extend(listed.map(str::to_owned));
    }
    packages
}

/// How a crate depends on another, as a path between them; `None` if it doesn't.
fn path(packages: &Packages, from: &str, to: &str) -> Option<Vec<String>> {
    let mut found_by: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(package) = open.pop() {
        for dependency in packages.get(package).into_iter().flatten() {
            if dependency != from && !found_by.contains_key(dependency.as_str()) {
                found_by.insert(dependency, package);
                open.push(dependency);
            }
        }
    }
    let mut path = vec![to.to_owned()];
    let mut at = to;
    while at != from {
        at = found_by.get(at)?;
        path.insert(0, at.to_owned());
    }
    Some(path)
}

/// The violations of a lock file: dependencies across a border, and crates of the workspace without
/// a line in the table.
fn violations(lock: &str, borders: &[(&str, &[&[&str]])]) -> Vec<String> {
    let packages = packages(lock);
    let mut violations = Vec::new();
    for (name, forbidden) in borders {
        if !packages.contains_key(*name) {
            violations.push(format!("{name} is no crate of the workspace"));
        }
        let forbidden = forbidden.iter().copied().flatten();
        let crossed = forbidden.filter_map(|other| path(&packages, name, other));
        violations.extend(crossed.map(|path| format!("{} crosses a border", path.join(" -> "))));
    }
    let ours = packages.keys().filter(|name| name.starts_with("bookstore-"));
    let new = ours.filter(|name| borders.iter().all(|(known, _)| known != name));
    violations.extend(new.map(|name| format!("{name} has no line in BORDERS")));
    violations
}

#[test]
fn no_crate_depends_across_its_border() {
    let lock = fs::read_to_string(tidy::root().join("Cargo.lock")).expect("the lock file");
    let violations = violations(&lock, BORDERS);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let packages = packages(&lock);
    let through =
        path(&packages, "bookstore-server", "prost").expect("a path from the server to prost");
    assert!(through.len() > 1, "{through:?}");
    for (from, to) in [
        ("bookstore-store", "sqlx"),
        ("bookstore-client", "tonic"),
        ("bookstore-client", "bookstore-proto"),
        ("bookstore-server", "bookstore-client"),
    ] {
        assert!(path(&packages, from, to).is_some(), "{from} depends on {to}");
    }
}

#[test]
fn dependency_across_a_border_is_reported() {
    let lock = concat!(
        "[[package]]\nname = \"bookstore-store\"\nversion = \"0.1.0\"\n",
        "dependencies = [\n \"otlp\",\n \"syn 2.0.1\",\n]\n\n",
        "[[package]]\nname = \"otlp\"\nversion = \"1.0.0\"\ndependencies = [\n \"tonic\",\n]\n\n",
        "[[package]]\nname = \"syn\"\nversion = \"2.0.1\"\n\n",
        "[[package]]\nname = \"tonic\"\nversion = \"0.14.0\"\n",
    );
    let find = |name, forbidden| violations(lock, &[(name, &[forbidden])]);
    assert_eq!(
        find("bookstore-store", &["tonic", "prost"]),
        ["bookstore-store -> otlp -> tonic crosses a border"]
    );
    assert_eq!(find("bookstore-store", &["syn"]).len(), 1, "a name with a version");
    assert!(find("bookstore-store", &["prost"]).is_empty());
    assert_eq!(find("bookstore-query", &[]).len(), 2, "one line too many, and one missing");
}
