//! No import cycles between files: of two files of a crate at most one depends on the other, also
//! through others. A re-export counts for the defining file. Neither rustc nor clippy reports
//! cycles between modules.
//!
//! Tests inside a file don't count. Entities are excepted, since SeaORM's relations go both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// The folders of the checked crates.
const CRATES: &[&str] = &[
    "server/src/",
    "server/store/src/",
    "server/query/src/",
    "server/auth/src/",
    "server/client/src/",
    "migration/src/",
    "tests/src/",
];

/// A module's path in its crate.
type Place = Vec<String>;

/// A file's contents.
struct File {
    /// The code without comments, strings and tests.
    code: String,
    /// Imported names with their absolute paths; `*` stands for all names of a module.
    imports: Vec<Import>,
}

struct Import {
    name: String,
    path: Place,
    is_public: bool,
}

/// The files of one crate.
struct Crate(BTreeMap<Place, File>);

impl Crate {
    /// `files` are paths below the crate's folder with their texts.
    fn read<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let read = |(path, text): (&str, &str)| {
            let place = place(path);
            let mut code = Source::parse(text).code;
            if let Some(tests) = code.find("#[cfg(test)]\nmod tests {") {
                code.truncate(tests);
            }
            let imports = imports(&code, &place);
            (place, File { code, imports })
        };
        Self(files.map(read).collect())
    }

    /// The files that a file depends on, except those that it only re-exports.
    fn named_by(&self, place: &Place) -> BTreeSet<&Place> {
        let Some(file) = self.0.get(place) else { return BTreeSet::new() };
        let imported = file.imports.iter().filter(|import| !import.is_public);
        let mut paths: Vec<Place> = imported.map(|import| import.path.clone()).collect();
        for path in paths_in(&without_imports(&file.code)) {
            let local = |name: &String| {
                let import = file.imports.iter().find(|import| import.name == *name);
                let child = [place.as_slice(), std::slice::from_ref(name)].concat();
                import.map(|it| it.path.clone()).or(self.0.contains_key(&child).then_some(child))
            };
            match path.split_first() {
                Some((first, _)) if is_anchor(first) => paths.extend(absolute(&path, place)),
                Some((first, rest)) => paths.extend(local(first).map(|at| [&at, rest].concat())),
                None => {}
            }
        }
        let defined = paths.iter().filter_map(|path| self.definer(path, 0));
        defined.filter(|definer| *definer != place).collect()
    }

    /// The file that defines the item at a path; `None` for a module and for other crates.
    fn definer(&self, path: &[String], depth: usize) -> Option<&Place> {
        let modules = (0..path.len()).rev().map(|length| &path[..length]);
        if self.0.contains_key(path) || depth > 8 {
            return None;
        }
        let module = modules.into_iter().find(|module| self.0.contains_key(*module))?;
        let (place, file) = self.0.get_key_value(module)?;
        let (name, rest) = path[module.len()..].split_first()?;
        if name == "*" || defines(&file.code, name) {
            return Some(place);
        }
        let known = file.imports.iter().filter(|it| it.name == *name || it.name == "*");
        let paths = known.map(|it| match it.name.as_str() {
            "*" => [&it.path[..it.path.len() - 1], &path[module.len()..]].concat(),
            _ => [&it.path, rest].concat(),
        });
        let found = paths.filter_map(|path| self.definer(&path, depth + 1)).next();
        found.or((!file.imports.iter().any(|it| it.name == *name)).then_some(place))
    }

    /// The sets of files that depend on each other.
    fn circles(&self) -> Vec<Vec<&Place>> {
        let named: BTreeMap<&Place, BTreeSet<&Place>> =
            self.0.keys().map(|place| (place, self.named_by(place))).collect();
        let reached = |from: &Place| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&Place> = named[from].iter().copied().collect();
            while let Some(place) = next.pop() {
                if reached.insert(place) {
                    next.extend(&named[place]);
                }
            }
            reached
        };
        let reached: BTreeMap<&Place, BTreeSet<&Place>> =
            self.0.keys().map(|place| (place, reached(place))).collect();
        let mut circles: BTreeSet<Vec<&Place>> = BTreeSet::new();
        for (place, reaches) in reached.iter().filter(|(place, reaches)| reaches.contains(*place)) {
            let circle = reaches.iter().copied().filter(|other| reached[other].contains(place));
            circles.insert(circle.collect());
        }
        circles.into_iter().collect()
    }
}

/// The module of a file: `rpc/status/mod.rs` and `rpc/status.rs` are `rpc::status`.
fn place(path: &str) -> Place {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let place = path.split('/').map(str::to_owned);
    if path == "lib" { Vec::new() } else { place.collect() }
}

fn is_anchor(name: &str) -> bool {
    ["crate", "self", "super"].contains(&name)
}

