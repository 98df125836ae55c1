//! One session of either engine: how it is opened, what it runs, and how its statements are
//! cancelled.

mod command_tag;
pub(crate) mod condition;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod control;
mod interrupt;
pub(crate) mod limit;
mod pooler;
pub(crate) mod rows;
pub(crate) mod settings;
mod sqlite_file;
mod sqlite_refusal;
pub(crate) mod statement_log;
pub(crate) mod statement_text;
