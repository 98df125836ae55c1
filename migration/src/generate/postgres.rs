//! The steps of PostgreSQL: short locks, nothing rewritten that needn't be, indexes of tables that
//! exist built CONCURRENTLY, constraints NOT VALID first.

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
