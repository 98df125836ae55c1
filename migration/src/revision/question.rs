//! A check of the rows before a step takes a lock.

/// A condition that the rows must meet for a step. It is checked before the transaction begins. If
/// rows break it, the migration fails with their number and three of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What has to hold: `no NULL in books.isbn`.
    pub claim: String,
    /// A SELECT of one number: how many rows break it.
    pub count: String,
    /// A SELECT of such rows; the first three are shown.
    pub examples: String,
}

impl Question {
    /// No row has NULL in the column.
    pub fn no_nulls(table: &str, column: &str) -> Self {
        // With the table's name, since SQLite takes an unknown quoted column for a text.
        let rows = format!(r#"FROM "{table}" WHERE "{table}"."{column}" IS NULL"#);
        Self {
            claim: format!("no NULL in {table}.{column}"),
            count: format!("SELECT count(*) {rows}"),
            examples: format!("SELECT * {rows}"),
        }
    }

    /// No two rows have the same values in the columns. NULLs are never the same.
    pub fn no_duplicates(table: &str, columns: &[&str]) -> Self {
        let quoted = columns.iter().map(|column| format!(r#""{table}"."{column}""#));
        let quoted: Vec<String> = quoted.collect();
        let set: Vec<String> =
            quoted.iter().map(|column| format!("{column} IS NOT NULL")).collect();
        let (list, set) = (quoted.join(", "), set.join(" AND "));
        let groups = format!(
            r#"SELECT {list}, count(*) AS "rows" FROM "{table}" WHERE {set} GROUP BY {list} HAVING count(*) > 1"#
        );
        Self {
            claim: format!("no duplicate {table}.{}", columns.join(", ")),
            count: format!(
                r#"SELECT CAST(coalesce(sum("rows"), 0) AS bigint) FROM ({groups}) AS "duplicates""#
            ),
            examples: format!(r#"{groups} ORDER BY "rows" DESC, {list}"#),
        }
    }

    /// A SELECT finds nothing.
    pub fn no_rows(claim: &str, select: &str) -> Self {
        Self {
            claim: claim.to_owned(),
            count: format!(r#"SELECT count(*) FROM ({select}) AS "rows""#),
            examples: select.to_owned(),
        }
    }
}
