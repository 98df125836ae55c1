//! One exchange with the database: it holds the driver, and its end records what has happened.

use std::sync::{Arc, atomic::Ordering};

use sea_orm::{DbErr, RuntimeErr};
use tokio::sync::MutexGuard;

use crate::{
    cause::{Cause, READ_TIMEOUT, breaks_connection},
    session::{
        connection::{Connection, driver::Driver, state::TransactionState},
        statement_log::is_late,
    },
};

/// The driver for the time of one exchange with the database.
pub(crate) struct Exchange<'a> {
    pub(super) connection: &'a Connection,
    pub(crate) driver: MutexGuard<'a, Driver>,
}

impl Exchange<'_> {
    /// Ends the exchange. Records whether the session is broken or its transaction has failed.
    pub(crate) fn end<T>(self, result: Result<T, sqlx::Error>) -> Result<T, DbErr> {
        if result.as_ref().is_err_and(is_late) {
            // It may still run: the connection is in use until it has ended.
            return Err(DbErr::Custom(READ_TIMEOUT.into()));
        }
        self.connection.in_flight.store(false, Ordering::Release);
        self.connection.autocommit.ends(&result);
        if let Driver::Sqlite(_, interrupt) = &*self.driver {
            interrupt.disarm();
        }
        result.map_err(|error| {
            if breaks_connection(&error) {
                self.connection.broken.store(true, Ordering::Release);
            }
            if is_stale_plan(&error) {
                self.connection.stale.store(true, Ordering::Release);
            }
            if self.connection.state() == TransactionState::Transaction {
                self.connection.set_state(TransactionState::Failed);
            }
            let error = DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
            if Cause::of(&error) == Cause::DiskFull {
                self.connection.condition.set_disk_full(true);
            }
            error
        })
    }
}

/// Whether the schema has changed since the statement was prepared (SQLSTATE 0A000).
pub(super) fn is_stale_plan(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "0A000")
}
