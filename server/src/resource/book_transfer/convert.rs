//! Converts imports and exports between messages and rows: their steps, and the rows of a batch.

use std::collections::HashSet;

use bookstore_entity::book::ActiveModel;
use bookstore_proto::v1::{
    Book as Message, ExportBooksRequest, ExportBooksResponse, ImportBooksAcknowledgement,
    ImportBooksBatch, ImportBooksEnd, ImportBooksOptions, ImportBooksRequest, ImportBooksRow,
    ImportMode, ImportRejection, import_books_request::Step,
};
use bookstore_query::{crud::Columns, list::Listed};
use bookstore_store::{FieldViolation, Query, StoreError};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sea_orm::ActiveValue;
use uuid::Uuid;

use super::operations::{ExportBooks, ImportBooks, ImportRow, Imported, Rejection};
use crate::{
    resource::book::Book,
    rpc::{
        check::Check,
        field_mask, list,
        paths::Paths,
        refused::Refused,
        request::ReadRequest,
        standard::Standard,
        streams::{Once, StreamCall},
        wire,
    },
};

/// How many books a message of an export holds at most.
const EXPORTED: i32 = 500;

/// The most violations that are reported of one row.
const REASONS: usize = 20;

/// The checked options of an import.
pub struct ImportPlan {
    import_id: Uuid,
    /// The columns that the import changes in existing books; none if it doesn't update.
    change: Option<ActiveModel>,
    /// The encoded options, which are a part of the request's fingerprint.
    encoded: Vec<u8>,
    /// When the stream's first batch was first sent, or earlier.
    pub first_sent: Option<DateTime<Utc>>,
}

impl ImportPlan {
    /// Checks the options of an import.
    ///
    /// # Errors
    /// All their violations.
    pub fn of(call: &StreamCall, options: ImportBooksOptions) -> Result<Self, Refused> {
        // The time may differ from stream to stream.
        let encoded = ImportBooksOptions { first_sent_time: None, ..options.clone() };
        let encoded = encoded.encode_to_vec();
        let message = ImportBooksRequest { step: Some(Step::Options(options.clone())) };
        call.checked(message, |_, check| {
            let import_id = check.id(&options.import_id);
            if !matches!(options.key.as_str(), "" | "id") {
                check.violation("options.key", "must be `id`, the unique field that books have");
            }
            let change = change(check, &options);
            let first_sent = options.first_sent_time.map(|time| {
                let nanos = u32::try_from(time.nanos).unwrap_or(u32::MAX);
                DateTime::from_timestamp(time.seconds, nanos)
            });
            if first_sent == Some(None) {
                check.violation("options.first_sent_time", "must be a valid time");
            }
            let first_sent = first_sent.flatten();
            Some(Self { import_id: import_id?, change, encoded, first_sent })
        })
    }

    /// Whether the import changes existing books.
    pub fn updates(&self) -> bool {
        self.change.is_some()
    }

    /// Checks a batch. Returns the operation that writes it and its idempotency key. A violation of
    /// a row rejects only that row.
    ///
    /// # Errors
    /// The violations of the batch itself.
    pub fn batch(
        &self,
        call: &StreamCall,
        batch: ImportBooksBatch,
    ) -> Result<(ImportBooks, Once), Refused> {
        let key = Uuid::new_v5(&self.import_id, &batch.number.to_be_bytes());
        let mut request = self.encoded.clone();
        batch.encode(&mut request).unwrap_or_default();
        let ImportBooksBatch { number, rows } = batch;
        check_number_and_count(call, number, &rows)?;

        let mut ids = HashSet::new();
        let (mut kept, mut rejections) = (Vec::with_capacity(rows.len()), Vec::new());
        for (index, row) in rows.into_iter().enumerate() {
            let line = row.line;
            match call.checked(row, |row, check| values(check, row, &ids)) {
                Ok((id, values)) => {
                    ids.insert(id);
                    kept.push(ImportRow { index, line, values });
                }
                Err(Refused::Invalid(violations)) => {
                    rejections.extend(reasons(violations).map(|violation| Rejection {
                        index,
                        line,
                        violation,
                    }));
                }
                Err(refused) => return Err(refused),
            }
        }
        let operation = ImportBooks { rows: kept, rejections, change: self.change.clone() };
        Ok((operation, Once { key, request }))
    }
}

/// Checks the end of an import.
///
/// # Errors
/// All its violations.
pub fn end(call: &StreamCall, end: ImportBooksEnd) -> Result<ImportBooksEnd, Refused> {
    call.checked(ImportBooksRequest { step: Some(Step::End(end)) }, |_, _| Some(end))
}

