//! Rules across files, which no compiler checks: each service of the contract has its folder and
//! its tests, each migration its name and its line.

use std::{fs, path::Path};

use regex::Regex;

/// Every service of a contract file has a folder of four files and a module of tests.
pub(super) fn services(root: &Path, path: &str, text: &str) -> Vec<String> {
    let service = Regex::new(r"(?m)^service (\w+?)Service\b").expect("a pattern");
    let mut violations = Vec::new();
    let index = fs::read_to_string(root.join("tests/suite/main.rs")).unwrap_or_default();
    for found in service.captures_iter(text) {
        let name = snake_case(&found[1]);
        let mut missing = |wanted: String, there: bool| {
            if !there {
                violations.push(format!("{path}: {}Service needs {wanted}", &found[1]));
            }
        };
        // Transactions are above the resources.
        let folder = if name == "transaction" { "" } else { "resource/" };
        for file in ["mod", "service", "convert", "operations"] {
            let file = format!("server/src/{folder}{name}/{file}.rs");
            missing(file.clone(), root.join(&file).is_file());
        }
        // rustc asks for the file of this line.
        let line = format!("mod {name};");
        let listed = index.lines().any(|listed| listed.trim() == line);
        missing(format!("the line `{line}` in tests/suite/main.rs"), listed);
    }
    violations
}

/// A migration's file name has its time and its purpose, and is in the list; `index` is the text of
/// `revisions/mod.rs`.
pub(super) fn migrations(path: &str, index: &str) -> Vec<String> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let inside = path.strip_prefix("migration/src/revisions/");
    let Some(name) = file.strip_suffix(".rs").filter(|_| inside == Some(file)) else {
        return Vec::new();
    };
    let dated = Regex::new(r"^m\d{8}_\d{6}_[a-z]+(_[a-z0-9]+)+$").expect("a pattern");
    if !dated.is_match(name) {
        // Other files don't begin with a digit.
        let looks_dated = Regex::new(r"^m?\d").expect("a pattern").is_match(name);
        let violation = format!("{path}: call it mYYYYMMDD_NNNNNN_verb_thing.rs");
        return if looks_dated { vec![violation] } else { Vec::new() };
    }
    // rustc doesn't compile a file without this line, and reports a revision that the list lacks.
    if index.contains(&format!("mod {name};")) {
        Vec::new()
    } else {
        vec![format!("{path}: migration/src/revisions/mod.rs doesn't list it")]
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn service_without_its_files_is_reported() {
    let root = tempfile::tempdir().expect("a folder");
    let resource = root.path().join("server/src/resource/price_list");
    fs::create_dir_all(&resource).expect("a folder");
    for file in ["mod", "service", "convert", "operations"] {
        fs::write(resource.join(file).with_extension("rs"), "").expect("a file");
    }
    let suite = root.path().join("tests/suite");
    fs::create_dir_all(&suite).expect("a folder");
    fs::write(suite.join("main.rs"), "mod price_list;\n").expect("a file");
    let find = |text| services(root.path(), "a.proto", text).len();
    assert_eq!(find("message ServiceX {}\nservice PriceListService {"), 0);
    assert_eq!(find("service BookService {"), 5);
    fs::remove_file(resource.join("convert.rs")).expect("a file to remove");
    assert_eq!(find("service PriceListService {"), 1);
}

#[test]
fn misnamed_or_unlisted_migration_is_reported() {
    let find =
        |file: &str, index| migrations(&format!("migration/src/revisions/{file}"), index).len();
    let index = "mod m20260101_000001_create_books;";
    assert_eq!(find("m20260101_000001_create_books.rs", index), 0);
    assert_eq!(find("m20260101_000001_create_books.rs", "mod m20260101_000002_create_users;"), 1);
    assert_eq!(find("m2026_books.rs", index), 1);
    assert_eq!(find("columns.rs", index), 0);
    assert_eq!(find("lib.rs", index), 0);
}
