//! The plans that auto_explain writes to PostgreSQL's log, one statement after another.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;

use crate::{SOON, until};

/// A statement as PostgreSQL ran it.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// Its SQL.
    pub(super) sql: String,
    /// Its plan's top node, with actual rows.
    pub(super) plan: Value,
    /// Its duration.
    pub(super) milliseconds: f64,
}

/// Reads the log from its end at the time of the construction.
#[derive(Debug)]
pub(super) struct PlanLog {
    path: PathBuf,
    database: String,
    read: u64,
}

impl PlanLog {
    /// The plans of one database, from now on.
    pub(super) fn from_now(path: PathBuf, database: &str) -> Self {
        let read = std::fs::metadata(&path).expect("the server's log").len();
        Self { path, database: database.to_owned(), read }
    }

    /// Waits for the next statement whose text matches; returns all that were logged since the last
    /// call, including this one.
    pub(super) async fn up_to(&mut self, fits: impl Fn(&str) -> bool) -> Vec<Ran> {
        let mut ran = Vec::new();
        until("the plan in the log", SOON, async || {
            ran.extend(self.more());
            ran.iter().any(|ran: &Ran| fits(&ran.sql))
        })
        .await;
        ran
    }

    /// The plans of the complete lines since the last call.
    fn more(&mut self) -> Vec<Ran> {
        let mut file = File::open(&self.path).expect("the server's log");
        file.seek(SeekFrom::Start(self.read)).expect("a place in the log");
        let mut added = Vec::new();
        file.read_to_end(&mut added).expect("the log's end");
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let lines = added[..whole].split(|byte| *byte == b'\n');
        lines.filter_map(|line| self.plan(&serde_json::from_slice(line).ok()?)).collect()
    }

    /// The plan in a line of the log, if it is one of this database.
    fn plan(&self, line: &Value) -> Option<Ran> {
        if line["dbname"].as_str() != Some(&self.database) {
            return None;
        }
        let (duration, plan) = line["message"].as_str()?.split_once("plan:\n")?;
        let milliseconds = duration.split_whitespace().nth(1)?.parse().ok()?;
        let plan: Value = serde_json::from_str(plan).ok()?;
        let sql = plan["Query Text"].as_str()?.to_owned();
        Some(Ran { sql, plan: plan["Plan"].clone(), milliseconds })
    }
}
