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
    /// All.
    All,
    /// Until their values exceed this many bytes together; at least one row.
    Bytes(usize),
}

/// How many rows to read, and what counts their memory.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) take: Take,
    pub(crate) meter: Option<Arc<dyn Meter>>,
}

/// Counts the memory of the rows that a call reads.
pub trait Meter: Debug + Send + Sync {
    /// Adds bytes; false if there is no room for them.
    fn grow(&self, bytes: usize) -> bool;

    /// Releases all bytes, at a new attempt or a new step of the call.
    fn reset(&self);
}

/// How many copies of a row exist until its answer is encoded.
const COPIES: usize = 2;

/// The memory of a value of a JSON text besides its bytes, and that of an object.
const JSON_VALUE: usize = 64;
const JSON_OBJECT: usize = 1_400;

/// Estimates the memory of JSON values by the characters that begin or separate them. Other texts
/// have few of these characters.
fn json(text: &[u8]) -> usize {
    let sign = |byte: &u8| match byte {
        b'{' => JSON_OBJECT,
        b',' | b'[' => JSON_VALUE,
        _ => 0,
    };
    text.iter().map(sign).sum()
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
    /// Whether the meter had no room for a row.
    pub(crate) no_room: bool,
}

/// A row of either engine.
pub(crate) trait Sized: Into<QueryResult> {
    /// The size of its values in bytes.
    fn size(&self) -> usize;

    /// The memory in bytes that the row takes until its answer is encoded.
    fn weight(&self) -> usize;
}

impl Sized for PgRow {
    fn size(&self) -> usize {
        let value = |index| Some(self.try_get_raw(index).ok()?.as_bytes().ok()?.len());
        (0..self.len()).filter_map(value).sum()
    }

    fn weight(&self) -> usize {
        let weigh = |bytes: &[u8]| COPIES * bytes.len() + json(bytes);
        let value = |index| Some(weigh(self.try_get_raw(index).ok()?.as_bytes().ok()?));
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

    fn weight(&self) -> usize {
        let value = |index| {
            let value = self.try_get_raw(index).ok()?;
            match value.type_info().name() {
                "TEXT" | "BLOB" => {
                    let bytes = <&[u8] as Decode<Sqlite>>::decode(value).ok()?;
                    Some(COPIES * bytes.len() + json(bytes))
                }
                _ => Some(size_of::<i64>()),
            }
        };
        (0..self.len()).filter_map(value).sum()
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
        if let Some(meter) = &meter
            && !meter.grow(row.weight())
        {
            // A page may end here. Any other answer must be complete.
            read.cut = matches!(take, Take::Bytes(_)) && !read.rows.is_empty();
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
