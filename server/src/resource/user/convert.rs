//! Converts users between messages and rows, with the checks beyond the contract's rules.

use bookstore_entity::user::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateUsersRequest, BatchCreateUsersResponse, BatchDeleteUsersRequest,
    BatchGetUsersRequest, BatchGetUsersResponse, BatchUpdateUsersRequest, BatchUpdateUsersResponse,
    CreateUserRequest, DeleteUserRequest, GetUserRequest, ListUserOrderCountsRequest,
    ListUserOrderCountsResponse, ListUsersRequest, ListUsersResponse, Role, UpdateUserRequest,
    User as Message, UserOrderCount, VerifyPasswordRequest, VerifyPasswordResponse,
};
use bookstore_query::{
    crud::{Change, Insert},
    list::{ListQuery, Listed},
};
use bookstore_store::StoreError;

use unicode_normalization::UnicodeNormalization;

use super::{
    ROLES, User,
    operations::{
        CreateUsers, DeleteUsers, GetUser, GetUsers, ListUserOrderCounts, ListUsers, UpdateUsers,
        VerifyPassword, WithPassword,
    },
};
use crate::{
    rpc::{
        check::Check,
        etag, list,
        paths::Paths,
        request::ReadRequest,
        standard::{
            self, BatchEntry, Standard, standard_batch_get, standard_delete, standard_get,
            standard_list, standard_write,
        },
        wire,
    },
    security::password::Password,
};

impl Standard for User {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            email: row.email,
            username: row.username,
            full_name: row.full_name,
            is_active: Some(row.is_active),
            role: role(&row.role).into(),
            avatar_url: row.avatar_url,
            bio: row.bio,
            // The password is never returned.
            password: String::new(),
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
        }
    }

    fn key(user: &Message) -> &str {
        &user.id
    }

    fn etag(user: &Message) -> &str {
        &user.etag
    }

    fn values(check: &mut Check<'_>, path: &str, user: Message, mask: &Paths) -> ActiveModel {
        for (field, text) in
            [("email", &user.email), ("username", &user.username), ("full_name", &user.full_name)]
        {
            if mask.contains(field) {
                check.visible(format!("{path}.{field}"), text);
            }
        }
        let email = as_stored(&user.email);
        // A letter in lower case may be longer than it was.
        if mask.contains("email")
            && email.chars().count() > 255
            && user.email.chars().count() <= 255
        {
            check.violation(
                format!("{path}.email"),
                "must have at most 255 characters in lower case",
            );
        }
        ActiveModel {
            email: mask.pick("email", email),
            username: mask.pick("username", user.username.nfc().collect()),
            full_name: mask.pick("full_name", user.full_name.nfc().collect()),
            // Hashed later, by the operation; nothing is stored without that.
            password_hash: mask.pick("password", String::new()),
            is_active: mask.pick("is_active", user.is_active.unwrap_or(true)),
            role: mask.pick("role", column(user.role)),
            avatar_url: mask.pick("avatar_url", user.avatar_url),
            bio: mask.pick("bio", user.bio),
            ..Default::default()
        }
    }
}

standard_get!(User: GetUserRequest => GetUser);
standard_list!(User: ListUsersRequest => ListUsers, ListUsersResponse { users });
standard_list!(User: ListUserOrderCountsRequest => ListUserOrderCounts, ListUserOrderCountsResponse { user_order_counts.user } by order_counts);
standard_batch_get!(User: BatchGetUsersRequest => GetUsers, BatchGetUsersResponse { users });
standard_write!(User: CreateUserRequest, BatchCreateUsersRequest => CreateUsers, BatchCreateUsersResponse { users });
standard_write!(User: UpdateUserRequest, BatchUpdateUsersRequest => UpdateUsers, BatchUpdateUsersResponse { users });
standard_delete!(DeleteUserRequest, BatchDeleteUsersRequest => DeleteUsers, force);

impl BatchEntry for CreateUserRequest {
    type Checked = WithPassword<Insert<ActiveModel>>;

    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked> {
        let password = password(self.user.as_ref());
        let row = standard::insert::<User>(check, prefix, self.user, &self.id)?;
        Some(WithPassword { row, password })
    }
}

impl BatchEntry for UpdateUserRequest {
    type Checked = WithPassword<Change<ActiveModel>>;

    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked> {
        let Self { user, update_mask, allow_missing } = self;
        let password = password(user.as_ref());
        let mask = update_mask.as_ref();
        let row = standard::change::<User>(check, prefix, user, mask, allow_missing)?;
        Some(WithPassword { row, password })
    }
}

impl ReadRequest for VerifyPasswordRequest {
    type Query = VerifyPassword;
    type Answer = VerifyPasswordResponse;

    fn query(self, _: &mut Check<'_>) -> Option<VerifyPassword> {
        let password = Password::new(self.password);
        Some(VerifyPassword { email: as_stored(&self.email), password })
    }

    fn answer(
        _: &VerifyPassword,
        user: Option<Model>,
    ) -> Result<VerifyPasswordResponse, StoreError> {
        Ok(VerifyPasswordResponse { user: user.map(User::message) })
    }
}

fn order_counts(
    query: &ListQuery,
    listed: Listed<(Model, i64)>,
) -> Result<list::Page<UserOrderCount>, StoreError> {
    list::page_of::<User, _, _>(query, listed, |user, order_count| UserOrderCount {
        user: Some(User::message(user)),
        order_count,
    })
}

/// An email as its column has it: composed and in lower case, so that each is there once.
fn as_stored(email: &str) -> String {
    email.nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn password(user: Option<&Message>) -> Password {
    Password::new(user.map(|user| user.password.clone()).unwrap_or_default())
}

/// A role as the contract's enum.
fn role(column: &str) -> Role {
    let name = ROLES.iter().find(|(_, stored)| *stored == column).map(|(name, _)| *name);
    name.and_then(Role::from_str_name).unwrap_or_default()
}

/// A role as its column's text. The contract's rules have refused other numbers.
fn column(role: i32) -> String {
    let name = Role::try_from(role).unwrap_or_default().as_str_name();
    let found = ROLES.iter().find(|(known, _)| *known == name);
    let (_, stored) = found.unwrap_or(&ROLES[0]);
    (*stored).to_owned()
}
