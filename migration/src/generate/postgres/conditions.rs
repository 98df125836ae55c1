//! Conditions on what is there, for steps that also run where their work is done.

use super::text::{literal, quoted, signature};
use crate::catalog::ObjectKey;

/// A block that does something unless a condition holds.
pub(super) fn unless(condition: &str, body: &str) -> String {
    format!("DO $do$ BEGIN IF NOT ({condition}) THEN\n{body};\nEND IF; END $do$")
}

/// Whether a column is computed by an expression, as a condition.
pub(super) fn computes(key: &ObjectKey, expression: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
         WHERE d.adrelid = to_regclass({}) AND a.attname = {} AND a.attgenerated <> '' \
         AND pg_get_expr(d.adbin, d.adrelid) = {})",
        literal(&quoted(&key.table)),
        literal(&key.name),
        literal(expression)
    )
}

/// Whether an object is there, as a condition.
pub(super) fn exists(key: &ObjectKey) -> String {
    let (name, table) = (literal(&key.name), literal(&quoted(&key.table)));
    match key.kind.as_str() {
        "table" | "index" | "view" => {
            format!("to_regclass({}) IS NOT NULL", literal(&quoted(&key.name)))
        }
        "column" => format!(
            "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass({table}) AND attname = {name})"
        ),
        "trigger" => format!(
            "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass({table}) AND tgname = {name})"
        ),
        "function" => format!("to_regprocedure({}) IS NOT NULL", literal(&signature(&key.name))),
        _ => format!(
            "EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass({table}) AND conname = {name})"
        ),
    }
}
