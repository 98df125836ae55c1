//! [`Resource`]: what the generic code needs to know of a resource; and the input of its writes.

use bookstore_store::{Constraint, FieldViolation};
use chrono::{DateTime, Utc};
use sea_orm::{
    DbErr, EntityTrait, FromQueryResult, IntoActiveModel, QueryResult, TryIntoModel, Value,
};
use uuid::Uuid;

use crate::field::ResourceFields;

/// A resource: a table with the columns `id`, `created_at`, `updated_at` and `version`.
pub trait Resource: Send + Sync + 'static {
    /// Its name in the singular: `book`.
    const NAME: &'static str;
    /// Its table.
    type Entity: EntityTrait<
            Model: Send + Sync + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>,
            ActiveModel: Send + Sync + TryIntoModel<<Self::Entity as EntityTrait>::Model>,
        >;
    /// The fields that lists may filter and sort by.
    const FIELDS: ResourceFields;
    /// The large columns, by their names on the wire. A read omits them if its caller wants none of
    /// them.
    const LARGE: &'static [&'static str] = &[];
    /// The constraints that a caller's values can break. The contract's rules cover the others.
    const CONSTRAINTS: &'static [Constraint];

    /// The columns that [`Resource::from_row`] finds by their places: all of the table, in their
    /// order. Empty if it finds them by their names.
    const IN_ORDER: &'static [&'static str] = &[];

    /// Makes a row of an answer whose columns from `first` on are those of the table, in their
    /// order. [`columns_in_order`](crate::columns_in_order) finds them by their places, which costs
    /// half as much as to find them by their names. By default only the names count.
    ///
    /// # Errors
    /// If a value has another type.
    fn from_row(row: &QueryResult, first: usize) -> Result<Row<Self>, DbErr> {
        let _ = first;
        Row::<Self>::from_query_result(row, "")
    }
}

/// Implements [`Resource::from_row`] for a model with these columns, which are all of the table, in
/// their order.
#[macro_export]
macro_rules! columns_in_order {
    ($model:ty { $($column:ident),+ $(,)? }) => {
        const IN_ORDER: &'static [&'static str] = &[$(stringify!($column)),+];

        fn from_row(row: &sea_orm::QueryResult, first: usize) -> Result<$model, sea_orm::DbErr> {
            type Model = $model;
            let mut places = first..;
            let mut place = || places.next().unwrap_or_default();
            $(let $column = row.try_get_by_index(place())?;)+
            Ok(Model { $($column),+ })
        }
    };
}

/// A row of a resource.
pub type Row<R> = <<R as Resource>::Entity as EntityTrait>::Model;
/// The values of a row to be written.
pub type Values<R> = <<R as Resource>::Entity as EntityTrait>::ActiveModel;

/// The state that a row must have to be changed or deleted: that of an etag (AIP-154).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any state.
    Any,
    /// This version of the row with this creation time.
    State(i64, DateTime<Utc>),
    /// No state: the etag was never issued for this row.
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
    /// The columns to change. The others stay unset.
    pub values: V,
    /// The values of immutable fields, which the row must have already.
    pub fixed: Vec<Fixed>,
    /// What to insert if the row doesn't exist (`allow_missing`, AIP-134): all values, or why they
    /// are invalid.
    pub otherwise: Option<Result<V, Vec<FieldViolation>>>,
}

/// The value of an immutable field, which the row must have already.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The field of the request: `review.user_id`.
    pub field: String,
    /// Its column.
    pub column: &'static str,
    /// The value.
    pub value: Value,
}

/// A row to delete.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The path prefix of the request: empty, or `requests[3].`.
    pub prefix: String,
    /// The row.
    pub id: Uuid,
    /// The state it must have.
    pub expected: Expected,
    /// Whether a missing row is no error (`allow_missing`, AIP-135).
    pub allow_missing: bool,
    /// Whether to delete the referring rows too, where
    /// [`ConstraintRule::Unused`](bookstore_store::ConstraintRule::Unused) allows it (AIP-135).
    pub force: bool,
}
