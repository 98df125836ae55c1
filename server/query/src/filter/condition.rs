//! Makes SQL of a typed filter.

use sea_orm::{
    DbBackend, Value,
    sea_query::{BinOper, Expr, ExprTrait, Query},
};

use crate::{
    field::{ChildTable, Field, Kind, WordIndex},
    filter::{
        attributes,
        node::{FilterNode, Test},
    },
    search::words::Words,
};

/// Makes the condition of a filter on its table.
pub(crate) fn expression(node: &FilterNode, table: &'static str, backend: DbBackend) -> Expr {
    Writer { table, backend }.expression(node, false)
}

struct Writer {
    table: &'static str,
    backend: DbBackend,
}

impl Writer {
    fn expression(&self, node: &FilterNode, negated: bool) -> Expr {
        match node {
            FilterNode::All(nodes) => self.join(BinOper::And, nodes, negated),
            FilterNode::Any(nodes) => self.join(BinOper::Or, nodes, negated),
            FilterNode::Not(node) => self.expression(node, true).not(),
            // Without NOT a NULL excludes the row, as false does. So the index can be used.
            FilterNode::Test(field, test) if negated && may_be_null(field, test) => {
                self.test(field, test).is(Expr::Constant(Value::Bool(Some(true))))
            }
            FilterNode::Test(field, test) => self.test(field, test),
        }
    }

    /// Joins the nodes as a balanced tree. A chain would exceed SQLite's limit of the depth of an
    /// expression, and the stack.
    fn join(&self, operator: BinOper, nodes: &[FilterNode], negated: bool) -> Expr {
        match nodes {
            [] => Expr::Constant(Value::Bool(Some(operator == BinOper::And))),
            [node] => self.expression(node, negated),
            nodes => {
                let (left, right) = nodes.split_at(nodes.len() / 2);
                let left = self.join(operator, left, negated);
                left.binary(operator, self.join(operator, right, negated))
            }
        }
    }

    fn test(&self, field: &Field, test: &Test) -> Expr {
        match field.children {
            Some(children) => self.of_children(children, field, test),
            None => self.of_column(self.table, field, test),
        }
    }

    /// Whether a child row passes a test. SQLite reads the ids by the index and then the rows. It
    /// has no semi-join: with EXISTS it would visit every row of the list.
    fn of_children(&self, children: ChildTable, field: &Field, test: &Test) -> Expr {
        let ChildTable { table, parent } = children;
        let id = Expr::col((self.table, "id"));
        let mut select = Query::select();
        select.from(table);
        if !matches!(test, Test::Set) {
            select.and_where(self.of_column(table, field, test));
        }
        match self.backend {
            DbBackend::Postgres => {
                select.expr(Expr::cust("1")).and_where(Expr::col((table, parent)).eq(id));
                let exists = Expr::exists(select);
                // Of many values the planner expects many rows. As a semi-join it would then try
                // each row of the list by itself, and read the whole list where few rows match. A
                // plain expression makes it read the ids once, into a hash table, unless they are
                // too many for its memory.
                match test {
                    Test::OneOf(values) if values.len() > 1 => {
                        exists.is(Expr::Constant(Value::Bool(Some(true))))
                    }
                    _ => exists,
                }
            }
            _ => id.in_subquery(select.column((table, parent)).to_owned()),
        }
    }

    fn of_column(&self, table: &'static str, field: &Field, test: &Test) -> Expr {
        let column = Expr::col((table, field.column));
        match test {
            // A text without presence is unset if it is empty (AIP-160, Has Operator).
            Test::Set if !field.nullable && is_text(field) => column.ne(""),
            Test::Set => column.is_not_null(),
            Test::Compare(operator, value) => column.binary(*operator, Expr::val(value.clone())),
            Test::OneOf(values) => match values.as_slice() {
                [value] => column.eq(value.clone()),
                values => column.is_in(values.iter().cloned()),
            },
            Test::Within(from, until) => {
                let lower = column.clone().gte(from.as_str());
                match until {
                    Some(until) => lower.and(column.lt(until.as_str())),
                    None => lower,
                }
            }
            Test::Outside(from, until) => {
                let lower = column.clone().lt(from.as_str());
                match until {
                    Some(until) => lower.or(column.gte(until.as_str())),
                    None => lower,
                }
            }
            Test::Contains(pattern) => {
                // The columns' collation "C" folds ASCII letters only.
                let template = match self.backend {
                    DbBackend::Postgres => r#"($1 COLLATE "und-x-icu") ILIKE $2 ESCAPE '\'"#,
                    _ => r"? LIKE ? ESCAPE '\'",
                };
                Expr::cust_with_exprs(template, [column, Expr::val(pattern.as_str())])
            }
            Test::Words(index, words) => self.of_words(table, *index, column, words),
            Test::Json(path, test) => attributes::expression(column, path, test, self.backend),
        }
    }

    /// Whether a text has the words, by their index.
    fn of_words(&self, table: &'static str, index: WordIndex, column: Expr, words: &Words) -> Expr {
        let WordIndex { name, keys, key } = index;
        if self.backend == DbBackend::Postgres {
            let template = format!(r#""{name}"($1) @@ CAST($2 AS tsquery)"#);
            return Expr::cust_with_exprs(template, [column, Expr::val(words.to_tsquery())]);
        }
        let matches = Expr::cust_with_values(format!("\"{name}\" MATCH ?"), [words.to_string()]);
        let numbers = Query::select().column("rowid").from(name).and_where(matches).to_owned();
        let numbers = Expr::col("number").in_subquery(numbers);
        let ids = Query::select().column(key).from(keys).and_where(numbers).to_owned();
        Expr::col((table, "id")).in_subquery(ids)
    }
}

fn is_text(field: &Field) -> bool {
    matches!(field.kind, Kind::Text | Kind::LongText)
}

/// Whether a test may be NULL. A NOT would keep the NULL.
fn may_be_null(field: &Field, test: &Test) -> bool {
    match test {
        // The function makes an empty list of words of a NULL.
        Test::Set | Test::Words(..) => false,
        _ if field.children.is_some() => false,
        _ => field.nullable || field.kind == Kind::Json,
    }
}
