//! The findings of a comparison, one for each difference.

use serde_json::{Value, json};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The schema isn't what the migrations make: `check` fails.
    Error,
    /// Only for information; no migration makes it or repairs it.
    Note,
}

impl Severity {
    /// `error` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Note => "note",
        }
    }
}

/// Whether a revision can repair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The tool writes the revision.
    Yes,
    /// The author must decide what is meant, or rows may prevent it.
    Ask,
    /// The tool must not try.
    No,
}

impl Repair {
    /// `yes`, `ask` or `no`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Ask => "ask",
            Self::No => "no",
        }
    }
}

/// Whether the repair loses values of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost.
    No,
    /// What the rows hold there is lost, if there are rows.
    IfRows,
    /// There are rows, and what they hold there is lost.
    Yes,
}

impl Loss {
    /// `no`, `if rows` or `yes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::IfRows => "if rows",
            Self::Yes => "yes",
        }
    }
}

/// One difference between two schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object's kind and what is wrong with it: `column.type`, `index.removed`.
    pub kind: String,
    /// The object: `users.email`, `users_email_key`, `users`.
    pub object: String,
    /// The table that it belongs to; none of what belongs to none.
    pub table: Option<String>,
    /// How much it weighs.
    pub level: Severity,
    /// What the migrations make; none if they make no such thing.
    pub expected: Option<String>,
    /// What is there; none if nothing is.
    pub found: Option<String>,
    /// Objects that came or went along with this one.
    pub along: Vec<String>,
    /// Whether a revision can repair it.
    pub repair: Repair,
    /// Whether that loses rows' data.
    pub repair_loses: Loss,
}

impl Finding {
    /// The finding as `check --json` prints it.
    pub fn to_json(&self) -> Value {
        json!({
            "kind": self.kind,
            "object": self.object,
            "table": self.table,
            "level": self.level.name(),
            "expected": self.expected,
            "found": self.found,
            "along": self.along,
            "repair": self.repair.name(),
            "repair_loses": self.repair_loses.name(),
        })
    }

    /// The finding as a line of text.
    pub fn to_line(&self) -> String {
        let place = match &self.table {
            Some(table) if !self.object.starts_with(&format!("{table}.")) => {
                format!("{} on {table}", self.object)
            }
            _ => self.object.clone(),
        };
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        let mut line = format!(
            "{} {} {place}: expected {}, found {}",
            self.level.name(),
            self.kind,
            shown(&self.expected),
            shown(&self.found)
        );
        if !self.along.is_empty() {
            line.push_str(&format!("; along with it {}", self.along.join(", ")));
        }
        line.push_str(&format!(" (repair: {}", self.repair.name()));
        if self.repair_loses != Loss::No {
            line.push_str(&format!(", loses data: {}", self.repair_loses.name()));
        }
        line.push(')');
        line
    }
}
