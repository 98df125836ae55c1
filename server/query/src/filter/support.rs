//! What an index can do for a filter: which of its tests bound a scan of an index.

use sea_orm::sea_query::BinOper;

use crate::{
    field::Field,
    filter::node::{FilterNode, Test},
};

/// The tests of a filter that every row must pass, by what an index can do for them (PostgreSQL, 11.3.
/// Multicolumn Indexes). Tests under `OR` count as tests of single rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSupport {
    /// The columns of the list's table that are compared with `=`, each once. They come first in an
    /// index.
    pub equal: Vec<&'static str>,
    /// The fields whose column in the list's table has a lower or an upper bound, each once.
    pub ranges: Vec<&'static Field>,
    /// The tables of child rows that are searched by an id.
    pub children: Vec<&'static str>,
    /// The names of the fields whose words are searched by an index.
    pub words: Vec<&'static str>,
    /// The fields whose tests no B-tree index serves for sure: the parts of texts that `:` finds, `!=`,
    /// `NOT`, `OR`, and paths in JSON. A plan may join the results of several indexes for `OR`.
    pub rows: Vec<&'static Field>,
}

impl IndexSupport {
    /// Whether the filter has no test.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, node: &FilterNode) {
        match node {
            FilterNode::All(nodes) => nodes.iter().for_each(|node| self.add(node)),
            FilterNode::Test(field, test) => match (field.children, test) {
                (None, Test::Words(..)) => push(&mut self.words, field.name),
                (Some(children), _) => push(&mut self.children, children.table),
                (None, Test::Compare(BinOper::Equal, _)) => push(&mut self.equal, field.column),
                (None, Test::Compare(BinOper::NotEqual, _)) => push(&mut self.rows, *field),
                (None, Test::Compare(..) | Test::Within(..)) => push(&mut self.ranges, *field),
                (None, _) => push(&mut self.rows, *field),
            },
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
            FilterNode::Test(field, _) => push(&mut self.rows, *field),
        }
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
