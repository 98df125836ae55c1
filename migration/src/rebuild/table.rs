//! The text of a CREATE TABLE as SQLite keeps it, and edits of it that keep the rest.

use std::ops::Range;

use crate::{
    revision::{Engine, TableChange},
    sql::{
        lexer::{StatementToken, tokens},
        quoted,
    },
};

/// A part between the commas: a column, or a constraint of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TableElement {
    range: Range<usize>,
    kind: ElementKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ElementKind {
    Column(String),
    Constraint(Option<String>),
}

/// Where a column of the new table gets its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// An expression over the old columns; none: its default.
    pub value: Option<String>,
}

/// A CREATE TABLE, as it is edited.
#[derive(Clone, Debug)]
pub(super) struct TableDefinition {
    text: String,
    items: Vec<TableElement>,
    columns: Vec<ColumnDefinition>,
}

/// What begins a constraint of a table; all else is a column.
const CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];

/// What begins a clause of a column behind its type.
const CLAUSES: [&str; 10] = [
    "constraint",
    "primary",
    "not",
    "unique",
    "check",
    "default",
    "collate",
    "references",
    "generated",
    "as",
];

/// Each token with how deep in parentheses it stands.
fn with_depth(text: &str) -> Vec<(usize, StatementToken<'_>)> {
    let mut depth = 0_usize;
    let mut at = |token: StatementToken<'_>| -> usize {
        if token.is_symbol("(") {
            depth += 1;
            return depth - 1;
        }
        if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        depth
    };
    tokens(text, Engine::Sqlite).into_iter().map(|token| (at(token.clone()), token)).collect()
}

/// Whether a column's values are computed, and can't be inserted.
fn is_generated(definition: &str) -> bool {
    let tokens = with_depth(definition);
    tokens
        .windows(2)
        .any(|pair| pair[0].0 == 0 && pair[0].1.is_word("as") && pair[1].1.is_symbol("("))
}

fn column_name(definition: &str) -> Result<String, String> {
    let first = tokens(definition, Engine::Sqlite).into_iter().next();
    first.and_then(|token| token.name()).ok_or_else(|| format!("no column: {definition}"))
}

