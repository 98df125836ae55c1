//! Whether an expression gives every row of a statement the same value.

use super::{
    Engine,
    parse::{ExpressionKind, SqlExpression, parse},
    tokens,
};

/// The functions of the time at which a transaction began, or a statement (PostgreSQL, 9.9.5.
/// Current Date/Time).
const TIMES: &[&str] = &["now", "transaction_timestamp", "statement_timestamp"];

/// Whether a default is made of constants and of the time at which the transaction began. Any other
/// function counts as volatile, as those are that PostgreSQL rewrites a table for (ALTER TABLE,
/// Notes).
pub fn is_stable(engine: Engine, text: &str) -> bool {
    parse(engine, &tokens(engine, text)).is_some_and(|tree| is_stable_tree(&tree))
}

fn is_stable_tree(tree: &SqlExpression) -> bool {
    let is_known = match &tree.kind {
        ExpressionKind::Call(name) => TIMES.contains(&name.as_str()),
        ExpressionKind::Name(..) => false,
        _ => true,
    };
    is_known && tree.arguments.iter().all(is_stable_tree)
}

#[test]
fn constants_and_the_time_are_stable() {
    for stable in [
        "'-'::text",
        "7",
        "'-1'::integer",
        "'x'::character varying(20)",
        "'{}'::text[]",
        "ARRAY[]::text[]",
        "now()",
        "transaction_timestamp()",
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "(now() + '1 day'::interval)",
        "true",
    ] {
        assert!(is_stable(Engine::Postgres, stable), "{stable}");
    }
    for volatile in
        ["gen_random_uuid()", "clock_timestamp()", "nextval('a_seq'::regclass)", "(random() * 2)"]
    {
        assert!(!is_stable(Engine::Postgres, volatile), "{volatile}");
    }
}
