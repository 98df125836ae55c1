//! Pages of a list: where the next one begins, and the statement that reads it.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement, Value,
    sea_query::{
        Asterisk, Condition, Expr, ExprTrait, Func, Order as Direction, Query, SelectStatement,
    },
};

use crate::order::{Column, OrderBy};

/// The rows behind the one whose sort values these are; no values, no condition.
///
/// In one direction that is a comparison of rows, which bounds the walk through the
/// index. Where directions differ the leading columns are bounded alone, and what the
/// bound lets through besides are only rows that share the leading value.
pub fn keyset(order: &OrderBy, after: &[Value]) -> Condition {
    let columns: Vec<_> = order.columns().iter().zip(after).collect();
    let condition = Condition::all();
    match columns.is_empty() {
        true => condition,
        false => condition.add(behind(order.table(), &columns)),
    }
}

/// The statement that reads a page: the rows of `select` in the order, behind the row whose
/// sort values are `after` (none for the first page) and `skip` more, at most `limit` of them
/// and one more, which tells whether the list goes on. `select` brings neither an order nor a
/// limit of its own.
pub fn statement(
    backend: DbBackend,
    mut select: SelectStatement,
    order: &OrderBy,
    after: &[Value],
    limit: usize,
    skip: u64,
) -> Statement {
    select.cond_where(keyset(order, after));
    for column in order.columns() {
        let direction = if column.descending { Direction::Desc } else { Direction::Asc };
        select.order_by((order.table(), column.field.column), direction);
    }
    let mut statement = backend.build(&select);
    // As literals, since PostgreSQL's generic plan takes a bound limit for a tenth of the
    // table and sorts that.
    statement.sql += &format!(" LIMIT {}", limit.saturating_add(1));
    if skip > 0 {
        statement.sql += &format!(" OFFSET {skip}");
    }
    statement
}

/// Counts the rows of a table that a condition holds for.
///
/// # Errors
/// What the database answers.
pub async fn count(
    connection: &impl ConnectionTrait,
    table: &'static str,
    condition: Condition,
) -> Result<i64, DbErr> {
    let mut select = Query::select();
    select.expr(Func::count(Expr::col(Asterisk))).from(table).cond_where(condition);
    match connection.query_one(&select).await? {
        Some(row) => row.try_get_by_index(0),
        None => Err(DbErr::RecordNotFound("a count answers one row".to_owned())),
    }
}

/// About how many rows of a table a condition holds for: the planner's figure, on PostgreSQL
/// alone. No row is visited, and the figure is never 0.
///
/// # Errors
/// What the database answers.
pub async fn estimate(
    connection: &impl ConnectionTrait,
    table: &'static str,
    condition: Condition,
) -> Result<i64, DbErr> {
    let mut select = Query::select();
    select.column((table, "id")).from(table).cond_where(condition);
    let mut statement = connection.get_database_backend().build(&select);
    // Planned with the values that are bound, as if they stood in the text.
    statement.sql.insert_str(0, "EXPLAIN (FORMAT JSON) ");
    let row = connection.query_one_raw(statement).await?;
    let plan: Option<serde_json::Value> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    let rows = plan.as_ref().and_then(|plan| plan.pointer("/0/Plan/Plan Rows"));
    rows.and_then(serde_json::Value::as_i64)
        .ok_or_else(|| DbErr::Custom("a plan tells how many rows it expects".to_owned()))
}

fn behind(table: &'static str, columns: &[(&Column, &Value)]) -> Expr {
    let Some(((first, value), rest)) = columns.split_first() else {
        return Expr::Constant(Value::Bool(Some(false)));
    };
    if rest.iter().all(|(column, _)| column.descending == first.descending) {
        let names = columns.iter().map(|(column, _)| name(table, column));
        let values = columns.iter().map(|(_, value)| Expr::val((*value).clone()));
        let (names, values) = (Expr::tuple(names), Expr::tuple(values));
        return if first.descending { names.lt(values) } else { names.gt(values) };
    }
    let bound = Expr::val((*value).clone());
    let (bounded, past) = match first.descending {
        true => (name(table, first).lte(bound.clone()), name(table, first).lt(bound)),
        false => (name(table, first).gte(bound.clone()), name(table, first).gt(bound)),
    };
    bounded.and(past.or(behind(table, rest)))
}

fn name(table: &'static str, column: &Column) -> Expr {
    Expr::col((table, column.field.column))
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
