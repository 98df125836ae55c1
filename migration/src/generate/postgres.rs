//! The steps of PostgreSQL: short locks, no needless rewrites, indexes of tables that exist built
//! CONCURRENTLY, constraints NOT VALID first.

mod alter_column;
mod alter_table;
mod columns;
mod conditions;
mod create;
mod objects;
mod planner;
mod properties;
mod text;

pub(super) use self::planner::pairs;
