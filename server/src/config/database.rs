//! The settings of the database and its connections.

use std::time::Duration;

use super::settings::{
    DATABASE_COMMAND_TIMEOUT, DATABASE_ECHO, DATABASE_MAX_OVERFLOW, DATABASE_MIGRATE,
    DATABASE_POOL_SIZE, DATABASE_POOL_TIMEOUT, DATABASE_SLOW_QUERY, DATABASE_URL,
};
use super::url::{DatabaseUrl, Engine};
use super::values::{self, Values};

/// Which database, and how its connections are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `database_url`. Default a SQLite file `bookstore.db` in the working
    /// directory, made if it is missing.
    pub url: DatabaseUrl,
    /// `database_pool_size`: connections that stay open. Default 10.
    pub pool_size: u32,
    /// `database_max_overflow`: connections beyond those, under load. Default 20.
    pub max_overflow: u32,
    /// `database_pool_timeout`: how long a call waits for a connection. Default 3 s.
    pub pool_timeout: Duration,
    /// `database_command_timeout`: how long one statement may run. Default 60 s.
    pub command_timeout: Duration,
    /// `database_echo`: whether every statement is logged. Default false.
    pub echo: bool,
    /// `database_slow_query`: statements that take longer are warned about;
    /// `None` (given as 0) is never. Default 100 ms.
    pub slow_query: Option<Duration>,
    /// `database_migrate`: whether serve brings the schema up to date first.
    /// Default true on SQLite, false on PostgreSQL.
    pub migrate: bool,
}

impl Database {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let milliseconds = Duration::from_millis;
        let pool_wait = milliseconds(10)..=Duration::from_mins(10);
        let command = milliseconds(100)..=Duration::from_hours(24);
        let slow = Duration::ZERO..=Duration::from_hours(1);

        let url = values.read(&DATABASE_URL, DatabaseUrl::parse);
        let pool_size = values.read(&DATABASE_POOL_SIZE, values::whole(1..=1000));
        let max_overflow = values.read(&DATABASE_MAX_OVERFLOW, values::whole(0..=1000));
        let pool_timeout = values.read(&DATABASE_POOL_TIMEOUT, values::duration(pool_wait));
        let command_timeout = values.read(&DATABASE_COMMAND_TIMEOUT, values::duration(command));
        let echo = values.read(&DATABASE_ECHO, values::switch);
        let slow_query = values.read(&DATABASE_SLOW_QUERY, values::duration(slow));
        let migrate = values.read(&DATABASE_MIGRATE, |text| match text {
            "auto" => Ok(None),
            _ => values::switch(text).map(Some).map_err(|problem| format!("{problem}, or auto")),
        });
        let url = url?;
        let on_its_own = url.engine() == Engine::Sqlite;
        Some(Self {
            pool_size: pool_size?,
            max_overflow: max_overflow?,
            pool_timeout: pool_timeout?,
            command_timeout: command_timeout?,
            echo: echo?,
            slow_query: slow_query.map(|time| (!time.is_zero()).then_some(time))?,
            migrate: migrate?.unwrap_or(on_its_own),
            url,
        })
    }
}
