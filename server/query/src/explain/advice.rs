//! What an operator can do about a plan that sorts, or reads more rows than it answers.

use sea_orm::DbBackend;

use super::plan::{Plan, PlanStep};
use crate::{
    filter::{Filter, IndexSupport},
    order::OrderBy,
};

/// The number of rows below which PostgreSQL reads a whole table although there is an index, and below
/// which a sort costs nothing.
pub const SMALL_TABLE: i64 = 1_000;

/// Advises on the plan of a list by the engine `backend`. `rows` is the number of the table's rows, if
/// it is known. The texts are whole sentences; without any, an index bounds the read and gives the
/// order.
pub fn advice(
    backend: DbBackend,
    plan: &Plan,
    filter: &Filter,
    order: &OrderBy,
    rows: Option<i64>,
) -> Vec<String> {
    let table = order.table();
    let support = filter.index_support();
    // A few rows are sorted faster than an index is made.
    let is_long = |step: &PlanStep| match step {
        PlanStep::Sort { rows } => rows.is_none_or(|rows| rows >= SMALL_TABLE),
        _ => false,
    };
    let sorts = plan.steps.iter().any(is_long);
    let scans = plan.steps.contains(&PlanStep::ScanTable { table: table.to_owned() });
    let is_index = |step: &PlanStep| matches!(step, PlanStep::WalkIndex { .. });
    let walks = !sorts && plan.steps.iter().any(is_index) && !support.is_empty();
    let mut advice = Vec::new();
    if scans && let Some(rows) = rows.filter(|rows| *rows < SMALL_TABLE) {
        advice.push(format!(
            "The table has about {rows} rows, which PostgreSQL reads faster than an index. Explain \
             the list on a database with as many rows as in production."
        ));
        return advice;
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
    if let Some(index) = IndexAdvice::of(&support, order) {
        advice.push(index.advice(backend, table));
    } else if !support.rows.is_empty() {
        advice.push(format!(
            "No index serves the test of {}. Add a test with = or a bound of another field; SearchBooks \
             finds words by an index.",
            support.rows.join(", ")
        ));
    }
    advice
}

/// An index that makes a list faster.
enum IndexAdvice {
    /// It bounds the rows that are read, and gives their order.
    OfFilterAndOrder(Vec<IndexColumn>),
    /// It bounds the rows that are read. They are sorted then.
    OfFilter(Vec<IndexColumn>),
    /// The index of a sortable field, which is there. The list walks it if it is ordered by this
    /// field.
    Existing(&'static str),
}

/// A column of an index, and whether its greatest value comes first.
type IndexColumn = (&'static str, bool);

impl IndexAdvice {
    /// `None` if no index would be better than that of the order alone.
    fn of(support: &IndexSupport, order: &OrderBy) -> Option<IndexAdvice> {
        if !support.children.is_empty() || !support.words.is_empty() {
            return None;
        }
        let ordered = order.columns();
        let mixed =
            ordered.iter().any(|it| it.descending) && ordered.iter().any(|it| !it.descending);
        let equal = support.equal.iter().map(|column| (*column, false));
        if support.equal.is_empty() && !mixed {
            // Each sortable field has an index of its own. A bound of another field serves the
            // filter and not the order.
            let first = ordered.first().map(|it| it.field.column);
            let range = support.ranges.iter().find(|range| Some(range.column) != first)?;
            return Some(match range.sortable {
                true => IndexAdvice::Existing(range.name),
                false => IndexAdvice::OfFilter(vec![(range.column, false), ("id", false)]),
            });
        }
        let of_order = ordered
            .iter()
            .filter(|it| !support.equal.contains(&it.field.column))
            .map(|it| (it.field.column, mixed && it.descending));
        Some(IndexAdvice::OfFilterAndOrder(equal.chain(of_order).collect()))
    }

    fn advice(&self, backend: DbBackend, table: &str) -> String {
        let (serves, columns) = match self {
            IndexAdvice::OfFilterAndOrder(columns) => ("filter and order", columns),
            IndexAdvice::OfFilter(columns) => ("the filter", columns),
            IndexAdvice::Existing(field) => {
                return format!(
                    "With --order-by {field} the list reads only the rows within the bounds of \
                     {field}, by the index of this field."
                );
            }
        };
        // The name that PostgreSQL would choose.
        let names = columns.iter().map(|(column, _)| *column).collect::<Vec<_>>().join("_");
        let columns = columns.iter().map(|(column, descending)| match descending {
            true => format!("{column} DESC"),
            false => (*column).to_owned(),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let concurrently = if backend == DbBackend::Postgres { "CONCURRENTLY " } else { "" };
        format!(
            "This index serves {serves}: CREATE INDEX {concurrently}{table}_{names}_idx ON {table} \
             ({columns}). To keep it, declare it in the table's entity and write its revision with \
             bookstore migrate new."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{ChildTable, Field, Kind, ResourceFields, WordIndex};

    static FIELDS: ResourceFields = ResourceFields {
        table: "books",
        fields: &[
            Field { sortable: true, ..Field::filterable("title", "title") },
            Field { kind: Kind::Integer, sortable: true, ..Field::filterable("stock", "stock") },
            Field { kind: Kind::Integer, ..Field::filterable("pages", "pages") },
            Field { kind: Kind::Id, ..Field::filterable("category_id", "category_id") },
            Field::in_children(
                "items.book_id",
                "book_id",
                ChildTable { table: "items", parent: "book_id" },
            ),
            Field {
                words: Some(WordIndex { name: "words", keys: "keys", key: "id" }),
                ..Field::filterable("name", "name")
            },
        ],
        default_order: "title",
    };

    fn given(steps: Vec<PlanStep>, filter: &str, order: &str, rows: Option<i64>) -> String {
        let plan = Plan { lines: Vec::new(), steps };
        let filter = Filter::parse(filter, &FIELDS).expect(filter);
        let order = OrderBy::parse(order, &FIELDS).expect(order);
        advice(DbBackend::Postgres, &plan, &filter, &order, rows).join(" ")
    }

    #[test]
    fn a_plan_without_needless_reads_gets_no_advice() {
        let walk = PlanStep::WalkIndex { index: "books_title_id_idx".into() };
        assert_eq!(given(vec![walk], "", "", None), "");
        let search = PlanStep::SearchIndex { index: "x".into(), condition: "(stock > 5)".into() };
        assert_eq!(given(vec![search], "stock > 5", "stock", None), "");
        let few = PlanStep::Sort { rows: Some(3) };
        assert_eq!(given(vec![few], "stock = 5", "title", None), "");
    }

    #[test]
    fn a_plan_that_sorts_or_scans_gets_the_index_that_prevents_it() {
        let scan = || PlanStep::ScanTable { table: "books".into() };
        let walk = || PlanStep::WalkIndex { index: "books_title_id_idx".into() };
        let id = "\"01930000-0000-7000-8000-000000000003\"";
        let of_category = format!("category_id = {id}");
        for (steps, filter, order, rows, wanted) in [
            (
                vec![PlanStep::Sort { rows: None }, scan()],
                &*of_category,
                "stock",
                None,
                "(category_id, stock, id)",
            ),
            (
                vec![PlanStep::Sort { rows: None }],
                "",
                "stock desc, title",
                None,
                "(stock DESC, title, id)",
            ),
            (vec![walk()], &of_category, "title desc", None, "(category_id, title, id)"),
            (vec![scan()], "stock > 5", "title", Some(200_000), "With --order-by stock the list"),
            (
                vec![scan()],
                "pages > 5",
                "title",
                Some(200_000),
                "serves the filter: CREATE INDEX CONCURRENTLY books_pages_id_idx ON books (pages, id)",
            ),
            (vec![scan()], "title:river", "", None, "No index serves the test of title"),
            (vec![walk()], "stock != 5", "", None, "tests each row"),
            (vec![scan()], "stock > 5", "", Some(12), "about 12 rows"),
        ] {
            let text = given(steps, filter, order, rows);
            assert!(text.contains(wanted), "{filter:?} by {order:?}: {text:?}");
        }
        let of_items =
            given(vec![PlanStep::Sort { rows: None }], &format!("items.book_id = {id}"), "", None);
        assert!(of_items.contains("few rows hold the item"), "{of_items}");
        assert!(!of_items.contains("CREATE INDEX"), "{of_items}");
        let of_words = given(vec![PlanStep::Sort { rows: None }], "name:ada stock = 5", "", None);
        assert!(of_words.contains("index of the words of name"), "{of_words}");
        assert!(!of_words.contains("CREATE INDEX"), "{of_words}");
    }
}
