//! What an operator can do about a plan that sorts, or reads more rows than it answers.

use sea_orm::DbBackend;

use super::{
    TableIndex, TableRows,
    plan::{Plan, PlanStep},
};
use crate::{
    field::Field,
    filter::{Filter, IndexSupport},
    order::OrderBy,
};

/// The number of rows below which PostgreSQL reads a whole table although there is an index, and below
/// which a sort costs nothing.
pub const SMALL_TABLE: i64 = 1_000;

/// What the advice depends on besides the list itself.
pub struct Facts<'a> {
    /// The engine.
    pub backend: DbBackend,
    /// The plan of the list.
    pub plan: &'a Plan,
    /// The number of the table's rows.
    pub rows: TableRows,
    /// The indexes that the table has.
    pub indexes: &'a [TableIndex],
}

/// Advises on the plan of a list. The texts are whole sentences. Without any, [`all_is_well`] says why
/// there is nothing to advise.
pub fn advice(facts: &Facts<'_>, filter: &Filter, order: &OrderBy) -> Vec<String> {
    let Facts { backend, plan, rows, indexes } = facts;
    let table = order.table();
    let support = filter.index_support();
    // A few rows are sorted faster than an index is made.
    let is_long = |step: &PlanStep| match step {
        PlanStep::Sort { rows } => rows.is_none_or(|rows| rows >= SMALL_TABLE),
        _ => false,
    };
    let sorts = plan.steps.iter().any(is_long);
    let sorts_within = plan.steps.contains(&PlanStep::SortWithinOrder);
    let scans = plan.steps.contains(&PlanStep::ScanTable { table: table.to_owned() });
    let is_walk = |step: &PlanStep| matches!(step, PlanStep::WalkIndex { .. });
    let walks = !sorts && plan.steps.iter().any(is_walk) && !support.is_empty();
    let mut advice = Vec::new();
    match rows {
        TableRows::NeverAnalyzed => {
            advice.push(format!(
                "The table was never analyzed, so the numbers of the plan are guesses. Run ANALYZE \
                 {table}, then explain the list again."
            ));
            return advice;
        }
        TableRows::About(rows) if scans && *rows < SMALL_TABLE => {
            advice.push(format!(
                "The table has about {rows} rows, which PostgreSQL reads faster than an index. Explain \
                 the list on a database with as many rows as in production."
            ));
            return advice;
        }
        _ => {}
    }
    if scans {
        advice.push(format!("The list reads the whole table {table}."));
    }
    if sorts && !support.children.is_empty() {
        advice.push(
            "The list finds the rows by the ids of their items and sorts them. It is fast as long as \
             few rows hold the item."
                .to_owned(),
        );
    } else if sorts && !support.words.is_empty() {
        advice.push(format!(
            "The list finds the rows by the index of the words of {} and sorts them. It is fast as long \
             as few rows have the words.",
            support.words.join(", ")
        ));
    } else if sorts {
        advice.push(
            "The list sorts all rows that the filter matches before it answers the first page."
                .to_owned(),
        );
    }
    if sorts_within {
        advice.push(
            "The list reads an index in the order of the first field and sorts only rows that are equal \
             there. It is fast as long as few rows are equal."
                .to_owned(),
        );
    }
    if walks {
        advice.push(
            "The list walks the index in its order and tests each row. If few rows match, it reads \
             much of the table before a page is full."
                .to_owned(),
        );
    }
    if advice.is_empty() {
        return advice;
    }
    if let Some(columns) = columns_to_index(&support, order) {
        if let Some(index) =
            indexes.iter().find(|index| serves(index, &columns, support.equal.len()))
        {
            advice.extend(with_index(index, &support, order));
        } else {
            advice.push(index_advice(*backend, table, &columns));
            return advice;
        }
    }
    let unserved: Vec<_> = support.rows.iter().filter(|it| !is_searched(plan, it)).collect();
    if !unserved.is_empty() {
        let names: Vec<_> = unserved.iter().map(|field| field.name).collect();
        let search = if table == "books" { "; SearchBooks finds words by an index" } else { "" };
        advice.push(format!(
            "No index serves the test of {}. Add a test with = or a bound of another field{search}.",
            names.join(", ")
        ));
    }
    advice
}

