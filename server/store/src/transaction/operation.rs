//! What a resource gives to the store: operations that write and queries that read.

use futures_util::future::BoxFuture;
use sea_orm::DbBackend;

use crate::{
    coalescing::row::{RowsById, SharedRows},
    constraint::ConstraintCheck,
    error::StoreError,
    session::connection::Connection,
};

/// A change of the database: a struct that holds checked values and applies them.
pub trait Operation: Send + Sync {
    /// The operation's name in spans, logs and metrics: `CreateBooks`.
    const NAME: &'static str;
    /// What [`Operation::apply`] returns.
    type Output: Send;

    /// Does slow work that needs no database, such as hashing a password. The store calls it
    /// before it takes a connection.
    fn prepare(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Applies the change inside a transaction. The store calls it again from the start if it
    /// must repeat the transaction.
    fn apply(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// The values that must be free or must exist. The store looks them up after a constraint
    /// was broken, to name the request's fields in the error.
    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        Vec::new()
    }

    /// The most that the encoded answer has, in bytes, if [`Operation::apply`] needs no transaction:
    /// one statement at most changes rows, what is read before and after it needs no lock, and
    /// nothing can fail once it has changed rows. Default `None`: it needs one.
    fn single_statement(&self, backend: DbBackend) -> Option<usize> {
        let _ = backend;
        None
    }
}

/// A read of the database: a struct that holds checked values and reads the rows.
pub trait Query: Send + Sync {
    /// The query's name in spans, logs and metrics: `ListBooks`.
    const NAME: &'static str;
    /// Whether it may scan any number of rows, as lists and searches do. Such queries share half
    /// of a node's connections, so that the others find a free one. Default false.
    const SCANS: bool = false;
    /// What [`Query::fetch`] returns.
    type Output: Send;

    /// Reads, on a session that can't write.
    fn fetch(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// The rows that the query is for, if it reads rows by their ids and nothing else. The store may
    /// read them together with the rows of other calls, and then calls [`Query::of_rows`] in place
    /// of [`Query::fetch`]. Default `None`.
    fn rows_by_id(&self) -> Option<RowsById<'_>> {
        None
    }

    /// Makes the output of rows that were read together with others.
    ///
    /// # Errors
    /// Those of [`Query::fetch`] on the same rows.
    fn of_rows(&self, rows: &SharedRows) -> Result<Self::Output, StoreError> {
        let _ = rows;
        Err(StoreError::internal("a query that reads no rows by their ids"))
    }

    /// Does slow work that needs no database, such as comparing a password. The store calls it
    /// after it has returned the connection to the pool.
    fn conclude(
        &self,
        read: Self::Output,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send {
        async { Ok(read) }
    }
}

/// An [`Operation`] and its encoder, without their types. It encodes the answer inside the
/// transaction, so that the store commits nothing that it can't answer.
pub trait Write: Send + Sync {
    /// [`Operation::NAME`].
    fn name(&self) -> &'static str;

    /// [`Operation::prepare`].
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// Applies the change and returns the encoded response.
    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;

    /// [`Operation::constraint_checks`]; of several operations in one write, those of the one
    /// that failed.
    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        Vec::new()
    }

    /// Whether the write needs no transaction ([`Operation::single_statement`]).
    fn is_single_statement(&self, backend: DbBackend) -> bool {
        let _ = backend;
        false
    }

    /// The operations before the one that failed, if the write consists of several.
    fn way_to_failure(&self) -> Option<&dyn Retrace> {
        None
    }
}

/// Operations that were applied before another one failed.
pub trait Retrace: Send + Sync {
    /// Applies them again, in a transaction that the store rolls back afterwards.
    fn retrace<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), StoreError>>;
}
