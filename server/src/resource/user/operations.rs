//! The reads and writes of users, with checked values.

use std::collections::HashMap;

use bookstore_entity::{
    order,
    user::{ActiveModel, Column, Entity, Model},
};
use bookstore_query::{
    crud::{self, Change, Ids, Insert, One, Removal},
    list::{self, ListQuery, Listed},
};
use bookstore_store::{Connection, ConstraintCheck, Operation, Precondition, Query, StoreError};
use sea_orm::{ActiveValue, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::{
    User,
    renewal::{self, Renewal},
};
use crate::{
    rpc::stamp::{operations, queries},
    security::password::{self, Match, Password, PasswordError},
};

/// There is an active user with the email and the password of the request.
const PASSWORD_MISMATCH: Precondition =
    Precondition::new("PASSWORD_MISMATCH", "no active user has this email and this password");

queries! {
    /// Reads one user.
    GetUser(One) -> Model = crud::get::<User>, crud::row_by_id::<User>, crud::of_row::<User>;
    /// Reads many users by their ids.
    GetUsers(Ids) -> Vec<Model> = crud::get_many::<User>, crud::rows_by_id::<User>, crud::of_rows::<User>;
    /// Reads a page of the list.
    ListUsers(ListQuery) -> Listed<Model> = list::list::<User>;
    /// Reads a page of the list, with how many orders each user has placed.
    ListUserOrderCounts(ListQuery) -> Listed<(Model, i64)> = list_order_counts;
}

operations! {
    /// Deletes users, and with `force` also their carts, reviews and posts.
    DeleteUsers(Vec<Removal>) -> () = crud::delete::<User>, crud::checks_of_removal::<User>, crud::single_delete::<User>;
}

/// A user to write, with the request's password.
pub struct WithPassword<T> {
    /// The user. Where the password is to be written its hash is set, and empty at first.
    pub row: T,
    /// The password; empty if the request has none.
    pub password: Password,
}

/// Creates users.
pub struct CreateUsers(pub Vec<WithPassword<Insert<ActiveModel>>>);

impl Operation for CreateUsers {
    const NAME: &'static str = "CreateUsers";
    type Output = Vec<Model>;

    async fn prepare(&mut self) -> Result<(), StoreError> {
        let passwords = self.0.iter().map(|user| Some(user.password.clone())).collect();
        for (user, hash) in self.0.iter_mut().zip(hashes(passwords).await?) {
            set(&mut user.row.values, hash);
        }
        Ok(())
    }

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::insert::<User>(connection, &rows(&self.0)).await
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        crud::checks_of_insert::<User>(&rows(&self.0))
    }
}

/// Changes users.
pub struct UpdateUsers(pub Vec<WithPassword<Change<ActiveModel>>>);

impl Operation for UpdateUsers {
    const NAME: &'static str = "UpdateUsers";
    type Output = Vec<Model>;

    async fn prepare(&mut self) -> Result<(), StoreError> {
        let passwords = self.0.iter().map(|WithPassword { row, password }| {
            let is_written = row.values.password_hash.is_set();
            (is_written || matches!(row.otherwise, Some(Ok(_)))).then(|| password.clone())
        });
        let hashes = hashes(passwords.collect()).await?;
        for (WithPassword { row, .. }, hash) in self.0.iter_mut().zip(hashes) {
            if let Some(Ok(new)) = &mut row.otherwise {
                set(new, hash.clone());
            }
            set(&mut row.values, hash);
        }
        Ok(())
    }

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::update::<User>(connection, &rows(&self.0)).await
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        crud::checks_of_update::<User>(&rows(&self.0))
    }
}

/// Finds the active user with this email and this password; without one it fails with
/// [`PASSWORD_MISMATCH`].
pub struct VerifyPassword {
    /// The email in lower case.
    pub email: String,
    /// The password to compare.
    pub password: Password,
}

impl Query for VerifyPassword {
    const NAME: &'static str = "VerifyPassword";
    type Output = Option<Model>;

    async fn fetch(&self, connection: &Connection) -> Result<Option<Model>, StoreError> {
        Ok(Entity::find().filter(Column::Email.eq(&self.email)).one(connection).await?)
    }

    async fn conclude(&self, user: Option<Model>) -> Result<Option<Model>, StoreError> {
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let found = self.password.clone().is_of(stored).await.map_err(violation)?;
        match user.filter(|user| found != Match::Wrong && user.is_active) {
            Some(user) => {
                if found == Match::Weak {
                    let (weak, password) = (user.password_hash.clone(), self.password.clone());
                    renewal::ask(Renewal { id: user.id, weak, password });
                }
                Ok(Some(user))
            }
            None => Err(PASSWORD_MISMATCH.into()),
        }
    }
}

/// Two statements, however many users.
async fn list_order_counts(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Listed<(Model, i64)>, StoreError> {
    let users = list::list::<User>(connection, query).await?;
    let ids: Vec<Uuid> = users.rows.iter().map(|user| user.id).collect();
    let counts = order::Entity::find()
        .select_only()
        .column(order::Column::UserId)
        .column_as(order::Column::Id.count(), "count")
        .filter(crud::column_in(connection, "user_id", &ids))
        .group_by(order::Column::UserId);
    let counts: Vec<(Uuid, i64)> = counts.into_tuple().all(connection).await?;
    let counts: HashMap<Uuid, i64> = counts.into_iter().collect();
    let counts = ids.iter().map(|id| counts.get(id).copied().unwrap_or(0)).collect();
    Ok(users.beside(counts))
}

/// Hashes the passwords that are to be written.
async fn hashes(passwords: Vec<Option<Password>>) -> Result<Vec<Option<String>>, StoreError> {
    password::hash_all(passwords).await.map_err(violation)
}

/// Sets the hash where it is to be written.
fn set(user: &mut ActiveModel, hash: Option<String>) {
    if let (true, Some(hash)) = (user.password_hash.is_set(), hash) {
        user.password_hash = ActiveValue::Set(hash);
    }
}

fn rows<T: Clone>(users: &[WithPassword<T>]) -> Vec<T> {
    users.iter().map(|user| user.row.clone()).collect()
}

fn violation(error: PasswordError) -> StoreError {
    match error {
        PasswordError::Busy => StoreError::Overloaded,
        PasswordError::Fault(_) => StoreError::internal(error.to_string()),
    }
}
