//! The manifest of a backup: what the backup is of, so that it can be listed, checked and refused
//! without reading its content.

use std::fmt::Display;

use serde_json::{Value, json};

use crate::command::failure::Failure;

/// The version of the file's format.
const FORMAT: u64 = 1;

/// The row count and the checksum of a table at the time of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableSum {
    /// The table; with its schema on PostgreSQL.
    pub(super) name: String,
    /// The number of its rows.
    pub(super) rows: u64,
    /// The sum of the rows' hashes, as a decimal number. The order of the rows does not matter.
    pub(super) checksum: String,
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The version of the program that made it.
    pub(super) program: String,
    /// When it began, in seconds since 1970. What was committed before then is in it.
    pub(super) created_at: i64,
    /// `postgres` or `sqlite`.
    pub(super) engine: String,
    /// The version of the server, such as `15.14`, or of SQLite's library.
    pub(super) engine_version: String,
    /// The major version of `pg_dump`; 0 on SQLite.
    pub(super) tools: u32,
    /// The name of the database or of SQLite's file.
    pub(super) database: String,
    /// The timeline and the position in the write-ahead log (PostgreSQL, 9.27.3): `1/0/16B3748`. It
    /// was read just before the snapshot. Empty on SQLite.
    pub(super) position: String,
    /// The revisions that were applied, in the order of their names.
    pub(super) revisions: Vec<String>,
    /// Whether the content is encrypted. The manifest is not.
    pub(super) is_encrypted: bool,
    /// The tables, by name.
    pub(super) tables: Vec<TableSum>,
}

impl Manifest {
    /// The newest revision that was applied.
    pub(super) fn head(&self) -> &str {
        self.revisions.last().map_or("none", String::as_str)
    }

    /// The number of all rows.
    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// One line of JSON.
    pub(super) fn to_line(&self) -> String {
        let tables: Vec<Value> = self
            .tables
            .iter()
            .map(
                |table| json!({"name": table.name, "rows": table.rows, "checksum": table.checksum}),
            )
            .collect();
        json!({
            "format": FORMAT,
            "program": self.program,
            "created_at": self.created_at,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "tools": self.tools,
            "database": self.database,
            "position": self.position,
            "revisions": self.revisions,
            "compression": "zstd",
            "encrypted": self.is_encrypted,
            "tables": tables,
        })
        .to_string()
    }

    /// Reads the line again.
    ///
    /// # Errors
    /// If it is no manifest, or one of a format that this program does not know.
    pub(super) fn parse(line: &str) -> Result<Self, Failure> {
        let value: Value = serde_json::from_str(line).map_err(|error| broken(&error))?;
        let format = value["format"].as_u64().ok_or_else(|| broken(&"no format"))?;
        if format != FORMAT {
            return Err(format!(
                "it has the format {format} and this program knows {FORMAT}: use the program that \
                 made it ({})",
                value["program"].as_str().unwrap_or("unknown")
            )
            .into());
        }
        let text = |value: &Value, name: &str| match value[name].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(broken(&format!("no text {name}"))),
        };
        let list = |name: &str| match value[name].as_array() {
            Some(list) => Ok(list),
            None => Err(broken(&format!("no list {name}"))),
        };
        let mut tables = Vec::new();
        for table in list("tables")? {
            tables.push(TableSum {
                name: text(table, "name")?,
                rows: table["rows"].as_u64().ok_or_else(|| broken(&"no rows"))?,
                checksum: text(table, "checksum")?,
            });
        }
        let revisions = list("revisions")?.iter().map(|name| name.as_str().map(str::to_owned));
        let revisions = revisions.collect::<Option<_>>();
        Ok(Self {
            program: text(&value, "program")?,
            created_at: value["created_at"].as_i64().ok_or_else(|| broken(&"no created_at"))?,
            engine: text(&value, "engine")?,
            engine_version: text(&value, "engine_version")?,
            tools: value["tools"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
            database: text(&value, "database")?,
            position: text(&value, "position")?,
            revisions: revisions.ok_or_else(|| broken(&"a revision that is no text"))?,
            is_encrypted: value["encrypted"].as_bool().ok_or_else(|| broken(&"no encrypted"))?,
            tables,
        })
    }
}

/// The sentence for a manifest that can't be read.
fn broken(problem: &dyn Display) -> Failure {
    format!("its manifest can't be read ({problem}): use another backup").into()
}

/// The differences between the tables of a backup and those of a database, one line each.
///
/// # Errors
/// If there is one.
pub(super) fn compare(backup: &[TableSum], database: &[TableSum]) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for expected in backup {
        match database.iter().find(|table| table.name == expected.name) {
            None => lines.push(format!("the table {} is missing", expected.name)),
            Some(found) if found.rows != expected.rows => lines.push(format!(
                "{} has {} rows and the backup {}",
                expected.name, found.rows, expected.rows
            )),
            Some(found) if found.checksum != expected.checksum => lines.push(format!(
                "{} has {} rows as the backup, and other values",
                expected.name, found.rows
            )),
            Some(_) => {}
        }
    }
    let is_new = |table: &&TableSum| backup.iter().all(|known| known.name != table.name);
    let unknown = database.iter().filter(is_new);
    lines.extend(unknown.map(|table| format!("the table {} is not in the backup", table.name)));
    if lines.is_empty() {
        return Ok(());
    }
    Err(format!("the restored tables differ from the backup's manifest: {}", lines.join("; "))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(name: &str, rows: u64, checksum: &str) -> TableSum {
        TableSum { name: name.to_owned(), rows, checksum: checksum.to_owned() }
    }

    fn manifest() -> Manifest {
        Manifest {
            program: "0.1.0".to_owned(),
            created_at: 1_700_000_000,
            engine: "postgres".to_owned(),
            engine_version: "15.14".to_owned(),
            tools: 15,
            database: "bookstore".to_owned(),
            position: "1/0/16B3748".to_owned(),
            revisions: vec!["m1".to_owned(), "m2".to_owned()],
            is_encrypted: true,
            tables: vec![sum("public.books", 3, "12345678901234567890123")],
        }
    }

    #[test]
    fn manifest_reads_back_what_it_wrote() {
        assert_eq!(Manifest::parse(&manifest().to_line()).expect("a manifest"), manifest());
        assert_eq!(manifest().head(), "m2");
    }

    #[test]
    fn manifest_of_another_format_is_refused() {
        let line = manifest().to_line().replace("\"format\":1", "\"format\":2");
        let error = Manifest::parse(&line).expect_err("another format").to_string();
        assert!(error.contains("has the format 2"), "{error}");
        assert!(Manifest::parse("{}").is_err());
    }

    #[test]
    fn each_difference_of_tables_is_named() {
        let backup = [sum("a", 1, "5"), sum("b", 2, "6"), sum("c", 3, "7")];
        assert!(compare(&backup, &backup).is_ok());
        let database = [sum("a", 2, "5"), sum("b", 2, "9"), sum("d", 0, "0")];
        let error = compare(&backup, &database).expect_err("differences").to_string();
        for part in [
            "a has 2 rows and the backup 1",
            "b has 2 rows as the backup, and other values",
            "the table c is missing",
            "the table d is not in the backup",
        ] {
            assert!(error.contains(part), "{error}: {part}");
        }
    }
}
