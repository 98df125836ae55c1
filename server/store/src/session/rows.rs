//! Reads the rows of an answer: all, the first, or as many as fit into a size.

use futures_util::{StreamExt, stream::BoxStream};
use sea_orm::QueryResult;
use sqlx::{Decode, Row, Sqlite, TypeInfo, ValueRef, postgres::PgRow, sqlite::SqliteRow};

/// How many rows to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// The first.
    One,
    /// All.
    All,
    /// Until their values exceed this many bytes together; at least one row.
    Bytes(usize),
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
}

/// A row of either engine.
pub(crate) trait Sized: Into<QueryResult> {
    /// The size of its values in bytes.
    fn size(&self) -> usize;
}

impl Sized for PgRow {
    fn size(&self) -> usize {
        let value = |index| Some(self.try_get_raw(index).ok()?.as_bytes().ok()?.len());
        (0..self.len()).filter_map(value).sum()
    }
}

impl Sized for SqliteRow {
    fn size(&self) -> usize {
        let value = |index| {
            let value = self.try_get_raw(index).ok()?;
            // Reading a number as bytes would convert it to text.
            match value.type_info().name() {
                "TEXT" | "BLOB" => Some(<&[u8] as Decode<Sqlite>>::decode(value).ok()?.len()),
                _ => Some(size_of::<i64>()),
            }
        };
        (0..self.len()).filter_map(value).sum()
    }
}

/// Reads an answer as far as `take` says.
pub(crate) async fn read<R: Sized>(
    mut answer: BoxStream<'_, Result<R, sqlx::Error>>,
    take: Take,
) -> Result<Rows, sqlx::Error> {
    let mut read = Rows::default();
    let mut total = 0;
    while let Some(row) = answer.next().await {
        let row = row?;
        let size = match take {
            Take::Bytes(_) => row.size(),
            Take::One | Take::All => 0,
        };
        total += size;
        if let Take::Bytes(most) = take
            && total > most
            && !read.rows.is_empty()
        {
            read.cut = true;
            break;
        }
        read.rows.push((row.into(), size));
        if let Take::One = take {
            break;
        }
    }
    Ok(read)
}
