//! Imports users whose passwords another program has hashed. No RPC does this: a caller could choose
//! a hash whose password is known to somebody else.

use std::collections::HashSet;

use bookstore_entity::user::{ActiveModel, Column, Entity};
use bookstore_proto::v1::CreateUserRequest;
use bookstore_query::crud::{self, Insert};
use bookstore_store::{
    Call, Connection, ConstraintCheck, FieldViolation, Store, StoreError, Write,
};
use futures_util::future::BoxFuture;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::User;
use crate::{
    rpc::{calls::Calls, refused::Refused, standard},
    security::password,
};

/// In the place of the password, which is not known, while the request is checked.
const PLACEHOLDER: &str = "********";

/// A checked user of a file.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// The line in the file, from 1 on.
    pub line: i64,
    /// The email as it is stored.
    pub email: String,
    /// The id that the file gives it.
    pub id: Option<String>,
    row: Insert<ActiveModel>,
}

impl ImportedUser {
    /// Checks a user as CreateUser does, and the hash.
    ///
    /// # Errors
    /// All fields at fault, by their names in the file.
    pub fn check(
        calls: &Calls,
        line: i64,
        mut request: CreateUserRequest,
        password_hash: String,
    ) -> Result<Self, Vec<FieldViolation>> {
        if let Some(user) = &mut request.user {
            user.password = PLACEHOLDER.to_owned();
        }
        let hash = password::check_foreign(&password_hash).err();
        let hash = hash.map(|problem| FieldViolation::new("password_hash", problem));
        let id = Some(request.id.clone()).filter(|id| !id.is_empty());
        let checked = calls.checked(request, |request, check| {
            standard::insert::<User>(check, "", request.user, &request.id)
        });
        let mut row = match checked {
            Ok(row) if hash.is_none() => row,
            Ok(_) => return Err(hash.into_iter().collect()),
            Err(Refused::Invalid(violations)) => {
                let named = |violation: FieldViolation| FieldViolation {
                    field: violation.field.trim_start_matches("user.").to_owned(),
                    ..violation
                };
                return Err(violations.into_iter().map(named).chain(hash).collect());
            }
            Err(_) => return Err(vec![FieldViolation::new("user", "can't be checked")]),
        };
        row.values.password_hash = Set(password_hash);
        row.path = format!("line {line}");
        row.id_path = format!("line {line}.id");
        let email = row.values.email.clone().take().unwrap_or_default();
        Ok(Self { line, email, id, row })
    }
}

/// Inserts users in one transaction. Those whose email a user has already stay as they are.
/// Returns their emails.
///
/// # Errors
/// If an id is taken, or the database fails. Nothing was inserted then, unless the error is
/// [`StoreError::CommitOutcomeUnknown`].
pub async fn import(store: &Store, users: &[ImportedUser]) -> Result<HashSet<String>, StoreError> {
    let call = Call::internal("ImportUsers");
    let rows = users.iter().map(|user| user.row.clone()).collect();
    let emails = users.iter().map(|user| user.email.clone()).collect();
    let committed = store.run(call, Box::new(ImportUsers { rows, emails })).await?;
    let present: Vec<String> = serde_json::from_slice(&committed.answer)
        .map_err(|error| StoreError::internal(error.to_string()))?;
    Ok(present.into_iter().collect())
}

struct ImportUsers {
    rows: Vec<Insert<ActiveModel>>,
    /// One a row.
    emails: Vec<String>,
}

impl Write for ImportUsers {
    fn name(&self) -> &'static str {
        "ImportUsers"
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async {
            let present = Entity::find()
                .select_only()
                .column(Column::Email)
                .filter(Column::Email.is_in(&self.emails));
            let present: Vec<String> = present.into_tuple().all(connection).await?;
            let is_new = |(_, email): &(_, &String)| !present.contains(email);
            let new = self.rows.iter().zip(&self.emails).filter(is_new);
            let new: Vec<_> = new.map(|(row, _)| row.clone()).collect();
            crud::insert::<User>(connection, &new).await?;
            serde_json::to_vec(&present).map_err(|error| StoreError::internal(error.to_string()))
        })
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        crud::checks_of_insert::<User>(&self.rows)
    }
}