/// A path from the crate's root; `None` if it begins in another crate.
fn absolute(path: &[String], place: &[String]) -> Option<Place> {
    let mut at: Place = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => place.to_vec(),
        "super" => place[..place.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    let mut rest = &path[1..];
    while rest.first().is_some_and(|name| name == "super") {
        at.pop()?;
        rest = &rest[1..];
    }
    Some([at.as_slice(), rest].concat())
}

/// The imports of a file from its own crate.
fn imports(code: &str, place: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, text) in use_declarations(code) {
        let line = &code[code[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let is_public = line.trim_start().starts_with("pub");
        let mut paths = Vec::new();
        spread(text, &[], &mut paths);
        for (mut path, alias) in paths {
            if path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            // A child module may be named without `self`.
            let anchored = path.first().is_some_and(|first| is_anchor(first));
            let child = format!("mod {};", path.first().map_or("", String::as_str));
            if !anchored && code.contains(&child) {
                path.insert(0, "self".to_owned());
            }
            if let Some(path) = absolute(&path, place) {
                let name = alias.or(path.last().cloned()).unwrap_or_default();
                found.push(Import { name, path, is_public });
            }
        }
    }
    found
}

/// The positions of `use` declarations with the imported paths.
fn use_declarations(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("use ").filter_map(move |(at, word)| {
        let begins = code[..at].trim_end_matches([' ', '\t']);
        let begins = begins.is_empty() || begins.ends_with(['\n', '{', ';', ')', 'b']);
        let rest = &code[at + word.len()..];
        begins.then(|| (at, rest.split(';').next().unwrap_or(rest)))
    })
}

fn without_imports(code: &str) -> String {
    let mut rest = code.to_owned();
    let ranges: Vec<_> = use_declarations(code).map(|(at, text)| (at, text.len() + 4)).collect();
    for (at, length) in ranges.into_iter().rev() {
        rest.replace_range(at..at + length, "");
    }
    rest
}

/// Adds the paths of an import tree with their aliases; returns the text after them.
pub(super) fn spread<'a>(
    text: &'a str,
    before: &[String],
    paths: &mut Vec<(Place, Option<String>)>,
) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') && !rest.trim().is_empty() {
            rest = spread(rest, before, paths).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return rest.trim_start().strip_prefix('}').unwrap_or("");
    }
    let (name, rest) = word(text);
    let (name, rest) = match rest.strip_prefix('*') {
        Some(rest) if name.is_empty() => ("*", rest),
        _ => (name, rest),
    };
    let path = [before, &[name.to_owned()]].concat();
    if let Some(rest) = rest.strip_prefix("::") {
        return spread(rest, &path, paths);
    }
    match rest.trim_start().strip_prefix("as ") {
        Some(alias) => {
            let (alias, rest) = word(alias.trim_start());
            paths.push((path, Some(alias.to_owned())));
            rest
        }
        None => {
            paths.push((path, None));
            // Any other text is skipped.
            if name.is_empty() { "" } else { rest }
        }
    }
}

/// The name that a text begins with, and the rest.
fn word(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

/// Every path of two names or more in code.
fn paths_in(code: &str) -> Vec<Place> {
    let mut found: Vec<Place> = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let mut path = Vec::new();
        rest = &rest[start..];
        loop {
            let (name, after) = word(rest);
            path.push(name.to_owned());
            rest = after;
            match rest.strip_prefix("::") {
                Some(next) if next.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    rest = next;
                }
                _ => break,
            }
        }
        if path.len() > 1 {
            found.push(path);
        }
    }
    found
}

/// Whether a file's code defines a name.
fn defines(code: &str, name: &str) -> bool {
    const KINDS: [&str; 9] =
        ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "macro_rules!"];
    KINDS.iter().any(|kind| {
        let head = format!("{kind} {name}");
        let ends = |at: usize| word(&code[at + head.len()..]).0.is_empty();
        code.match_indices(&head).any(|(at, _)| ends(at))
    })
}

/// The cycles among the files, one a line.
pub(super) fn circles(files: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for root in CRATES {
        let inside =
            files.iter().filter_map(|(path, text)| Some((path.strip_prefix(root)?, &**text)));
        let read = Crate::read(inside);
        for circle in read.circles() {
            let names: Vec<String> = circle.iter().map(|place| place.join("::")).collect();
            violations.push(format!("{root}: these name each other: {}", names.join(", ")));
        }
    }
    violations
}

#[test]
fn import_cycle_is_reported() {
    let find = |files: &[(&str, &str)]| {
        let files: Vec<(String, String)> = files
            .iter()
            .map(|(path, text)| (format!("server/src/{path}"), (*text).to_owned()))
            .collect();
        circles(&files)
    };
    let expected = |names: &str| vec![format!("server/src/: these name each other: {names}")];
    let (a, b) = (("a.rs", "use crate::b::{self, B};\nstruct A;"), "struct B;");
    assert_eq!(find(&[a, ("b.rs", b)]), [""; 0]);
    assert_eq!(find(&[a, ("b.rs", "fn f() { crate::a::A }\nstruct B;")]), expected("a, b"));
    assert_eq!(find(&[a, ("b.rs", "use super::a::A;\nstruct B;")]), expected("a, b"));
    assert_eq!(find(&[a, ("b.rs", "use super::a;\nstruct B(a::A);")]), expected("a, b"));
    assert_eq!(find(&[a, ("b.rs", "// crate::a::A\nstruct B;")]), [""; 0]);
    let tested = "struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n";
    assert_eq!(find(&[a, ("b.rs", tested)]), [""; 0]);
    // Through a third file.
    let third =
        [a, ("b.rs", "use crate::c::C;\nstruct B;"), ("c.rs", "use crate::a::A;\nstruct C;")];
    assert_eq!(find(&third), expected("a, b, c"));
    // A parent that re-exports its children doesn't depend on them; one that uses them does.
    let child = ("a/c.rs", "use super::A;\nstruct C;");
    assert_eq!(find(&[("a.rs", "mod c;\npub use self::c::C;\nstruct A;"), child]), [""; 0]);
    assert_eq!(find(&[("a.rs", "mod c;\nstruct A(c::C);"), child]), expected("a, a::c"));
    // An import through a parent is an import from the sibling.
    let mods = ("a/mod.rs", "mod c;\nmod d;\npub use self::{c::C, d::D};");
    let c = ("a/c.rs", "use super::D;\nstruct C;");
    assert_eq!(find(&[mods, c, ("a/d.rs", "struct D;")]), [""; 0]);
    assert_eq!(find(&[mods, c, ("a/d.rs", "use crate::a::C;\nstruct D;")]), expected("a::c, a::d"));
}
