//! A plan as the engine made it, read for people and for the advice.

/// The plan of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The plan for people, a node a line, indented.
    pub lines: Vec<String>,
    /// What the plan does that costs time on a large table, in the order of the plan.
    pub steps: Vec<PlanStep>,
}

/// A step of a plan that reads rows or sorts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// Sorts rows.
    Sort {
        /// How many, by the planner's estimate; `None` on SQLite, which estimates none.
        rows: Option<i64>,
    },
    /// Sorts rows that come in the order of the first fields, those of equal first fields at a time
    /// (PostgreSQL's Incremental Sort).
    SortWithinOrder,
    /// Reads a whole table.
    ScanTable {
        /// The table.
        table: String,
    },
    /// Reads an index from its beginning or its end, in its order.
    WalkIndex {
        /// The index.
        index: String,
    },
    /// Reads the part of an index that a condition bounds.
    SearchIndex {
        /// The index.
        index: String,
        /// The condition, as the engine prints it.
        condition: String,
    },
}

impl Plan {
    /// The indexes that it reads, each once; `none` if it reads none.
    pub fn indexes(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for step in &self.steps {
            match step {
                PlanStep::WalkIndex { index } | PlanStep::SearchIndex { index, .. }
                    if !names.contains(&index.as_str()) =>
                {
                    names.push(index);
                }
                _ => {}
            }
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}
