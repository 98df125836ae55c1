//! Revisions from a file instead of the released ones. Tests use them to stand in for older and
//! newer programs, and for revisions that are killed halfway.

use bookstore_migration::{
    revision::{
        Backfill, Engine, Question, Rebuild, Revision, Step, backfill, code, postgres, rebuild,
        sql, sqlite,
    },
    revisions::revisions,
};
use serde_json::Value;

/// The environment variable that names the file, for the program under test.
pub const VARIABLE: &str = "BOOKSTORE_TEST_REVISIONS";

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word(value: &Value, at: usize) -> &str {
    value.get(at).and_then(Value::as_str).expect("a text in the list")
}

/// The names of the released revisions, oldest first.
pub fn known() -> Vec<String> {
    revisions().into_iter().map(|revision| revision.name).collect()
}

/// The released revisions as a file changes them: `hide` removes that many from the head,
/// `examples` adds those of the documents, `revisions` are appended.
///
/// # Panics
/// If the file is malformed.
pub fn played(path: &std::path::Path) -> Vec<Revision> {
    let file = std::fs::read_to_string(path).expect("the file of revisions");
    let file: Value = serde_json::from_str(&file).expect("JSON of revisions");
    let mut all = revisions();
    let hidden = file.get("hide").and_then(Value::as_u64).unwrap_or_default();
    all.truncate(all.len() - usize::try_from(hidden).expect("a small number"));
    if file.get("examples").is_some() {
        let mut examples = crate::examples::examples();
        examples[0].parent = all.last().map(|last| last.name.clone());
        all.extend(examples);
    }
    for given in list(&file, "revisions") {
        let name = text(given, "name").expect("a name");
        let parent = text(given, "parent").map(str::to_owned);
        let parent = parent.or_else(|| all.last().map(|last| last.name.clone()));
        let mut revision = Revision::new(name, text(given, "message").unwrap_or("a test's"));
        revision.parent = parent;
        revision.author = text(given, "author").map(str::to_owned);
        revision.minimum_head = text(given, "minimum_head").map(str::to_owned);
        revision.up = list(given, "up").iter().map(step).collect();
        revision.down = list(given, "down").iter().map(step).collect();
        all.push(revision);
    }
    all
}

fn step(given: &Value) -> Step {
    let mut step = if let Some(text) = text(given, "sql") {
        sql(text)
    } else if let Some(text) = text(given, "postgres") {
        postgres(text)
    } else if let Some(text) = text(given, "sqlite") {
        sqlite(text)
    } else if let Some(given) = given.get("backfill") {
        let mut fill = Backfill::of(text(given, "table").expect("a table"))
            .set(text(given, "set").expect("a list"))
            .only(text(given, "only").expect("a condition"));
        if let Some(rows) = given.get("batch").and_then(Value::as_u64) {
            fill = fill.batch(u32::try_from(rows).expect("a small number"));
        }
        if let Some(pause) = given.get("pause_ms").and_then(Value::as_u64) {
            fill = fill.pause(std::time::Duration::from_millis(pause));
        }
        backfill(fill)
    } else if let Some(given) = given.get("rebuild") {
        rebuild(table(given))
    } else if text(given, "code") == Some("panic") {
        code("panic", |_| Box::pin(async { panic!("a revision's panic") }))
    } else {
        assert_eq!(text(given, "code"), Some("count users"), "{given}");
        code("count users", |manager| {
            Box::pin(async move {
                manager
                    .execute(sea_orm::sea_query::Query::select().expr(1).from("users").to_owned())
                    .await
            })
        })
    };
    step.on = match text(given, "on") {
        Some("postgres") => Some(Engine::Postgres),
        Some("sqlite") => Some(Engine::Sqlite),
        _ => step.on,
    };
    step.in_transaction = given.get("outside").and_then(Value::as_bool) != Some(true);
    step.is_derived = given.get("derived").and_then(Value::as_bool) == Some(true);
    for question in list(given, "ask") {
        step.questions.push(match word(question, 0) {
            "no nulls" => Question::no_nulls(word(question, 1), word(question, 2)),
            "no duplicates" => Question::no_duplicates(word(question, 1), &[word(question, 2)]),
            _ => Question::no_rows(word(question, 1), word(question, 2)),
        });
    }
    step
}

fn table(given: &Value) -> Rebuild {
    let mut table = Rebuild::of(text(given, "table").expect("a table"));
    for change in list(given, "changes") {
        let given = |at: usize| word(change, at);
        table = match given(0) {
            "change column" => table.change_column(given(1), given(2)),
            "replace column" => table.replace_column(given(1), given(2)),
            "set not null" => table.set_not_null(given(1)),
            "drop not null" => table.drop_not_null(given(1)),
            "add column" => table.add_column(given(1), change.get(2).and_then(Value::as_str)),
            "drop column" => table.drop_column(given(1)),
            "add constraint" => table.add_constraint(given(1)),
            "drop constraint" => table.drop_constraint(given(1)),
            "define" => table.define(given(1)),
            "copy" => table.copy(given(1), given(2)),
            other => panic!("{other} is no change"),
        };
    }
    table
}
