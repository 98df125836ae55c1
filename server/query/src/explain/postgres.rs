//! Reads the plans of PostgreSQL, in the JSON form of EXPLAIN.

use serde_json::Value;

use super::plan::{Plan, PlanStep};

/// Reads the answer of `EXPLAIN (FORMAT JSON)`.
pub(super) fn read(answer: &Value) -> Plan {
    let mut plan = Plan::default();
    if let Some(top) = answer.pointer("/0/Plan") {
        add(&mut plan, top, 0);
    }
    if let Some(milliseconds) = answer.pointer("/0/Execution Time").and_then(Value::as_f64) {
        plan.lines.push(format!("execution time: {milliseconds:.3} ms"));
    }
    plan
}

fn add(plan: &mut Plan, node: &Value, depth: usize) {
    let text = |key: &str| node[key].as_str();
    let kind = text("Node Type").unwrap_or_default();
    let indent = "  ".repeat(depth);
    let mut line = match text("Subplan Name") {
        Some(name) => format!("{indent}{name}: {kind}"),
        None => format!("{indent}{kind}"),
    };
    for (word, key) in [("using", "Index Name"), ("on", "Relation Name")] {
        if let Some(name) = text(key) {
            line.push_str(&format!(" {word} {name}"));
        }
    }
    if let Some(rows) = node["Plan Rows"].as_i64() {
        line.push_str(&format!(" (about {rows} rows)"));
    }
    if let (Some(rows), Some(time), Some(loops)) = (
        node["Actual Rows"].as_f64(),
        node["Actual Total Time"].as_f64(),
        node["Actual Loops"].as_f64(),
    ) {
        // PostgreSQL answers the averages of a loop. Workers that run in parallel are loops too.
        let all = (rows * loops).round();
        line.push_str(&match loops {
            0.0 => " (never executed)".to_owned(),
            1.0 => format!(" (read {rows} rows in {time:.3} ms)"),
            _ => format!(" (read {all} rows in {loops} loops of {time:.3} ms)"),
        });
    }
    plan.lines.push(line);
    for key in ["Index Cond", "Recheck Cond", "Filter"] {
        if let Some(condition) = text(key) {
            plan.lines.push(format!("{indent}  {key}: {condition}"));
        }
    }
    if let Some(removed) = node["Rows Removed by Filter"].as_f64().filter(|rows| *rows > 0.0) {
        plan.lines.push(format!("{indent}  Rows Removed by Filter: {removed}"));
    }
    if let Some(keys) = node["Sort Key"].as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        plan.lines.push(format!("{indent}  Sort Key: {}", keys.join(", ")));
    }
    plan.steps.extend(step(kind, node["Plan Rows"].as_i64(), &text));
    for child in node["Plans"].as_array().into_iter().flatten() {
        add(plan, child, depth + 1);
    }
}

fn step<'a>(
    kind: &str,
    rows: Option<i64>,
    text: &impl Fn(&str) -> Option<&'a str>,
) -> Option<PlanStep> {
    match kind {
        "Sort" => Some(PlanStep::Sort { rows }),
        "Incremental Sort" => Some(PlanStep::SortWithinOrder),
        "Seq Scan" => Some(PlanStep::ScanTable { table: text("Relation Name")?.to_owned() }),
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => {
            let index = text("Index Name")?.to_owned();
            Some(match text("Index Cond") {
                Some(condition) => PlanStep::SearchIndex { index, condition: condition.to_owned() },
                None => PlanStep::WalkIndex { index },
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_measured_plan_tells_loops_and_subplans() {
        let measured = |rows: f64, loops: u32| {
            json!({"Node Type": "Index Scan", "Index Name": "x", "Subplan Name": "SubPlan 1",
                "Actual Rows": rows, "Actual Total Time": 0.5, "Actual Loops": loops})
        };
        let answer = json!([{"Plan": {"Node Type": "Incremental Sort", "Plans":
            [measured(2.0, 1), measured(1.5, 4), measured(0.0, 0)]}}]);
        let plan = read(&answer);
        assert_eq!(
            plan.lines[1..],
            [
                "  SubPlan 1: Index Scan using x (read 2 rows in 0.500 ms)",
                "  SubPlan 1: Index Scan using x (read 6 rows in 4 loops of 0.500 ms)",
                "  SubPlan 1: Index Scan using x (never executed)",
            ]
        );
        assert_eq!(plan.steps[0], PlanStep::SortWithinOrder);
    }

    #[test]
    fn a_plan_of_postgresql_is_read() {
        let answer = json!([{"Plan": {
            "Node Type": "Limit", "Plan Rows": 51,
            "Plans": [{
                "Node Type": "Sort", "Plan Rows": 900, "Sort Key": ["price_micros", "id"],
                "Plans": [
                    {"Node Type": "Seq Scan", "Relation Name": "books", "Filter": "(stock > 5)"},
                    {"Node Type": "Index Scan", "Index Name": "books_title_id_idx", "Relation Name": "books"},
                    {"Node Type": "Index Scan", "Index Name": "books_pkey", "Relation Name": "books",
                     "Index Cond": "(id = $1)"},
                ],
            }],
        }}]);
        let plan = read(&answer);
        assert_eq!(
            plan.lines,
            [
                "Limit (about 51 rows)",
                "  Sort (about 900 rows)",
                "    Sort Key: price_micros, id",
                "    Seq Scan on books",
                "      Filter: (stock > 5)",
                "    Index Scan using books_title_id_idx on books",
                "    Index Scan using books_pkey on books",
                "      Index Cond: (id = $1)",
            ]
        );
        assert_eq!(
            plan.steps,
            [
                PlanStep::Sort { rows: Some(900) },
                PlanStep::ScanTable { table: "books".into() },
                PlanStep::WalkIndex { index: "books_title_id_idx".into() },
                PlanStep::SearchIndex { index: "books_pkey".into(), condition: "(id = $1)".into() },
            ]
        );
    }
}