/// Says why a plan needs no advice.
pub fn all_is_well(plan: &Plan, filter: &Filter) -> String {
    let few = plan.steps.iter().find_map(|step| match step {
        PlanStep::Sort { rows } => *rows,
        _ => None,
    });
    let is_search = |step: &PlanStep| matches!(step, PlanStep::SearchIndex { .. });
    match few {
        Some(rows) => format!("none: the list sorts few rows, about {rows}"),
        None if filter.is_empty() => "none: an index gives the order".to_owned(),
        None if plan.steps.iter().any(is_search) => {
            "none: an index bounds the read and gives the order".to_owned()
        }
        None => "none: the list neither sorts nor reads the whole table".to_owned(),
    }
}

/// A column of an index, and whether its greatest value comes first.
type IndexColumn = (&'static str, bool);

/// The columns of an index that bounds the rows that are read, and gives their order: those that are
/// compared with `=`, then those of the order. `None` if other tables find the rows.
fn columns_to_index(support: &IndexSupport, order: &OrderBy) -> Option<Vec<IndexColumn>> {
    if !support.children.is_empty() || !support.words.is_empty() {
        return None;
    }
    let ordered = order.columns();
    let mixed = ordered.iter().any(|it| it.descending) && ordered.iter().any(|it| !it.descending);
    let of_order = ordered
        .iter()
        .filter(|it| !support.equal.contains(&it.field.column))
        .map(|it| (it.field.column, mixed && it.descending));
    let equal = support.equal.iter().map(|column| (*column, false));
    Some(equal.chain(of_order).collect())
}

/// Whether an index begins with these columns: the first `equal` of them in any order, then the others.
/// An engine reads an index from its end too.
fn serves(index: &TableIndex, columns: &[IndexColumn], equal: usize) -> bool {
    if index.columns.len() < columns.len() {
        return false;
    }
    let (first, ordered) = columns.split_at(equal.min(columns.len()));
    let (searched, walked) = index.columns.split_at(first.len());
    let is_searched = |column: &IndexColumn| searched.iter().any(|(name, _)| name == column.0);
    let walks = |backwards: bool| {
        walked.iter().zip(ordered).all(|((name, descending), column)| {
            name == column.0 && *descending == (column.1 != backwards)
        })
    };
    first.iter().all(is_searched) && (walks(false) || walks(true))
}

/// What to do about a list whose order has an index already.
fn with_index(index: &TableIndex, support: &IndexSupport, order: &OrderBy) -> Vec<String> {
    let first = order.columns().first().map(|it| it.field.column);
    let range = support.ranges.iter().find(|range| Some(range.column) != first);
    let name = &index.name;
    match range {
        Some(range) if range.sortable => vec![format!(
            "With --order-by {range} the list reads only the rows within the bounds of {range}, by the \
             index of this field.",
            range = range.name
        )],
        Some(range) => vec![format!(
            "{name} gives the order and does not serve the bounds of {range}. The list can't be ordered \
             by {range}, so no index serves both.",
            range = range.name
        )],
        None if support.equal.is_empty() => Vec::new(),
        None => vec![format!(
            "{name} serves filter and order already, and the engine takes another way. On PostgreSQL \
             it decides by the statistics of ANALYZE."
        )],
    }
}

/// Whether a plan finds rows by an index of a field.
fn is_searched(plan: &Plan, field: &Field) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    plan.steps.iter().any(|step| match step {
        PlanStep::SearchIndex { condition, .. } => {
            condition.split(|it| !is_word(it)).any(|word| word == field.column)
        }
        _ => false,
    })
}

fn index_advice(backend: DbBackend, table: &str, columns: &[IndexColumn]) -> String {
    // The name that PostgreSQL would choose.
    let names = columns.iter().map(|(column, _)| *column).collect::<Vec<_>>().join("_");
    let columns = columns.iter().map(|(column, descending)| match descending {
        true => format!("{column} DESC"),
        false => (*column).to_owned(),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let concurrently = if backend == DbBackend::Postgres { "CONCURRENTLY " } else { "" };
    format!(
        "This index serves filter and order: CREATE INDEX {concurrently}{table}_{names}_idx ON {table} \
         ({columns}). To keep it, declare it in the table's entity and write its revision with \
         bookstore migrate new."
    )
}

#[cfg(test)]
mod tests;
