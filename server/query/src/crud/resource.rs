//! What a resource tells the generic code of itself, and the rows that its writes are about.

use bookstore_store::{Constraint, FieldViolation};
use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, IntoActiveModel, TryIntoModel, Value};
use uuid::Uuid;

use crate::field::ResourceFields;

/// A resource, as the store sees it: a table with `id`, `created_at`, `updated_at` and `version`.
pub trait Resource: Send + Sync + 'static {
    /// Its name in the singular: `book`.
    const NAME: &'static str;
    /// Its table.
    type Entity: EntityTrait<
            Model: Send + Sync + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>,
            ActiveModel: Send + Sync + TryIntoModel<<Self::Entity as EntityTrait>::Model>,
        >;
    /// What lists may filter and sort by.
    const FIELDS: ResourceFields;
    /// The columns that may hold much, named as their fields on the wire: a read whose caller
    /// wants none of them leaves them out.
    const LARGE: &'static [&'static str] = &[];
    /// The constraints that a caller's values can break, but for those that the contract's
    /// rules hold already.
    const CONSTRAINTS: &'static [Constraint];
}

/// A row of a resource.
pub type Row<R> = <<R as Resource>::Entity as EntityTrait>::Model;
/// The values of a row to be written.
pub type Values<R> = <<R as Resource>::Entity as EntityTrait>::ActiveModel;

/// Which state a row must have to be changed: that of an etag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    Any,
    /// This version of the row that was created at this time.
    State(i64, DateTime<Utc>),
    /// None: the etag was never given out for this row.
    Never,
}

/// A row to insert.
#[derive(Clone, Debug)]
pub struct Insert<V> {
    /// Where the request holds the resource: `book`, `requests[3].book`.
    pub path: String,
    /// Where the request gives the id, `id` or `requests[3].id`.
    pub id_path: String,
    /// All columns but the times and the version.
    pub values: V,
}

/// A row to change.
#[derive(Clone, Debug)]
pub struct Change<V> {
    /// Where the request holds the resource: `book`, `requests[3].book`.
    pub path: String,
    /// The row.
    pub id: Uuid,
    /// The state it must have.
    pub expected: Expected,
    /// The columns to change; the others are not set.
    pub values: V,
    /// What must be so already, since it never changes.
    pub fixed: Vec<Fixed>,
    /// What to insert if the row isn't there: all values, or why they can't be.
    pub otherwise: Option<Result<V, Vec<FieldViolation>>>,
}

/// A value that a row must have already.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Where the request has it: `review.user_id`.
    pub field: String,
    /// Its column.
    pub column: &'static str,
    /// The value.
    pub value: Value,
}

/// A row to delete.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Where the request stands: empty, or `requests[3].`.
    pub prefix: String,
    /// The row.
    pub id: Uuid,
    /// The state it must have.
    pub expected: Expected,
    /// Whether it is fine if the row isn't there.
    pub allow_missing: bool,
    /// Whether rows that refer to it go with it, as far as
    /// [`ConstraintRule::Unused`](bookstore_store::ConstraintRule::Unused) lets them.
    pub force: bool,
}
