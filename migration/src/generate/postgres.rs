//! The steps of PostgreSQL: short locks, no needless rewrites, indexes of tables that exist built
//! CONCURRENTLY, constraints NOT VALID first.

mod alter_column;
mod columns;
mod create;
mod planner;
mod text;

pub(super) use self::planner::pairs;