impl TableDefinition {
    /// Reads a CREATE TABLE.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self { text: text.to_owned(), items: Vec::new(), columns: Vec::new() };
        table.items = table.read_items()?;
        for item in &table.items {
            if let ElementKind::Column(name) = &item.kind
                && !is_generated(&text[item.range.clone()])
            {
                let value = Some(quoted(name));
                table.columns.push(ColumnDefinition { name: name.clone(), value });
            }
        }
        Ok(table)
    }

    fn read_items(&self) -> Result<Vec<TableElement>, String> {
        let mut items = Vec::new();
        let mut current: Vec<StatementToken<'_>> = Vec::new();
        let mut opened = false;
        for (depth, token) in with_depth(&self.text) {
            if !opened {
                if token.is_word("virtual") {
                    return Err(
                        "it is a virtual table: drop it and create it again in the SQL of a \
                                revision (bookstore migrate new --empty)"
                            .to_owned(),
                    );
                }
                if token.is_word("select") {
                    return Err("it is no plain table".to_owned());
                }
                opened = depth == 0 && token.is_symbol("(");
                continue;
            }
            let ends = depth == 0 && token.is_symbol(")");
            if ends || depth == 1 && token.is_symbol(",") {
                items.push(item(&current)?);
                current.clear();
                if ends {
                    return Ok(items);
                }
                continue;
            }
            current.push(token);
        }
        Err("its text isn't understood".to_owned())
    }

    /// Replaces a range of the text, and reads it again.
    fn edit(&mut self, range: Range<usize>, with: &str) -> Result<(), String> {
        self.text.replace_range(range, with);
        self.items = self.read_items()?;
        Ok(())
    }

    fn column(&self, name: &str) -> Result<usize, String> {
        let is = |item: &TableElement| matches!(&item.kind, ElementKind::Column(own) if own.eq_ignore_ascii_case(name));
        self.items.iter().position(is).ok_or_else(|| format!("it has no column {name}"))
    }

    fn constraint(&self, name: &str) -> Result<usize, String> {
        let is = |item: &TableElement| matches!(&item.kind, ElementKind::Constraint(Some(own)) if own.eq_ignore_ascii_case(name));
        self.items.iter().position(is).ok_or_else(|| format!("it has no constraint {name}"))
    }

    fn definition(&self, at: usize) -> &str {
        &self.text[self.items[at].range.clone()]
    }

    /// Adds a part behind another, on a line of its own where that has one.
    fn add_after(&mut self, at: usize, definition: &str) -> Result<(), String> {
        let start = self.items[at].range.start;
        let before = &self.text[..start];
        let blanks = before.len() - before.trim_end().len();
        let indent = match before[start - blanks..].to_owned() {
            indent if indent.is_empty() => " ".to_owned(),
            indent => indent,
        };
        let end = self.items[at].range.end;
        self.edit(end..end, &format!(",{indent}{definition}"))
    }

    /// Drops a part with the comma before it.
    fn drop_item(&mut self, at: usize) -> Result<(), String> {
        let range = match at.checked_sub(1) {
            Some(before) => self.items[before].range.end..self.items[at].range.end,
            None if self.items.len() > 1 => self.items[0].range.start..self.items[1].range.start,
            None => return Err("nothing would be left of it".to_owned()),
        };
        self.edit(range, "")
    }

    /// Makes a change.
    pub(super) fn apply(&mut self, change: &TableChange) -> Result<(), String> {
        match change {
            TableChange::ChangeColumn { column, definition, may_lose_constraints } => {
                self.change_column(column, definition, *may_lose_constraints)
            }
            TableChange::SetNotNull { column } => self.set_not_null(column),
            TableChange::DropNotNull { column } => self.drop_not_null(column),
            TableChange::AddColumn { definition, value } => {
                let is_column = |item: &TableElement| matches!(item.kind, ElementKind::Column(_));
                let last = self.items.iter().rposition(is_column);
                let name = column_name(definition)?;
                if self.column(&name).is_ok() {
                    return Err(format!("it has a column {name} already"));
                }
                if !is_generated(definition) {
                    self.columns.push(ColumnDefinition { name, value: value.clone() });
                }
                self.add_after(last.ok_or("it has no column")?, definition)
            }
            TableChange::DropColumn { column } => {
                let at = self.column(column)?;
                self.columns.retain(|own| !own.name.eq_ignore_ascii_case(column));
                self.drop_item(at)
            }
            TableChange::AddConstraint { definition } => {
                self.add_after(self.items.len() - 1, definition)
            }
            TableChange::DropConstraint { name } => self.drop_item(self.constraint(name)?),
            TableChange::ReplaceConstraint { name, definition } => {
                let range = self.items[self.constraint(name)?].range.clone();
                self.edit(range, definition)
            }
            TableChange::Define { create } => {
                let mut new = Self::parse(create)?;
                for column in &mut new.columns {
                    let mut own = self.columns.iter();
                    let own = own.find(|own| own.name.eq_ignore_ascii_case(&column.name));
                    column.value = own.and_then(|own| own.value.clone());
                }
                *self = new;
                Ok(())
            }
            TableChange::Copy { column, value } => {
                let is = |own: &&mut ColumnDefinition| own.name.eq_ignore_ascii_case(column);
                let own = self.columns.iter_mut().find(is);
                let own = own.ok_or_else(|| format!("it has no column {column} to fill"))?;
                own.value = Some(value.clone());
                Ok(())
            }
        }
    }

    fn change_column(&mut self, column: &str, new: &str, may_lose: bool) -> Result<(), String> {
        let at = self.column(column)?;
        let old = self.definition(at).to_owned();
        if !may_lose {
            let has = |text: &str, word: &str| {
                tokens(text, Engine::Sqlite).iter().any(|token| token.is_word(word))
            };
            let words = ["primary", "unique", "check", "references", "autoincrement"];
            if let Some(lost) = words.iter().find(|word| has(&old, word) && !has(new, word)) {
                return Err(format!(
                    "the new definition of {column} lacks {}, which the old one has: {old} \
                     (replace_column takes it away)",
                    lost.to_uppercase()
                ));
            }
        }
        let name = column_name(new)?;
        let was_inserted =
            self.columns.iter().position(|own| own.name.eq_ignore_ascii_case(column));
        match (was_inserted, is_generated(new)) {
            (Some(own), true) => drop(self.columns.remove(own)),
            (Some(own), false) => self.columns[own].name = name,
            (None, true) => {}
            (None, false) => {
                self.columns.push(ColumnDefinition { name, value: Some(quoted(column)) })
            }
        }
        self.edit(self.items[at].range.clone(), new)
    }

    fn set_not_null(&mut self, column: &str) -> Result<(), String> {
        let at = self.column(column)?;
        let start = self.items[at].range.start;
        if self.not_null(at).is_some() {
            return Ok(());
        }
        let definition = self.definition(at).to_owned();
        let tokens = with_depth(&definition);
        let clause = tokens.iter().skip(1).position(|(depth, token)| {
            *depth == 0 && CLAUSES.iter().any(|word| token.is_word(word))
        });
        let end = clause.map_or(definition.len(), |clause| tokens[clause].1.range.end);
        self.edit(start + end..start + end, " NOT NULL")
    }

    fn drop_not_null(&mut self, column: &str) -> Result<(), String> {
        let at = self.column(column)?;
        match self.not_null(at) {
            Some(range) => self.edit(range, ""),
            None => Ok(()),
        }
    }

    /// Where `NOT NULL` stands in a column, with the name of the constraint and the blanks before.
    fn not_null(&self, at: usize) -> Option<Range<usize>> {
        let start = self.items[at].range.start;
        let definition = self.definition(at);
        let tokens = with_depth(definition);
        let not = tokens.windows(2).position(|pair| {
            pair[0].0 == 0 && pair[0].1.is_word("not") && pair[1].1.is_word("null")
        })?;
        let is_named = not >= 3 && tokens[not - 2].1.is_word("constraint");
        let first = if is_named { not - 2 } else { not };
        let from = tokens[first.checked_sub(1)?].1.range.end;
        Some(start + from..start + tokens[not + 1].1.range.end)
    }

    /// The CREATE TABLE under another name.
    pub(super) fn create(&self, name: &str) -> Result<String, String> {
        let tokens = with_depth(&self.text);
        let table = tokens.iter().position(|(_, token)| token.is_word("table"));
        let open = tokens.iter().position(|(_, token)| token.is_symbol("("));
        match (table, open) {
            (Some(table), Some(open)) => {
                // With the blanks behind the name.
                let rest = &self.text[tokens[open.saturating_sub(1)].1.range.end..];
                let head = &self.text[..tokens[table].1.range.end];
                Ok(format!("{head} {}{rest}", quoted(name)))
            }
            _ => Err("its text isn't understood".to_owned()),
        }
    }

    /// The columns that rows are copied into, each with where its values come from.
    pub(super) fn columns(&self) -> &[ColumnDefinition] {
        &self.columns
    }

    /// Whether a word stands outside of what its columns and constraints are, or in them.
    pub(super) fn has_word(&self, word: &str) -> bool {
        tokens(&self.text, Engine::Sqlite).iter().any(|token| token.is_word(word))
    }
}

fn item(tokens: &[StatementToken<'_>]) -> Result<TableElement, String> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err("its text isn't understood".to_owned());
    };
    let range = first.range.start..last.range.end;
    let kind = if CONSTRAINTS.iter().any(|word| first.is_word(word)) {
        let named = first.is_word("constraint").then(|| tokens.get(1)?.name()).flatten();
        ElementKind::Constraint(named)
    } else {
        ElementKind::Column(first.name().ok_or("its text isn't understood")?)
    };
    Ok(TableElement { range, kind })
}

#[cfg(test)]
mod tests;
