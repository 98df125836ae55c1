//! The file of a revision that `migrate new` has written, read as data, so that it runs without
//! being compiled: see `revisions.rs`.

use serde_json::{Value, json};

/// A call in the file: what is called, with what, and what is called on it.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: Vec<Argument>,
    methods: Vec<Call>,
}

#[derive(Debug)]
enum Argument {
    Text(String),
    Call(Call),
    /// `Engine::Sqlite`.
    Word(String),
}

/// The revision of a file, in the form of `revisions.rs`.
///
/// # Panics
/// If the file isn't one that `new` writes.
pub fn written(text: &str) -> Value {
    let (_, body) = text.split_once("pub(super) fn revision()").expect("a revision");
    let (_, body) = body.split_once('{').expect("a body");
    let mut reader = Reader { rest: body };
    let revision = reader.call().expect("Revision::new");
    let text = |call: &Call, at: usize| match call.arguments.get(at) {
        Some(Argument::Text(text)) => text.clone(),
        other => panic!("{}: {other:?} is no text", call.name),
    };
    let method = |name: &str| revision.methods.iter().find(|method| method.name == name);
    let steps = |way: &str| -> Vec<Value> {
        let list = method(way).expect("a direction");
        let calls = list.arguments.iter().map(|step| match step {
            Argument::Call(call) => step_of(call),
            other => panic!("{other:?} is no step"),
        });
        calls.collect()
    };
    json!({
        "name": text(&revision, 0),
        "message": text(&revision, 1),
        "up": steps("up"),
        "down": steps("down"),
    })
}

fn step_of(call: &Call) -> Value {
    let text = |call: &Call, at: usize| match &call.arguments[at] {
        Argument::Text(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    };
    let inner = || match &call.arguments[0] {
        Argument::Call(inner) => inner,
        other => panic!("{other:?} is no call"),
    };
    let mut step = match call.name.as_str() {
        "postgres" => json!({"postgres": text(call, 0)}),
        "sqlite" => json!({"sqlite": text(call, 0)}),
        "rebuild" => {
            let change = |method: &Call| -> Vec<String> {
                let own = (0..method.arguments.len()).map(|at| text(method, at));
                [method.name.clone()].into_iter().chain(own).collect()
            };
            let changes: Vec<Vec<String>> = inner().methods.iter().map(change).collect();
            json!({"rebuild": {"table": text(inner(), 0), "changes": changes}})
        }
        "backfill" => {
            let method = |name: &str| {
                let found = inner().methods.iter().find(|method| method.name == name);
                text(found.expect("a part of the backfill"), 0)
            };
            json!({"backfill": {
                "table": text(inner(), 0), "set": method("set"), "only": method("only"),
            }})
        }
        other => panic!("{other} is no step"),
    };
    for method in &call.methods {
        match method.name.as_str() {
            "outside_transaction" => step["outside"] = true.into(),
            "on" => {
                let Argument::Word(engine) = &method.arguments[0] else { panic!("an engine") };
                step["on"] = engine.trim_start_matches("Engine::").to_lowercase().into();
            }
            other => panic!("{other} is nothing of a step"),
        }
    }
    step
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Skips blanks and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix("//") {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return,
            }
        }
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<String> {
        self.skip();
        let is_part = |character: char| character.is_alphanumeric() || "_:".contains(character);
        let end = self.rest.find(|character| !is_part(character)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// A text: `"…"` or `r#"…"#`.
    fn text(&mut self) -> Option<String> {
        self.skip();
        if let Some(raw) = self.rest.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            let inside = raw[hashes..].strip_prefix('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            let (text, rest) = inside.split_once(&end)?;
            self.rest = rest;
            return Some(text.to_owned());
        }
        let inside = self.rest.strip_prefix('"')?;
        let mut end = 0;
        while !inside[end..].starts_with('"') {
            end += if inside[end..].starts_with('\\') { 2 } else { 1 };
        }
        self.rest = &inside[end + 1..];
        Some(inside[..end].replace("\\\"", "\"").replace("\\\\", "\\"))
    }

    fn argument(&mut self) -> Argument {
        if let Some(text) = self.text() {
            return Argument::Text(text);
        }
        let before = self.rest;
        if let Some(call) = self.call() {
            return Argument::Call(call);
        }
        self.rest = before;
        Argument::Word(self.word().expect("an argument"))
    }

    fn call(&mut self) -> Option<Call> {
        let name = self.word()?;
        if !self.eat('(') {
            return None;
        }
        let is_list = self.eat('[');
        let end = if is_list { ']' } else { ')' };
        let mut arguments = Vec::new();
        while !self.eat(end) {
            arguments.push(self.argument());
            self.eat(',');
        }
        if is_list {
            assert!(self.eat(')'), "a list in brackets: {}", self.rest);
        }
        let mut methods = Vec::new();
        while self.eat('.') {
            let mut method = self.call()?;
            let after = std::mem::take(&mut method.methods);
            methods.push(method);
            methods.extend(after);
        }
        Some(Call { name, arguments, methods })
    }
}

#[test]
fn a_written_revision_is_read() {
    let file = r###"
pub(super) fn revision() -> Revision {
    Revision::new("m1_a", "say \"a\"")
        .after("m0")
        .up([
            // Data loss: a.
            postgres(r#"DROP INDEX CONCURRENTLY "i""#).outside_transaction(),
            rebuild(Rebuild::of("t").define(r#"CREATE TABLE "t" (a)"#).copy("a", r"1")),
            backfill(Backfill::of("t").set(r#""a" = 1"#).only(r#""a" IS NULL"#)).on(Engine::Postgres).outside_transaction(),
        ])
        .down([
        ])
}
"###;
    let expected = json!({
        "name": "m1_a", "message": "say \"a\"",
        "up": [
            {"postgres": "DROP INDEX CONCURRENTLY \"i\"", "outside": true},
            {"rebuild": {"table": "t", "changes": [["define", "CREATE TABLE \"t\" (a)"], ["copy", "a", "1"]]}},
            {"backfill": {"table": "t", "set": "\"a\" = 1", "only": "\"a\" IS NULL"}, "on": "postgres", "outside": true},
        ],
        "down": [],
    });
    assert_eq!(written(file), expected);
}
