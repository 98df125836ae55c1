//! Child rows of the rows of an answer, read in one statement, up to a size.

use bookstore_store::{Connection, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, IdenStatic, Statement, Value,
};
use uuid::Uuid;

/// Reads columns of the rows of `E` whose column `parent` has one of these ids. Returns the rows of
/// each id in the order of their creation. A repeated id has its rows again.
///
/// If the rows exceed `most` bytes together, the answer ends before the first id whose rows were not
/// all read, so it is shorter than `ids`.
///
/// # Errors
/// [`StoreError::AnswerTooLarge`] if not even the first id's rows fit.
pub async fn children<E: EntityTrait, T: FromQueryResult>(
    connection: &Connection,
    parent: E::Column,
    columns: &[E::Column],
    ids: &[Uuid],
    most: usize,
) -> Result<Vec<Vec<T>>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement = statement::<E>(connection.get_database_backend(), parent, columns, ids);
    let read = connection.query_up_to(statement, most).await?;
    let mut children: Vec<Vec<T>> = ids.iter().map(|_| Vec::new()).collect();
    let mut last = 0;
    for (row, _) in &read.rows {
        let place: i64 = row.try_get("", "place")?;
        last = usize::try_from(place).unwrap_or_default();
        let of_place = children.get_mut(last);
        let of_place = of_place.ok_or_else(|| StoreError::internal("a place behind the last"))?;
        of_place.push(T::from_query_result(row, "")?);
    }
    if read.cut {
        // The next row may belong to the last id too.
        children.truncate(last);
        if children.is_empty() {
            let size = most.saturating_add(1);
            return Err(StoreError::AnswerTooLarge { size, limit: most });
        }
    }
    Ok(children)
}

/// The statement. Its text doesn't depend on the number of ids; `place` is the index of the id.
fn statement<E: EntityTrait>(
    backend: DbBackend,
    parent: E::Column,
    columns: &[E::Column],
    ids: &[Uuid],
) -> Statement {
    let (table, parent) = (E::default(), parent.as_str());
    let table = table.table_name();
    let columns = columns.iter().map(|column| format!(r#", child."{}""#, column.as_str()));
    let columns = columns.collect::<String>();
    let (place, parents, id, ids) = match backend {
        DbBackend::Postgres => (
            "parent.place - 1",
            "unnest($1) WITH ORDINALITY AS parent(id, place)",
            "parent.id",
            Value::from(ids.to_vec()),
        ),
        _ => {
            let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
            let ids = serde_json::Value::from(ids).to_string();
            ("parent.key", "json_each(?) AS parent", "unhex(parent.value)", Value::from(ids))
        }
    };
    let sql = format!(
        r#"SELECT {place} AS place{columns} FROM {parents} JOIN "{table}" AS child ON child."{parent}" = {id} ORDER BY 1, child."created_at", child."id""#
    );
    Statement::from_sql_and_values(backend, sql, [ids])
}
