//! What a table has that CREATE TABLE doesn't say.

use super::text::{comment, quoted};
use crate::catalog::{Catalog, ObjectKey};

/// The facets of a table that CREATE TABLE doesn't take.
pub(super) const PROPERTIES: &[&str] =
    &["row_security", "forced_row_security", "replica_identity", "rights_of_all"];

/// Sets a property of a table; without a value to what a new table has.
pub(super) fn property(
    catalog: &Catalog,
    key: &ObjectKey,
    facet: &str,
    value: Option<&str>,
) -> String {
    let table = quoted(&key.name);
    let alter = format!("ALTER TABLE {table}");
    let word = |set: &'static str, unset| if value.is_some() { set } else { unset };
    match facet {
        "persistence" => format!("{alter} SET {}", word("UNLOGGED", "LOGGED")),
        "row_security" => format!("{alter} {} ROW LEVEL SECURITY", word("ENABLE", "DISABLE")),
        "forced_row_security" => {
            format!("{alter} {} ROW LEVEL SECURITY", word("FORCE", "NO FORCE"))
        }
        "replica_identity" => format!("{alter} REPLICA IDENTITY {}", value.unwrap_or("DEFAULT")),
        "comment" => comment(catalog, key, value),
        "rights_of_all" => {
            let revoke = format!("REVOKE ALL ON {table} FROM PUBLIC");
            match value {
                Some(rights) => format!("{revoke};\nGRANT {rights} ON {table} TO PUBLIC"),
                None => revoke,
            }
        }
        "triggers_of_foreign_keys" => {
            format!("{alter} {} TRIGGER ALL", word("DISABLE", "ENABLE"))
        }
        // The proof finds that it still differs.
        _ => String::new(),
    }
}
