//! What an index can do for a filter: which of its tests bound a scan of an index.

use sea_orm::sea_query::BinOper;

use crate::filter::node::{FilterNode, Test};

/// The tests of a filter that every row must pass, by what an index can do for them (PostgreSQL, 11.3.
/// Multicolumn Indexes). Tests under `OR` count as tests of single rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSupport {
    /// The columns of the list's table that are compared with `=`, each once. They come first in an
    /// index.
    pub equal: Vec<&'static str>,
    /// The columns of the list's table that have a lower or an upper bound, each once.
    pub ranges: Vec<&'static str>,
    /// The tables of child rows that are searched by an id.
    pub children: Vec<&'static str>,
    /// The names of the fields whose tests no B-tree index serves: the parts of texts that `:` finds,
    /// `!=`, `NOT`, `OR`, and paths in JSON.
    pub rows: Vec<&'static str>,
}

impl IndexSupport {
    /// Whether the filter has no test.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, node: &FilterNode) {
        match node {
            FilterNode::All(nodes) => nodes.iter().for_each(|node| self.add(node)),
            FilterNode::Test(field, test) => {
                let (list, name) = match (field.children, test) {
                    (Some(children), _) => (&mut self.children, children.table),
                    (None, Test::Compare(BinOper::Equal, _)) => (&mut self.equal, field.column),
                    (None, Test::Compare(BinOper::NotEqual, _)) => (&mut self.rows, field.name),
                    (None, Test::Compare(..) | Test::Within(..)) => {
                        (&mut self.ranges, field.column)
                    }
                    (None, _) => (&mut self.rows, field.name),
                };
                push(list, name);
            }
            FilterNode::Any(_) | FilterNode::Not(_) => self.add_rows(node),
        }
    }

    /// Adds the fields of tests that every single row has to pass.
    fn add_rows(&mut self, node: &FilterNode) {
        match node {
            FilterNode::All(nodes) | FilterNode::Any(nodes) => {
                nodes.iter().for_each(|node| self.add_rows(node));
            }
            FilterNode::Not(node) => self.add_rows(node),
            FilterNode::Test(field, _) => push(&mut self.rows, field.name),
        }
    }
}

fn push(list: &mut Vec<&'static str>, name: &'static str) {
    if !list.contains(&name) {
        list.push(name);
    }
}