/// The columns that an upsert changes.
fn change(check: &mut Check<'_>, options: &ImportBooksOptions) -> Option<ActiveModel> {
    let field = "options.update_mask";
    let mask = options.update_mask.as_ref().filter(|mask| !mask.paths.is_empty());
    if options.mode() != ImportMode::Upsert {
        if mask.is_some() {
            check.violation(field, "is for IMPORT_MODE_UPSERT");
        }
        return None;
    }
    let paths = match mask {
        Some(_) => field_mask::resolve(check, field, mask, &Message::default()),
        None => Paths::all(),
    };
    Some(Book::values(check, "", Message::default(), &paths))
}

/// Checks a batch without its rows against the contract's rules.
fn check_number_and_count(
    call: &StreamCall,
    number: i64,
    rows: &[ImportBooksRow],
) -> Result<(), Refused> {
    let stand_in = rows
        .first()
        .map(|_| ImportBooksRow { book: Some(Message::default()), ..ImportBooksRow::default() });
    let batch = ImportBooksBatch { number, rows: stand_in.into_iter().collect() };
    let step = ImportBooksRequest { step: Some(Step::Batch(batch)) };
    let mut violations = match call.checked(step, |_, _| Some(())) {
        Ok(()) => Vec::new(),
        Err(Refused::Invalid(violations)) => violations,
        Err(refused) => return Err(refused),
    };
    violations.retain(|violation| !violation.field.starts_with("batch.rows["));
    if let Some(violation) = call.violation_of_count::<ImportBooksBatch>("rows", rows.len()) {
        violations.retain(|known| known.field != "batch.rows");
        violations
            .push(FieldViolation::new(format!("batch.{}", violation.field), violation.description));
    }
    match violations.is_empty() {
        true => Ok(()),
        false => Err(Refused::Invalid(violations)),
    }
}

/// Checks a row: its id and its values.
fn values(
    check: &mut Check<'_>,
    row: ImportBooksRow,
    ids: &HashSet<Uuid>,
) -> Option<(Uuid, ActiveModel)> {
    let id = match row.id.as_str() {
        "" => Some(Uuid::now_v7()),
        given => check.key("id", given),
    };
    if id.is_some_and(|id| ids.contains(&id)) {
        check.violation("id", "stands in this batch already");
    }
    let mut values = Book::values(check, "book", row.book?, &Paths::all());
    values.id = ActiveValue::Set(id?);
    Some((id?, values))
}

/// The violations of a row, each once and up to the limit, with paths in Book.
fn reasons(violations: Vec<FieldViolation>) -> impl Iterator<Item = FieldViolation> {
    let mut reported: Vec<FieldViolation> = Vec::new();
    for FieldViolation { field, description } in violations {
        let field = field.strip_prefix("book.").map(str::to_owned).unwrap_or(field);
        let violation = FieldViolation { field, description };
        if reported.len() < REASONS && !reported.contains(&violation) {
            reported.push(violation);
        }
    }
    reported.into_iter()
}

/// The acknowledgement of a batch.
pub fn acknowledgement(
    number: i64,
    imported: Imported,
    expires: DateTime<Utc>,
) -> ImportBooksAcknowledgement {
    let Imported { inserted, updated, rejections } = imported;
    let rows: HashSet<usize> = rejections.iter().map(|rejection| rejection.index).collect();
    let rejections = rejections.into_iter().map(|Rejection { line, violation, .. }| {
        ImportRejection { line, field: violation.field, reason: violation.description }
    });
    ImportBooksAcknowledgement {
        number,
        inserted,
        updated,
        rejected: i64::try_from(rows.len()).unwrap_or(i64::MAX),
        rejections: rejections.collect(),
        key_expire_time: wire::timestamp(expires),
    }
}

/// One message of an export is read as a page of a list; the next one has its token.
impl ReadRequest for ExportBooksRequest {
    type Query = ExportBooks;
    type Answer = ExportBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<ExportBooks> {
        let Self { filter, order_by, page_token } = self;
        let fields = list::ListFields {
            page_size: EXPORTED,
            page_token,
            skip: 0,
            filter,
            order_by,
            total_size_mode: 0,
        };
        list::query::<Book>(check, ExportBooks::NAME, fields, Columns::All).map(ExportBooks)
    }

    fn answer(
        query: &ExportBooks,
        listed: Listed<bookstore_entity::book::Model>,
    ) -> Result<ExportBooksResponse, StoreError> {
        let page = list::page::<Book>(&query.0, listed)?;
        Ok(ExportBooksResponse { books: page.messages, next_page_token: page.next_page_token })
    }
}
