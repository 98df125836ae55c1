//! The operations of imports and exports.

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

/// A row whose own values are valid.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Its index in the batch.
    pub index: usize,
    /// Its line in the source.
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
    /// Its violation.
    pub violation: FieldViolation,
}

/// The result of a batch.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// How many books are new.
    pub inserted: i64,
    /// How many existing books were updated.
    pub updated: i64,
    /// Why the other rows weren't written, in their order.
    pub rejections: Vec<Rejection>,
}

/// Writes a batch of an import.
pub struct ImportBooks {
    /// The rows to write, in their order.
    pub rows: Vec<ImportRow>,
    /// Rejections that don't depend on the database, in their order.
    pub rejections: Vec<Rejection>,
    /// The columns to change in existing books; without it existing books stay as they are.
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
