//! One session of either engine: how it is opened, what it runs, and who cancels its statements.

pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod control;
mod interrupt;
pub(crate) mod rows;
pub(crate) mod statement_log;
