//! The standard methods' requests, checked alike for every resource (AIP-131 to 135, 231 to 235).

mod requests;

use bookstore_query::{
    Resource,
    crud::{Change, Fixed, Ids, Insert, One, Removal, Row, Values},
};
use prost_reflect::{MessageDescriptor, ReflectMessage};
use prost_types::FieldMask;
pub(crate) use requests::{
    standard_batch_get, standard_create, standard_delete, standard_get, standard_list,
    standard_update, standard_write,
};
use sea_orm::{ActiveModelTrait, ActiveValue, EntityTrait, IdenStatic, Iterable};
use uuid::Uuid;

use super::{
    behavior::{Behavior, behaviors},
    check::Check,
    field_mask,
    paths::Paths,
};

/// A resource with its message.
pub trait Standard: Resource {
    /// The resource on the wire.
    type Message: ReflectMessage + Clone;
    /// The field that holds the resource in requests: `book`.
    const FIELD: &'static str = Self::NAME;

    /// A row as a message.
    fn message(row: Row<Self>) -> Self::Message;

    /// The message's id, which an update reads as its key.
    fn key(message: &Self::Message) -> &str;

    /// The message's etag.
    fn etag(message: &Self::Message) -> &str;

    /// The columns behind the fields that the mask names; the others, the key, the times and the
    /// version stay unset. `path` is the message's path in the request.
    fn values(
        check: &mut Check<'_>,
        path: &str,
        message: Self::Message,
        mask: &Paths,
    ) -> Values<Self>;
}

/// The message of a resource.
pub type MessageOf<R> = <R as Standard>::Message;

/// A request that is sent alone or as an entry of a batch.
pub trait BatchEntry {
    /// Its checked form.
    type Checked;

    /// Checks it. `prefix` is its path: empty, or `requests[3].`.
    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked>;
}

/// Checks a Create request.
pub fn insert<R: Standard>(
    check: &mut Check<'_>,
    prefix: &str,
    message: Option<R::Message>,
    id: &str,
) -> Option<Insert<Values<R>>> {
    let id_path = format!("{prefix}id");
    let id = match id {
        "" => Uuid::now_v7(),
        given => check.id(given)?,
    };
    check.once(&id_path, id);
    let path = format!("{prefix}{}", R::FIELD);
    let mut values = R::values(check, &path, message?, &Paths::all());
    set_id::<R>(&mut values, id);
    Some(Insert { path, id_path, values })
}

/// Checks an Update request.
pub fn change<R: Standard>(
    check: &mut Check<'_>,
    prefix: &str,
    message: Option<R::Message>,
    mask: Option<&FieldMask>,
    allow_missing: bool,
) -> Option<Change<Values<R>>> {
    let message = message?;
    let path = format!("{prefix}{}", R::FIELD);
    let id = check.key(&format!("{path}.id"), R::key(&message));
    let mask = field_mask::resolve(check, &format!("{prefix}update_mask"), mask, &message);
    // An insert needs every value, so all violations count for it. Whether the row is inserted is
    // known only in the transaction.
    let otherwise = id.filter(|_| allow_missing).map(|id| {
        let mut whole =
            Check::new(check.sealing_key, check.max_message_size, check.violations_under(&path));
        whole.principal = check.principal;
        let mut values = R::values(&mut whole, &path, message.clone(), &Paths::all());
        set_id::<R>(&mut values, id);
        match whole.into_violations() {
            violations if violations.is_empty() => Ok(values),
            violations => Err(violations),
        }
    });
    // Also if the key has a violation: violations of fields that aren't written aren't reported.
    check.pass_over(&path, &mask);
    let id = id?;
    check.once(&format!("{path}.id"), id);
    let expected = check.etag(id, R::etag(&message));
    let descriptor = message.descriptor();
    let mut values = R::values(check, &path, message, &mask);
    let fixed = fixed::<R>(&descriptor, &path, &mut values);
    Some(Change { path, id, expected, values, fixed, otherwise })
}

/// Removes the values of immutable fields from an update: the row must have these values already.
/// Such a field is in the table of [`Resource::FIELDS`].
fn fixed<R: Standard>(
    message: &MessageDescriptor,
    path: &str,
    values: &mut Values<R>,
) -> Vec<Fixed> {
    let fields = message.fields();
    let immutable = fields.filter(|field| behaviors(field).contains(&Behavior::Immutable));
    let fixed = immutable.filter_map(|field| {
        let known = R::FIELDS.fields.iter().find(|known| known.name == field.name())?;
        let mut columns = <R::Entity as EntityTrait>::Column::iter();
        let column = columns.find(|column| column.as_str() == known.column)?;
        match values.take(column) {
            ActiveValue::Set(value) => {
                let field = format!("{path}.{}", known.name);
                Some(Fixed { field, column: known.column, value })
            }
            _ => None,
        }
    });
    fixed.collect()
}

/// Checks a Delete request.
pub fn removal(
    check: &mut Check<'_>,
    prefix: &str,
    id: &str,
    etag: &str,
    allow_missing: bool,
) -> Option<Removal> {
    let id = check.id(id)?;
    check.once(&format!("{prefix}id"), id);
    let expected = check.etag(id, etag);
    Some(Removal { prefix: prefix.to_owned(), id, expected, allow_missing, force: false })
}

/// Checks a single request as a batch of one.
pub fn alone<E: BatchEntry>(check: &mut Check<'_>, request: E) -> Option<Vec<E::Checked>> {
    Some(vec![request.checked(check, "")?])
}

/// Checks every entry of a batch and collects the violations of all.
pub fn batch<E: BatchEntry>(check: &mut Check<'_>, requests: Vec<E>) -> Option<Vec<E::Checked>> {
    let checked: Vec<Option<E::Checked>> = requests
        .into_iter()
        .enumerate()
        .map(|(index, request)| request.checked(check, &format!("requests[{index}].")))
        .collect();
    checked.into_iter().collect()
}

/// Checks the id of a Get.
pub fn id<R: Resource>(check: &Check<'_>, id: &str) -> Option<One> {
    Some(One { id: check.id(id)?, columns: check.columns::<R>("") })
}

/// Checks the ids of a BatchGet. `path` is the path of the resources in the answer.
pub fn ids<R: Resource>(check: &Check<'_>, ids: &[String], path: &str) -> Option<Ids> {
    let ids = ids.iter().map(|id| check.id(id)).collect::<Option<_>>()?;
    Some(Ids { ids, columns: check.columns::<R>(path), most: check.max_message_size })
}

/// The response of an operation on one row.
pub fn one<R: Standard>(mut rows: Vec<Row<R>>) -> R::Message
where
    R::Message: Default,
{
    rows.pop().map(R::message).unwrap_or_default()
}

/// The responses of an operation on many rows.
pub fn many<R: Standard>(rows: Vec<Row<R>>) -> Vec<R::Message> {
    rows.into_iter().map(R::message).collect()
}

fn set_id<R: Resource>(values: &mut Values<R>, id: Uuid) {
    let mut columns = <R::Entity as EntityTrait>::Column::iter();
    if let Some(column) = columns.find(|column| column.as_str() == "id") {
        values.set(column, id.into());
    }
}
