//! Rewrites a typed filter to an equal one that a database answers faster.
//!
//! Each test of child rows is a subquery. Under `OR` the engine runs all of them for a row that no
//! test matches. So the tests of one field become one test with a list of values, which is one
//! subquery.

use sea_orm::{Value, sea_query::BinOper};

use crate::{
    field::Field,
    filter::node::{FilterNode, Test},
};

/// Removes double negations, and joins the tests for equality of one field of child rows: those under
/// one `OR`, and those under one `AND` that are all negated.
pub(crate) fn simplify(node: FilterNode) -> FilterNode {
    match node {
        FilterNode::Any(nodes) => {
            let parts = nodes.into_iter().flat_map(|node| match simplify(node) {
                FilterNode::Any(nested) => nested,
                node => vec![node],
            });
            alone_or(join(parts, |node| node, |node| node), FilterNode::Any)
        }
        FilterNode::All(nodes) => {
            let parts = nodes.into_iter().flat_map(|node| match simplify(node) {
                FilterNode::All(nested) => nested,
                node => vec![node],
            });
            // NOT a AND NOT b is NOT (a OR b).
            let inner = |node| match node {
                FilterNode::Not(node) => *node,
                node => FilterNode::Not(Box::new(node)),
            };
            alone_or(join(parts, inner, inner), FilterNode::All)
        }
        // A NULL excludes the row as false does, and a test under NOT is never NULL: the operand of
        // two negations has the same rows.
        FilterNode::Not(node) => match simplify(*node) {
            FilterNode::Not(node) => *node,
            node => FilterNode::Not(Box::new(node)),
        },
        test @ FilterNode::Test(..) => test,
    }
}

fn alone_or(mut nodes: Vec<FilterNode>, join: fn(Vec<FilterNode>) -> FilterNode) -> FilterNode {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        node => {
            nodes.extend(node);
            join(nodes)
        }
    }
}

/// Joins nodes that are tests for equality of one field of child rows after `open`. The test of all
/// values stands where the first of them stood, after `close`.
fn join(
    nodes: impl Iterator<Item = FilterNode>,
    open: impl Fn(FilterNode) -> FilterNode,
    close: impl Fn(FilterNode) -> FilterNode,
) -> Vec<FilterNode> {
    let mut opened: Vec<FilterNode> = Vec::new();
    for node in nodes {
        let node = open(node);
        let Some((field, new)) = values(&node) else {
            opened.push(node);
            continue;
        };
        let same = opened.iter_mut().find_map(|node| match node {
            FilterNode::Test(other, Test::OneOf(values)) if other.name == field.name => {
                Some(values)
            }
            _ => None,
        });
        match same {
            Some(values) => new.into_iter().for_each(|value| {
                if !values.contains(&value) {
                    values.push(value);
                }
            }),
            None => opened.push(FilterNode::Test(field, Test::OneOf(new))),
        }
    }
    opened.into_iter().map(close).collect()
}

/// The field and the values of a test for equality of child rows.
fn values(node: &FilterNode) -> Option<(&'static Field, Vec<Value>)> {
    match node {
        FilterNode::Test(field, test) if field.children.is_some() => match test {
            Test::Compare(BinOper::Equal, value) => Some((field, vec![value.clone()])),
            Test::OneOf(values) => Some((field, values.clone())),
            _ => None,
        },
        _ => None,
    }
}
