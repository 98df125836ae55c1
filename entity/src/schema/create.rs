//! A declared table as SQL.

use super::{Column, ForeignKey, Index, On, Table};

impl Column {
    /// Whether the engine has it.
    pub fn is_on(&self, on: On) -> bool {
        self.on.is_none_or(|only| only == on)
    }

    /// `"title" {text} NOT NULL`.
    pub fn definition(&self) -> String {
        let mut text = format!("\"{}\" {}", self.name, self.type_name);
        if let Some(expression) = &self.generated {
            text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
        }
        if !self.nullable {
            text.push_str(" NOT NULL");
        }
        if let Some(default) = &self.default {
            text.push_str(&format!(" DEFAULT {default}"));
        }
        text
    }
}

impl ForeignKey {
    /// `FOREIGN KEY ("author_id") REFERENCES "users" ("id") ON DELETE RESTRICT`.
    pub fn definition(&self) -> String {
        let Self { column, references, referenced, on_delete } = self;
        let mut text =
            format!("FOREIGN KEY (\"{column}\") REFERENCES \"{references}\" (\"{referenced}\")");
        if let Some(action) = on_delete {
            text.push_str(&format!(" ON DELETE {action}"));
        }
        text
    }
}

impl Index {
    /// `CREATE INDEX "posts_title_id_idx" ON "posts" ("title", "id")`.
    pub fn create(&self, table: &str) -> String {
        let unique = if self.unique { "UNIQUE " } else { "" };
        format!("CREATE {unique}INDEX \"{}\" ON \"{table}\" {}", self.name, self.body)
    }
}

impl Table {
    /// `CREATE TABLE` and its indexes, as one engine has them.
    pub fn create(&self, on: On) -> String {
        let quoted = |columns: &[String]| {
            let columns: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
            columns.join(", ")
        };
        let name = &self.name;
        let columns = self.columns.iter().filter(|column| column.is_on(on));
        let mut parts: Vec<String> = columns.map(Column::definition).collect();
        let key = quoted(&self.primary_key);
        parts.push(format!("CONSTRAINT \"{name}_pkey\" PRIMARY KEY ({key})"));
        for columns in &self.uniques {
            let key = format!("{name}_{}_key", columns.join("_"));
            parts.push(format!("CONSTRAINT \"{key}\" UNIQUE ({})", quoted(columns)));
        }
        for key in &self.foreign_keys {
            let constraint = format!("{name}_{}_fkey", key.column);
            parts.push(format!("CONSTRAINT \"{constraint}\" {}", key.definition()));
        }
        for (check, expression) in &self.checks {
            parts.push(format!("CONSTRAINT \"{check}\" CHECK ({expression})"));
        }
        let mut text = format!("CREATE TABLE \"{name}\" (\n    {}\n)", parts.join(",\n    "));
        let indexes = self.indexes.iter();
        for index in indexes.filter(|index| index.on.is_none_or(|only| only == on)) {
            text.push_str(";\n");
            text.push_str(&index.create(name));
        }
        text
    }
}
