//! The cases of `tests/fixtures/drift`: how a database comes to differ from the migrations, and how
//! it doesn't though it is written otherwise. Each is made on a database at head.

use sqlx::{Connection as _, Row as _};

use crate::{Database, Engine};

/// A way in which a database was changed.
#[derive(Clone, Debug)]
pub struct Drift {
    /// Where it stands in the file, from 0.
    pub number: usize,
    /// What a check says: `error column.type`, `note table.order`, or `equal` and a word.
    pub verdict: &'static str,
    /// How many findings are errors.
    pub errors: usize,
    /// Words that the findings name.
    pub names: Vec<&'static str>,
    /// The SQL that changes it.
    pub sql: &'static str,
}

/// The cases of an engine.
///
/// # Panics
/// If their file isn't understood.
pub fn drifts(engine: Engine) -> Vec<Drift> {
    let text = match engine {
        Engine::Postgres => include_str!("../fixtures/drift/postgres.sql"),
        Engine::Sqlite => include_str!("../fixtures/drift/sqlite.sql"),
    };
    let case = |(number, part): (usize, &'static str)| {
        let (head, sql) = part.split_once('\n').expect("a line and its SQL");
        let (verdict, names) = head.split_once(": ").expect("a verdict and names");
        let (verdict, count) = match verdict.rsplit_once(' ') {
            Some((verdict, count)) if count.parse::<usize>().is_ok() => (verdict, count),
            _ => (verdict, "1"),
        };
        let is_error = verdict.starts_with("error ");
        let errors = if is_error { count.parse().expect("a number") } else { 0 };
        Drift { number, verdict, errors, names: names.split([' ', '.']).collect(), sql }
    };
    text.split("\n-- case: ").skip(1).enumerate().map(case).collect()
}

impl Drift {
    /// Whether the database is said to be as the migrations make it.
    pub fn is_equal(&self) -> bool {
        self.verdict.starts_with("equal ") || self.verdict == "equal"
    }

    /// Changes a database so.
    ///
    /// # Panics
    /// If the database refuses it.
    pub async fn make(&self, database: &Database) {
        for edit in self.sql.lines().filter_map(|line| line.strip_prefix("-- edit ")) {
            make_anew(database, edit).await;
        }
        database.sql(self.sql).await;
    }
}

/// Makes a table of SQLite anew with an edited definition: `TABLE: OLD => NEW; OLD => NEW`. Blanks
/// say nothing in OLD.
async fn make_anew(database: &Database, edit: &str) {
    let (table, changes) = edit.split_once(": ").expect("a table and changes");
    let Database::Sqlite(file) = database else { panic!("edits are for SQLite") };
    let mut connection = file.connect().await;
    let sql = "SELECT type, sql FROM sqlite_schema WHERE tbl_name = $1 AND sql IS NOT NULL";
    let rows = sqlx::query(sql).bind(table).fetch_all(&mut connection).await.expect("the texts");
    let texts = rows.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1)));
    let (own, companions): (Vec<_>, Vec<_>) = texts.partition(|(kind, _)| kind == "table");
    let mut text = own.into_iter().next().expect("the table").1;
    text = text.split_whitespace().collect::<Vec<_>>().join(" ");
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
