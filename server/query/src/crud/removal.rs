//! Deletions of rows, in batches, with the rows that refer to them.

use bookstore_store::{Connection, ConstraintCheck, ConstraintRule, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::{Alias, Expr, Query},
};
use uuid::Uuid;

use crate::crud::{
    ids::{column_in, id_is},
    resource::{Expected, Removal, Resource},
    write::{ROUNDS, came_and_went, lock, lock_all, missed, state_is},
};

/// Deletes rows. Locks all in the order of their ids first.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::EtagMismatch`], [`StoreError::Constraint`] if other
/// rows refer to one.
pub async fn delete<R: Resource>(
    connection: &Connection,
    removals: &[Removal],
) -> Result<(), StoreError> {
    let forced: Vec<Uuid> = removals.iter().filter(|it| it.force).map(|it| it.id).collect();
    if forced.is_empty() {
        lock::<R>(connection, removals.iter().map(|removal| removal.id)).await?;
    } else {
        // The locks prevent new references. A wrong etag fails here, before anything is deleted.
        lock_for_delete::<R>(connection, removals).await?;
        delete_referrers::<R>(connection, &forced).await?;
    }
    for removal in removals {
        delete_one::<R>(connection, removal).await?;
    }
    Ok(())
}

/// The size of the answer to the deletion of one row, in bytes. Several rows need a transaction, and
/// so does one whose referring rows are deleted first.
pub fn single_delete<R: Resource>(removals: &[Removal], _backend: DbBackend) -> Option<usize> {
    matches!(removals, [removal] if !removal.force).then_some(0)
}

/// The constraint checks of deletions: the ids that other rows may refer to, unless `force` deletes
/// those rows.
pub fn checks_of_removal<R: Resource>(removals: &[Removal]) -> Vec<ConstraintCheck> {
    let checks = removals.iter().flat_map(|removal| {
        let constraints = R::CONSTRAINTS.iter();
        let unused = constraints.filter(|constraint| match constraint.rule {
            ConstraintRule::Unused { forced, .. } => !(forced && removal.force),
            ConstraintRule::Unique | ConstraintRule::Exists(..) => false,
        });
        unused.map(|constraint| ConstraintCheck {
            constraint,
            field: format!("{}{}", removal.prefix, constraint.field),
            values: vec![removal.id.into()],
            own: None,
            only_new: false,
        })
    });
    checks.collect()
}

/// Locks rows and checks that [`delete`] will find them in the right state. It is for operations
/// that do more before the deletion.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::EtagMismatch`].
pub async fn lock_for_delete<R: Resource>(
    connection: &Connection,
    removals: &[Removal],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = removals.iter().map(|removal| removal.id).collect();
    lock_all(connection, R::FIELDS.table, "id", ids.into_iter()).await?;
    for removal in removals {
        let mut query = Query::select();
        query
            .expr(Expr::cust("1"))
            .from(R::Entity::default())
            .and_where(id_is(removal.id))
            .and_where(state_is(removal.expected));
        if connection.query_one(&query).await?.is_none() {
            match missed::<R>(connection, removal.id, &removal.prefix).await? {
                StoreError::NotFound { .. } if removal.allow_missing => {}
                error => return Err(error),
            }
        }
    }
    Ok(())
}

/// Deletes the rows that refer to rows to be deleted with `force`.
async fn delete_referrers<R: Resource>(
    connection: &Connection,
    ids: &[Uuid],
) -> Result<(), StoreError> {
    for constraint in R::CONSTRAINTS {
        let (ConstraintRule::Unused { forced: true, .. }, [column]) =
            (constraint.rule, constraint.columns)
        else {
            continue;
        };
        lock_all(connection, constraint.table, column, ids.iter().copied()).await?;
        let mut delete = Query::delete();
        delete
            .from_table(Alias::new(constraint.table))
            .and_where(column_in(connection, column, ids));
        connection.execute(&delete).await?;
    }
    Ok(())
}

async fn delete_one<R: Resource>(
    connection: &Connection,
    removal: &Removal,
) -> Result<(), StoreError> {
    for _ in 0..ROUNDS {
        let statement =
            R::Entity::delete_many().filter(id_is(removal.id)).filter(state_is(removal.expected));
        if statement.exec(connection).await?.rows_affected > 0 {
            return Ok(());
        }
        match missed::<R>(connection, removal.id, &removal.prefix).await? {
            StoreError::NotFound { .. } if removal.allow_missing => return Ok(()),
            StoreError::EtagMismatch { .. } if removal.expected == Expected::Any => {}
            error => return Err(error),
        }
    }
    Err(came_and_went())
}
