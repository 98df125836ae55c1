//! The steps of PostgreSQL: short locks, nothing rewritten that needn't be, indexes of tables that
//! exist built CONCURRENTLY, constraints NOT VALID first.

mod alter_column;
mod columns;
mod create;
mod planner;
mod text;

pub(super) use self::planner::pairs;
