//! A user in a line of JSON.

use bookstore_proto::v1::{CreateUserRequest, Role, User};
use bookstore_store::FieldViolation;
use serde_json::{Map, Value};

/// The fields of a line.
const FIELDS: &str =
    "id, email, username, full_name, password_hash, is_active, role, avatar_url, bio";

/// The name of the violated field where the whole line is wrong.
pub(super) const LINE: &str = "the line";

/// Reads a line: the user and the hash.
///
/// # Errors
/// All fields at fault. The text of a line is not repeated, since it holds a hash.
pub(super) fn read(line: &str) -> Result<(CreateUserRequest, String), Vec<FieldViolation>> {
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
        let description = format!("is no JSON object (column {})", error.column());
        vec![FieldViolation::new(LINE, description)]
    })?;
    let mut violations = Vec::new();
    let (mut user, mut id, mut password_hash) = (User::default(), String::new(), None);
    for (name, value) in object {
        let mut wrong = |description: &str| {
            violations.push(FieldViolation::new(name.clone(), description));
        };
        match (name.as_str(), value) {
            // As if it were absent.
            (
                "id" | "email" | "username" | "full_name" | "password_hash" | "is_active" | "role"
                | "avatar_url" | "bio",
                Value::Null,
            ) => {}
            ("id", Value::String(text)) => id = text,
            ("email", Value::String(text)) => user.email = text,
            ("username", Value::String(text)) => user.username = text,
            ("full_name", Value::String(text)) => user.full_name = text,
            ("password_hash", Value::String(text)) => password_hash = Some(text),
            ("avatar_url", Value::String(text)) => user.avatar_url = Some(text),
            ("bio", Value::String(text)) => user.bio = Some(text),
            ("is_active", Value::Bool(is_active)) => user.is_active = Some(is_active),
            ("is_active", _) => wrong("must be true or false"),
            ("role", Value::String(text)) => match text.to_ascii_uppercase().as_str() {
                "USER" | "ROLE_USER" => user.set_role(Role::User),
                "ADMIN" | "ROLE_ADMIN" => user.set_role(Role::Admin),
                _ => wrong("must be USER or ADMIN"),
            },
            (
                "id" | "email" | "username" | "full_name" | "password_hash" | "role" | "avatar_url"
                | "bio",
                _,
            ) => wrong("must be a string"),
            _ => wrong(&format!("is no field of a user; the fields are {FIELDS}")),
        }
    }
    if password_hash.is_none() && violations.iter().all(|it| it.field != "password_hash") {
        violations.push(FieldViolation::new("password_hash", "is required"));
    }
    match password_hash {
        Some(hash) if violations.is_empty() => {
            Ok((CreateUserRequest { user: Some(user), id }, hash))
        }
        _ => Err(violations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_with_faults_names_every_field() {
        let line = r#"{"email": 7, "is_active": "yes", "role": "KING", "created_at": "now"}"#;
        let mut fields: Vec<_> = read(line).unwrap_err().into_iter().map(|it| it.field).collect();
        fields.sort();
        assert_eq!(fields, ["created_at", "email", "is_active", "password_hash", "role"]);
        let error = read("{\"password_hash\": \"$2b$secret").unwrap_err();
        assert_eq!(error[0].field, LINE);
        assert!(!error[0].description.contains("secret"), "{error:?}");
    }
}
