//! Maps request messages to operations and queries of the store.

use std::marker::PhantomData;

use bookstore_store::{Connection, ConstraintCheck, Operation, Query, StoreError, Write};
use futures_util::{FutureExt, future::BoxFuture};
use prost::{Message, Name};
use prost_reflect::ReflectMessage;
use sea_orm::DbBackend;

use super::check::Check;

/// A request that writes.
pub trait WriteRequest: ReflectMessage + Name + Default + 'static {
    /// Its operation.
    type Operation: Operation + 'static;
    /// Its response.
    type Answer: Name + Default;

    /// The checked operation; none only if there are violations.
    fn operation(self, check: &mut Check<'_>) -> Option<Self::Operation>;

    /// The response.
    fn answer(output: <Self::Operation as Operation>::Output) -> Self::Answer;
}

/// A request that only reads.
pub trait ReadRequest: ReflectMessage + Name + Default + 'static {
    /// Its query.
    type Query: Query + 'static;
    /// What it is answered with.
    type Answer: Name + Default;

    /// The checked query; none only if there are violations.
    fn query(self, check: &mut Check<'_>) -> Option<Self::Query>;

    /// The response.
    ///
    /// # Errors
    /// Only by an error of this program.
    fn answer(
        query: &Self::Query,
        output: <Self::Query as Query>::Output,
    ) -> Result<Self::Answer, StoreError>;
}

/// A query with its encoder, without its types.
pub trait Read: Send + Sync {
    /// The query's name.
    fn name(&self) -> &'static str;

    /// Reads and gives the encoded response.
    fn fetch<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;
}

/// The operation or query of a request of type `R`, with what bounds its answer.
pub(super) struct Checked<R, T> {
    inner: T,
    limit: usize,
    request: PhantomData<fn() -> R>,
}

impl<R, T> Checked<R, T> {
    /// `limit` is the greatest size of an answer, in bytes.
    pub fn new(inner: T, limit: usize) -> Self {
        Self { inner, limit, request: PhantomData }
    }
}

impl<R: WriteRequest> Write for Checked<R, R::Operation> {
    fn name(&self) -> &'static str {
        R::Operation::NAME
    }

    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.prepare().boxed()
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async {
            let answer = R::answer(self.inner.apply(connection).await?);
            bounded(&answer, self.limit)?;
            Ok(answer.encode_to_vec())
        }
        .boxed()
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        self.inner.constraint_checks()
    }

    fn is_single_statement(&self, backend: DbBackend) -> bool {
        // An answer that may be too large is refused before COMMIT.
        self.inner.single_statement(backend).is_some_and(|most| most <= self.limit)
    }
}

/// An operation of a streaming call, with the function that makes its answer. It has no request
/// message of its own.
pub(super) struct Answered<O, F> {
    operation: O,
    answer: F,
    limit: usize,
}

impl<O, F> Answered<O, F> {
    /// `limit` is the greatest size of an answer, in bytes.
    pub fn new(operation: O, answer: F, limit: usize) -> Self {
        Self { operation, answer, limit }
    }
}

impl<O, A, F> Write for Answered<O, F>
where
    O: Operation,
    A: Message,
    F: Fn(O::Output) -> A + Send + Sync,
{
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.operation.prepare().boxed()
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async {
            let answer = (self.answer)(self.operation.apply(connection).await?);
            bounded(&answer, self.limit)?;
            Ok(answer.encode_to_vec())
        }
        .boxed()
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        self.operation.constraint_checks()
    }
}

impl<R: ReadRequest> Checked<R, R::Query> {
    /// The query.
    pub fn query(&self) -> &R::Query {
        &self.inner
    }

    /// The response to what was read, not encoded. It needs no connection.
    pub async fn answer(&self, read: <R::Query as Query>::Output) -> Result<R::Answer, StoreError> {
        let answer = R::answer(&self.inner, self.inner.conclude(read).await?)?;
        bounded(&answer, self.limit)?;
        Ok(answer)
    }
}

impl<R: ReadRequest> Read for Checked<R, R::Query> {
    fn name(&self) -> &'static str {
        R::Query::NAME
    }

    fn fetch<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async {
            let read = self.inner.fetch(connection).await?;
            Ok(self.answer(read).await?.encode_to_vec())
        }
        .boxed()
    }
}

fn bounded(answer: &impl Message, limit: usize) -> Result<(), StoreError> {
    let size = answer.encoded_len();
    match size > limit {
        true => Err(StoreError::AnswerTooLarge { size, limit }),
        false => Ok(()),
    }
}
