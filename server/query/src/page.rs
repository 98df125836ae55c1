//! Pages of a list by keyset pagination: the condition on the sort values, and the statement.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement, Value,
    sea_query::{
        Asterisk, Condition, Expr, ExprTrait, Func, Order as Direction, Query, SelectStatement,
    },
};

use crate::order::{Column, OrderBy};

/// The condition on the rows after the one with these sort values. Empty without values.
///
/// In one direction it is a row comparison (PostgreSQL, 9.25.5. Row Constructor Comparison), which
/// bounds the index scan. In mixed directions it bounds the leading columns and filters the rows
/// that share the leading value.
pub fn keyset(order: &OrderBy, after: &[Value]) -> Condition {
    let columns: Vec<_> = order.columns().iter().zip(after).collect();
    let condition = Condition::all();
    match columns.is_empty() {
        true => condition,
        false => condition.add(behind(order.table(), &columns)),
    }
}

/// The statement of a page: the rows of `select` in the order, after the row with the sort values
/// `after` (empty for the first page) and `skip` more. It reads `limit` rows and one more, which
/// shows whether the list goes on. `select` must have neither an order nor a limit.
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
    // As literals: PostgreSQL's generic plan assumes that a bound limit is a tenth of the table,
    // and sorts.
    statement.sql += &format!(" LIMIT {}", limit.saturating_add(1));
    if skip > 0 {
        statement.sql += &format!(" OFFSET {skip}");
    }
    statement
}

/// Counts the rows of a table that match a condition.
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

/// Estimates how many rows of a table match a condition, by PostgreSQL's planner (PostgreSQL, 14.1.
/// Using EXPLAIN). It reads no row. The estimate is never 0.
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
    // The planner uses the bound values, as if they were literals.
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
