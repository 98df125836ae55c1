//! Reads the plans of SQLite: the nodes of EXPLAIN QUERY PLAN.

use super::plan::{Plan, PlanStep};

/// A node, as SQLite answers it.
pub(super) struct PlanNode {
    pub(super) id: i64,
    /// The node above; 0 for none.
    pub(super) parent: i64,
    /// What it does: `SEARCH books USING INDEX books_title_id_idx (title=?)`.
    pub(super) detail: String,
}

/// Reads the nodes, each of which stands after the one above it.
pub(super) fn read(nodes: &[PlanNode]) -> Plan {
    let mut plan = Plan::default();
    for node in nodes {
        let above = std::iter::successors(Some(node), |node| {
            nodes.iter().find(|other| other.id == node.parent && other.id != node.id)
        });
        // A chain is never longer than the list of nodes.
        let depth = above.take(nodes.len()).count().saturating_sub(1);
        plan.lines.push(format!("{}{}", "  ".repeat(depth), node.detail));
        plan.steps.extend(step(&node.detail));
    }
    plan
}

fn step(detail: &str) -> Option<PlanStep> {
    if detail.starts_with("USE TEMP B-TREE FOR") && detail.contains("ORDER BY") {
        // `FOR LAST TERM OF ORDER BY`, `FOR LAST 2 TERMS OF ORDER BY`, `FOR RIGHT PART OF ORDER BY`.
        return Some(match detail.contains(" OF ORDER BY") {
            true => PlanStep::SortWithinOrder,
            false => PlanStep::Sort { rows: None },
        });
    }
    let (reads, rest) = detail.split_once(' ')?;
    let mut words = rest.split(' ');
    let table = words.next()?.to_owned();
    // `USING INDEX name`, `USING COVERING INDEX name`, `USING PRIMARY KEY`.
    let index = rest.split_once("INDEX ").and_then(|(_, rest)| rest.split(' ').next());
    match (reads, index) {
        // Without MATCH the part after the colon is empty (sqlite.org/fts5.html).
        ("SCAN", Some(_)) if rest.contains("VIRTUAL TABLE INDEX") => {
            let condition = rest.rsplit(':').next().unwrap_or_default().to_owned();
            Some(PlanStep::SearchIndex { index: table, condition })
        }
        ("SCAN", Some(index)) => Some(PlanStep::WalkIndex { index: index.to_owned() }),
        ("SCAN", None) => Some(PlanStep::ScanTable { table }),
        ("SEARCH", index) => {
            let condition = rest.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
            let index = index.unwrap_or("the primary key").to_owned();
            Some(PlanStep::SearchIndex { index, condition: condition.to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: i64, parent: i64, detail: &str) -> PlanNode {
        PlanNode { id, parent, detail: detail.to_owned() }
    }

    #[test]
    fn a_plan_of_sqlite_is_read() {
        let plan = read(&[
            node(5, 0, "SEARCH orders USING INDEX sqlite_autoindex_orders_1 (id=?)"),
            node(9, 0, "LIST SUBQUERY 1"),
            node(11, 9, "SEARCH order_items USING COVERING INDEX order_items_x_idx (book_id=?)"),
            node(20, 0, "SCAN books"),
            node(21, 0, "SCAN books USING INDEX books_title_id_idx"),
            node(22, 0, "SCAN user_words VIRTUAL TABLE INDEX 0:M1"),
            node(30, 0, "USE TEMP B-TREE FOR LAST TERM OF ORDER BY"),
            node(31, 0, "USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY"),
            node(32, 0, "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"),
            node(33, 0, "USE TEMP B-TREE FOR ORDER BY"),
        ]);
        assert_eq!(
            plan.lines[2],
            "  SEARCH order_items USING COVERING INDEX order_items_x_idx (book_id=?)"
        );
        let search = |index: &str, condition: &str| PlanStep::SearchIndex {
            index: index.into(),
            condition: condition.into(),
        };
        assert_eq!(
            plan.steps,
            [
                search("sqlite_autoindex_orders_1", "id=?"),
                search("order_items_x_idx", "book_id=?"),
                PlanStep::ScanTable { table: "books".into() },
                PlanStep::WalkIndex { index: "books_title_id_idx".into() },
                search("user_words", "M1"),
                PlanStep::SortWithinOrder,
                PlanStep::SortWithinOrder,
                PlanStep::SortWithinOrder,
                PlanStep::Sort { rows: None },
            ]
        );
    }
}
