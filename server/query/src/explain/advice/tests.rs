//! The advice for plans, filters, orders and indexes.

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

fn index(name: &str, columns: &[(&str, bool)]) -> TableIndex {
    let columns = columns.iter().map(|(name, down)| ((*name).to_owned(), *down)).collect();
    TableIndex { name: name.to_owned(), columns }
}

fn given(steps: Vec<PlanStep>, filter: &str, order: &str, rows: Option<i64>) -> String {
    let rows = rows.map_or(TableRows::Unknown, TableRows::About);
    given_of(steps, filter, order, rows, &[])
}

/// The advice where the sortable fields have their indexes, and with more indexes.
fn given_of(
    steps: Vec<PlanStep>,
    filter: &str,
    order: &str,
    rows: TableRows,
    more: &[TableIndex],
) -> String {
    let plan = Plan { lines: Vec::new(), steps };
    let filter = Filter::parse(filter, &FIELDS).expect(filter);
    let order = OrderBy::parse(order, &FIELDS).expect(order);
    let mut indexes = vec![
        index("books_title_id_idx", &[("title", false), ("id", false)]),
        index("books_stock_id_idx", &[("stock", false), ("id", false)]),
    ];
    indexes.extend_from_slice(more);
    let facts = Facts { backend: DbBackend::Postgres, plan: &plan, rows, indexes: &indexes };
    advice(&facts, &filter, &order).join(" ")
}

#[test]
fn an_index_that_is_there_is_not_advised() {
    let steps = || vec![PlanStep::Sort { rows: None }];
    for (filter, order, columns) in [
        ("stock = 5", "title", &[("stock", true), ("title", false), ("id", false)][..]),
        (
            "stock = 5 pages = 3",
            "title",
            &[("pages", false), ("stock", false), ("title", false), ("id", false)],
        ),
        ("", "stock desc, title", &[("stock", true), ("title", false), ("id", false)]),
        ("", "stock desc, title", &[("stock", false), ("title", true), ("id", true)]),
        ("", "stock, title", &[("stock", false), ("title", false), ("id", false)]),
    ] {
        let there = [index("there_idx", columns)];
        let without = given(steps(), filter, order, None);
        assert!(without.contains("CREATE INDEX"), "{filter} by {order}: {without}");
        let with = given_of(steps(), filter, order, TableRows::Unknown, &there);
        assert!(!with.contains("CREATE INDEX"), "{filter} by {order}: {with}");
        // One that is too short or has another direction does not serve the list.
        let short = [index("short_idx", &columns[..1])];
        let with = given_of(steps(), filter, order, TableRows::Unknown, &short);
        assert!(with.contains("CREATE INDEX"), "{filter} by {order}: {with}");
    }
}

#[test]
fn a_partial_sort_and_a_never_analyzed_table_are_told() {
    let partial = || vec![PlanStep::SortWithinOrder];
    let text = given(partial(), "", "stock, title", None);
    assert!(text.contains("sorts only rows that are equal"), "{text}");
    assert!(!text.contains("sorts all rows") && text.contains("(stock, title, id)"), "{text}");
    let scan = vec![PlanStep::ScanTable { table: "books".into() }];
    let text = given_of(scan, "stock > 5", "", TableRows::NeverAnalyzed, &[]);
    assert!(text.contains("never analyzed") && !text.contains("about"), "{text}");
}

#[test]
fn a_test_that_an_index_serves_is_not_called_unserved() {
    let filter = "stock = 5 OR stock = 6 OR pages = 7";
    let search = |column: &str| PlanStep::SearchIndex {
        index: format!("books_{column}_idx"),
        condition: format!("({column} = 5)"),
    };
    let sort = || PlanStep::Sort { rows: None };
    let text = given(vec![search("stock"), search("pages"), sort()], filter, "", None);
    assert!(text.contains("sorts all rows") && !text.contains("No index serves"), "{text}");
    let text = given(vec![search("stock"), sort()], filter, "", None);
    assert!(text.contains("No index serves the test of pages."), "{text}");
}

#[test]
fn no_advice_is_given_with_what_is_true() {
    let well = |steps: Vec<PlanStep>, filter: &str| {
        let filter = Filter::parse(filter, &FIELDS).expect(filter);
        all_is_well(&Plan { lines: Vec::new(), steps }, &filter)
    };
    let search = || PlanStep::SearchIndex { index: "x".into(), condition: "y".into() };
    let sorted = well(vec![search(), PlanStep::Sort { rows: Some(7) }], "stock = 5");
    assert_eq!(sorted, "none: the list sorts few rows, about 7");
    assert!(well(vec![search()], "stock = 5").contains("bounds the read and gives the order"));
    let walk = PlanStep::WalkIndex { index: "x".into() };
    assert_eq!(well(vec![walk], ""), "none: an index gives the order");
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
        (
            vec![PlanStep::Sort { rows: None }, scan()],
            "",
            "stock, title",
            None,
            "(stock, title, id)",
        ),
        (vec![walk()], &of_category, "title desc", None, "(category_id, title, id)"),
        (vec![scan()], "stock > 5", "title", Some(200_000), "With --order-by stock the list"),
        (
            vec![scan()],
            "pages > 5",
            "title",
            Some(200_000),
            "gives the order and does not serve the bounds of pages",
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
