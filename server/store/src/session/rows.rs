//! Reads the rows of an answer: all, the first, or as many as fit into a size.

use std::{fmt::Debug, sync::Arc};

use futures_util::{StreamExt, stream::BoxStream};
use sea_orm::QueryResult;
use sqlx::{Decode, Row, Sqlite, TypeInfo, ValueRef, postgres::PgRow, sqlite::SqliteRow};

/// How many rows to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// The first.
    One,
    /// All, of a query that mostly has some.
    Some,
    /// All.
    All,
    /// Until their values exceed this many bytes together; at least one row.
    Bytes(usize),
}

/// What is read, and what counts the memory that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) take: Take,
    pub(crate) meter: Option<Arc<dyn Meter>>,
}

/// Counts the memory of the rows that a call reads.
pub trait Meter: Debug + Send + Sync {
    /// Takes so many bytes more; false where there is no room for them.
    fn grow(&self, bytes: usize) -> bool;

    /// Gives all back: the call begins anew.
    fn reset(&self);

    /// Counts what is stored under a key: an answer of so many bytes, or a fence of none. False
    /// where no more may be stored.
    fn store(&self, bytes: usize) -> bool;
}

/// What a value of a JSON text takes beside its bytes, and an object.
const JSON_VALUE: usize = 64;
const JSON_OBJECT: usize = 1_400;

/// What a row takes beside its values.
const ROW: usize = 48;

/// The memory that values of JSON take, by the signs that begin or end them. A text that begins
/// as JSON does and has such signs as well is weighed too heavy, which does no harm.
fn json(text: &[u8]) -> usize {
    // PostgreSQL sends a version before it (jsonb_send).
    let text = text.strip_prefix(&[1]).unwrap_or(text);
    if !matches!(text.first(), Some(b'{' | b'[')) {
        return 0;
    }
    let sign = |byte: &u8| match byte {
        b'{' => JSON_OBJECT,
        b',' | b'[' => JSON_VALUE,
        _ => 0,
    };
    text.iter().map(sign).sum()
}

/// The memory that a row takes until its answer is encoded, in bytes.
pub(crate) fn weight(row: &QueryResult) -> usize {
    match (row.try_as_pg_row(), row.try_as_sqlite_row()) {
        (Some(row), _) => row.sizes().memory,
        (_, Some(row)) => row.sizes().memory,
        (None, None) => 0,
    }
}

/// The rows that were read.
#[derive(Debug, Default)]
pub struct Rows {
    /// The rows, each with its size in bytes; 0 unless they were read by [`Connection::query_up_to`].
    ///
    /// [`Connection::query_up_to`]: crate::Connection::query_up_to
    pub rows: Vec<(QueryResult, usize)>,
    /// Whether rows stayed unread because of the size.
    pub cut: bool,
    /// Whether there was no room for a row that was wanted.
    pub(crate) no_room: bool,
}

/// The sizes of a row, in bytes.
pub(crate) struct RowSizes {
    /// Of its values.
    values: usize,
    /// Of the memory that it takes until its answer is encoded.
    memory: usize,
}

impl RowSizes {
    const NONE: Self = Self { values: 0, memory: ROW };

    fn with(self, value: &[u8]) -> Self {
        let memory = self.memory + value.len() + json(value);
        Self { values: self.values + value.len(), memory }
    }
}

/// A row of either engine.
pub(crate) trait Sized: Into<QueryResult> {
    /// Its sizes. Every value is read for them.
    fn sizes(&self) -> RowSizes;
}

impl Sized for PgRow {
    fn sizes(&self) -> RowSizes {
        let value = |index| self.try_get_raw(index).ok()?.as_bytes().ok();
        (0..self.len()).filter_map(value).fold(RowSizes::NONE, RowSizes::with)
    }
}

impl Sized for SqliteRow {
    fn sizes(&self) -> RowSizes {
        let add = |sizes: RowSizes, index| {
            let Ok(value) = self.try_get_raw(index) else { return sizes };
            // Reading a number as bytes would convert it to text.
            match value.type_info().name() {
                "TEXT" | "BLOB" => match <&[u8] as Decode<Sqlite>>::decode(value) {
                    Ok(bytes) => sizes.with(bytes),
                    Err(_) => sizes,
                },
                _ => sizes.with(&[0; size_of::<i64>()]),
            }
        };
        (0..self.len()).fold(RowSizes::NONE, add)
    }
}

/// Reads an answer as far as `take` says.
pub(crate) async fn read<R: Sized>(
    mut answer: BoxStream<'_, Result<R, sqlx::Error>>,
    reading: Reading,
) -> Result<Rows, sqlx::Error> {
    let Reading { take, meter } = reading;
    let mut read = Rows::default();
    let mut total = 0;
    while let Some(row) = answer.next().await {
        let row = row?;
        let is_cut = matches!(take, Take::Bytes(_));
        let sizes = (is_cut || meter.is_some()).then(|| row.sizes());
        let sizes = sizes.unwrap_or(RowSizes::NONE);
        let size = if is_cut { sizes.values } else { 0 };
        total += size;
        if let Take::Bytes(most) = take
            && total > most
            && !read.rows.is_empty()
        {
            read.cut = true;
            break;
        }
        if let Some(meter) = &meter
            && !meter.grow(sizes.memory)
        {
            // A page may end earlier; what was asked for as a whole may not.
            read.cut = is_cut && !read.rows.is_empty();
            read.no_room = !read.cut;
            break;
        }
        read.rows.push((row.into(), size));
        if let Take::One = take {
            break;
        }
    }
    Ok(read)
}
