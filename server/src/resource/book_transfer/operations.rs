//! What happens to books that come and go by the thousand.

use bookstore_entity::book::{ActiveModel, Model};
use bookstore_query::{
    crud::{self, Landed},
    list::{self, ListQuery, Listed},
};
use bookstore_store::{Connection, FieldViolation, Operation, StoreError};

use crate::{resource::book::Book, rpc::stamp::queries};

queries! {
    /// Reads the next books of an export.
    ExportBooks(ListQuery) -> Listed<Model> = list::list::<Book>;
}

/// A row that can be written as far as its own values tell.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Its place in the batch.
    pub index: usize,
    /// Where it comes from.
    pub line: i64,
    /// All columns but the times and the version.
    pub values: ActiveModel,
}

/// Why a row isn't written.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Its place in the batch.
    pub index: usize,
    /// Where it comes from.
    pub line: i64,
    /// What is wrong with it.
    pub violation: FieldViolation,
}

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// How many books are new.
    pub inserted: i64,
    /// How many books were there and are as the rows say now.
    pub updated: i64,
    /// Why the other rows weren't written, in their order.
    pub rejections: Vec<Rejection>,
}

/// Writes a batch of an import.
pub struct ImportBooks {
    /// The rows to write, in their order.
    pub rows: Vec<ImportRow>,
    /// Those that can't be written whatever the database holds, in their order.
    pub rejections: Vec<Rejection>,
    /// The columns that books which are there take over; without it they stay as they are.
    pub change: Option<ActiveModel>,
}

impl Operation for ImportBooks {
    const NAME: &'static str = "ImportBooks";
    type Output = Imported;

    async fn apply(&self, connection: &Connection) -> Result<Imported, StoreError> {
        let values: Vec<_> = self.rows.iter().map(|row| row.values.clone()).collect();
        let landed = crud::import::<Book>(connection, &values, self.change.as_ref()).await?;
        let mut imported = Imported { rejections: self.rejections.clone(), ..Imported::default() };
        for (row, landed) in self.rows.iter().zip(landed) {
            match landed {
                Landed::Inserted => imported.inserted += 1,
                Landed::Updated => imported.updated += 1,
                Landed::Rejected(violation) => {
                    let (index, line) = (row.index, row.line);
                    imported.rejections.push(Rejection { index, line, violation });
                }
            }
        }
        imported.rejections.sort_by_key(|rejection| rejection.index);
        Ok(imported)
    }
}
