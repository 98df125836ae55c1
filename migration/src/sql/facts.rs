//! The effects of a statement that concern the runner.

use super::lexer::{StatementToken, split, tokens};
use crate::revision::Engine;

/// What a text drops from a schema, with its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DroppedObject {
    /// `DROP TABLE`.
    Table(String),
    /// `ALTER TABLE … DROP COLUMN`.
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

/// An index that `CREATE INDEX CONCURRENTLY` builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrentIndex {
    /// The index.
    pub name: String,
    /// The table that it is on.
    pub table: String,
}

/// Reads words from the left.
struct Reader<'a> {
    tokens: &'a [StatementToken<'a>],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, word: &str) -> bool {
        let fits = self.tokens.get(self.at).is_some_and(|token| token.is_word(word));
        self.at += usize::from(fits);
        fits
    }

    fn take_all(&mut self, words: &[&str]) -> bool {
        let from = self.at;
        let fits = words.iter().all(|word| self.take(word));
        if !fits {
            self.at = from;
        }
        fits
    }

    /// A name, without the schema before it.
    fn name(&mut self) -> Option<String> {
        let mut name = self.tokens.get(self.at)?.name()?;
        self.at += 1;
        while self.tokens.get(self.at).is_some_and(|token| token.is_symbol(".")) {
            name = self.tokens.get(self.at + 1)?.name()?;
            self.at += 2;
        }
        Some(name)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let fits = self.tokens.get(self.at).is_some_and(|token| token.is_symbol(symbol));
        self.at += usize::from(fits);
        fits
    }
}

/// The tables and columns that a text drops.
pub fn losses(text: &str, engine: Engine) -> Vec<DroppedObject> {
    let mut losses = Vec::new();
    for statement in split(text, engine) {
        let tokens = tokens(statement, engine);
        let mut reader = Reader { tokens: &tokens, at: 0 };
        if reader.take_all(&["drop", "table"]) {
            reader.take_all(&["if", "exists"]);
            while let Some(table) = reader.name() {
                losses.push(DroppedObject::Table(table));
                if !reader.skip(",") {
                    break;
                }
            }
        } else if reader.take_all(&["alter", "table"]) {
            reader.take_all(&["if", "exists"]);
            reader.take("only");
            let Some(table) = reader.name() else { continue };
            losses.extend(dropped_columns(&table, &tokens[reader.at..]));
        }
    }
    losses
}

/// `DROP [COLUMN] [IF EXISTS] name`, among the actions of an `ALTER TABLE`.
fn dropped_columns(table: &str, actions: &[StatementToken<'_>]) -> Vec<DroppedObject> {
    let mut losses = Vec::new();
    let mut depth = 0_usize;
    let mut begins = true;
    for at in 0..actions.len() {
        let token = &actions[at];
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        } else if begins && token.is_word("drop") {
            let mut reader = Reader { tokens: actions, at: at + 1 };
            let constraint = reader.take("constraint");
            reader.take("column");
            reader.take_all(&["if", "exists"]);
            if let (false, Some(column)) = (constraint, reader.name()) {
                losses.push(DroppedObject::Column { table: table.to_owned(), column });
            }
        }
        begins = depth == 0 && token.is_symbol(",");
    }
    losses
}

/// Whether a text has a statement that waits for other transactions without locking them out,
/// and that no `lock_timeout` may end, since it leaves something half done.
pub fn is_concurrent(text: &str, engine: Engine) -> bool {
    engine == Engine::Postgres
        && tokens(text, engine).iter().any(|token| token.is_word("concurrently"))
}

/// The index of a `CREATE [UNIQUE] INDEX CONCURRENTLY`.
pub fn concurrent_index(text: &str, engine: Engine) -> Option<ConcurrentIndex> {
    let tokens = tokens(text, engine);
    let mut reader = Reader { tokens: &tokens, at: 0 };
    if !reader.take("create") {
        return None;
    }
    reader.take("unique");
    if !reader.take_all(&["index", "concurrently"]) {
        return None;
    }
    reader.take_all(&["if", "not", "exists"]);
    let name = reader.name()?;
    if !reader.take("on") {
        return None;
    }
    reader.take("only");
    Some(ConcurrentIndex { name, table: reader.name()? })
}

/// The index of a `DROP INDEX CONCURRENTLY`.
pub fn concurrently_dropped(text: &str, engine: Engine) -> Option<String> {
    let tokens = tokens(text, engine);
    let mut reader = Reader { tokens: &tokens, at: 0 };
    if !reader.take_all(&["drop", "index", "concurrently"]) {
        return None;
    }
    reader.take_all(&["if", "exists"]);
    reader.name()
}

/// The text without CONCURRENTLY, which no transaction takes.
pub fn without_concurrently(text: &str, engine: Engine) -> String {
    let mut rest = text.to_owned();
    let ranges: Vec<_> = tokens(text, engine)
        .into_iter()
        .filter(|token| token.is_word("concurrently"))
        .map(|token| token.range)
        .collect();
    for range in ranges.into_iter().rev() {
        rest.replace_range(range, "");
    }
    rest
}

/// A statement that controls a transaction, if there is one: only the runner may send those.
pub fn transaction_control(text: &str, engine: Engine) -> Option<&str> {
    const WORDS: [&str; 6] = ["begin", "commit", "rollback", "end", "savepoint", "abort"];
    split(text, engine).into_iter().find(|statement| {
        let tokens = tokens(statement, engine);
        let starts =
            tokens.first().is_some_and(|first| WORDS.iter().any(|word| first.is_word(word)));
        starts
            || tokens.first().is_some_and(|first| first.is_word("start"))
                && tokens.get(1).is_some_and(|second| second.is_word("transaction"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_tables_and_columns_are_found() {
        let text = r#"
            DROP TABLE IF EXISTS "a", public.b; -- DROP TABLE c
            ALTER TABLE "d" ADD COLUMN "e" text, DROP COLUMN IF EXISTS "f", DROP CONSTRAINT "g",
                DROP h, ALTER COLUMN "i" DROP NOT NULL;
            SELECT 'DROP TABLE k';
        "#;
        let column =
            |column: &str| DroppedObject::Column { table: "d".into(), column: column.into() };
        let expected = vec![
            DroppedObject::Table("a".into()),
            DroppedObject::Table("b".into()),
            column("f"),
            column("h"),
        ];
        assert_eq!(losses(text, Engine::Postgres), expected);
    }

    #[test]
    fn concurrent_statements_are_read() {
        let text = r#"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "a" ON ONLY "s"."t" ("b")"#;
        let expected = ConcurrentIndex { name: "a".into(), table: "t".into() };
        assert_eq!(concurrent_index(text, Engine::Postgres), Some(expected));
        assert_eq!(concurrent_index("CREATE INDEX a ON t (b)", Engine::Postgres), None);
        let drop = "DROP INDEX CONCURRENTLY IF EXISTS a";
        assert_eq!(concurrently_dropped(drop, Engine::Postgres), Some("a".into()));
        assert!(is_concurrent(drop, Engine::Postgres));
        assert!(!is_concurrent("SELECT 'CONCURRENTLY'", Engine::Postgres));
        let without = without_concurrently("DROP INDEX CONCURRENTLY a", Engine::Postgres);
        assert_eq!(without, "DROP INDEX  a");
    }

    #[test]
    fn statements_of_transactions_are_found() {
        assert_eq!(transaction_control("SELECT 1; COMMIT", Engine::Sqlite), Some("COMMIT"));
        let trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END";
        assert_eq!(transaction_control(trigger, Engine::Sqlite), None);
    }
}
