//! The cases of `tests/fixtures/drift`: each is applied to a separate database at head.

use bookstore_tests::{Database, Engine, on_every_engine};
use futures_util::{StreamExt, stream};
use sqlx::{Connection as _, Row as _};

use super::{findings, migrated};

on_every_engine!(every_drift_case_gives_its_expected_findings);

/// The number of concurrent databases.
const AT_ONCE: usize = 4;

struct Case {
    /// `error column.type`, or `equal` and a word.
    verdict: &'static str,
    /// Texts that the findings contain.
    names: Vec<&'static str>,
    sql: &'static str,
}

fn cases(engine: Engine) -> Vec<Case> {
    let text = match engine {
        Engine::Postgres => include_str!("../../fixtures/drift/postgres.sql"),
        Engine::Sqlite => include_str!("../../fixtures/drift/sqlite.sql"),
    };
    let case = |part: &'static str| {
        let (head, sql) = part.split_once('\n').expect("a line and its SQL");
        let (verdict, names) = head.split_once(": ").expect("a verdict and names");
        Case { verdict, names: names.split([' ', '.']).collect(), sql }
    };
    text.split("\n-- case: ").skip(1).map(case).collect()
}

async fn every_drift_case_gives_its_expected_findings(engine: Engine) {
    let cases = cases(engine);
    assert!(cases.len() > 40, "{} cases", cases.len());
    let wrong: Vec<String> = stream::iter(cases)
        .map(|case| async move { judge(engine, &case).await })
        .buffer_unordered(AT_ONCE)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The problem with the output of `check`; `None` if it is right.
async fn judge(engine: Engine, case: &Case) -> Option<String> {
    let database = migrated(engine).await;
    for edit in case.sql.lines().filter_map(|line| line.strip_prefix("-- edit ")) {
        rebuild(&database, edit).await;
    }
    database.sql(case.sql).await;
    let (code, list) = findings(&database.owner_url(), &[]).await;
    let shown = format!("{}: {code:?} {list:#?}", case.verdict);
    let Some((level, kind)) = case.verdict.split_once(' ') else { return Some(shown) };
    if level == "equal" {
        return (code != Some(0) || !list.is_empty()).then_some(shown);
    }
    let expected = if level == "error" { Some(1) } else { Some(0) };
    let text = format!("{list:?}");
    let right = code == expected
        && list.first().is_some_and(|first| first["kind"] == kind && first["level"] == level)
        && case.names.iter().all(|name| text.contains(name));
    (!right).then_some(shown)
}

/// Rebuilds a table of SQLite with an edited definition: `TABLE: OLD => NEW; OLD => NEW`.
async fn rebuild(database: &Database, edit: &str) {
    let (table, changes) = edit.split_once(": ").expect("a table and changes");
    let Database::Sqlite(file) = database else { panic!("edits are for SQLite") };
    let mut connection = file.connect().await;
    let sql = "SELECT type, sql FROM sqlite_schema WHERE tbl_name = $1 AND sql IS NOT NULL";
    let rows = sqlx::query(sql).bind(table).fetch_all(&mut connection).await.expect("the texts");
    let texts = rows.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1)));
    let (own, companions): (Vec<_>, Vec<_>) = texts.partition(|(kind, _)| kind == "table");
    let mut text = own.into_iter().next().expect("the table").1;
    for change in changes.split("; ") {
        let (old, new) = change.split_once(" =>").expect("a change");
        let new = new.trim_start_matches(' ').replace("{newline}", "\n");
        if old == "{end}" {
            text.truncate(text.rfind(')').expect("an end"));
            text.push_str(&new);
        } else {
            assert!(text.contains(old), "{old} isn't in {text}");
            text = text.replacen(old, &new, 1);
        }
    }
    let text = text.replacen(&format!("\"{table}\""), "\"edited\"", 1);
    let mut script = vec![
        "PRAGMA foreign_keys = OFF".to_owned(),
        "PRAGMA legacy_alter_table = ON".to_owned(),
        text,
        format!("DROP TABLE \"{table}\""),
        format!("ALTER TABLE \"edited\" RENAME TO \"{table}\""),
    ];
    script.extend(companions.into_iter().map(|(_, sql)| sql));
    for statement in script {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut connection);
        done.await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.close().await.expect("an end");
}
