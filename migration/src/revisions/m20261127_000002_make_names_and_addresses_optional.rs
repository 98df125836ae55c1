//! Lets `users.full_name` and `orders.shipping_address` be empty: a user may be known by the username
//! alone, and an order may be fetched.

use crate::prelude::*;

const FULL_NAME: &str = r#"CONSTRAINT "users_full_name_check" CHECK (length("full_name") <= 255)"#;
const SHIPPING_ADDRESS: &str =
    r#"CONSTRAINT "orders_shipping_address_check" CHECK (length("shipping_address") <= 500)"#;
const FORMER_FULL_NAME: &str =
    r#"CONSTRAINT "users_full_name_check" CHECK (length("full_name") BETWEEN 1 AND 255)"#;
const FORMER_SHIPPING_ADDRESS: &str = r#"CONSTRAINT "orders_shipping_address_check" CHECK (length("shipping_address") BETWEEN 1 AND 500)"#;

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new(
        "m20261127_000002_make_names_and_addresses_optional",
        "let users.full_name and orders.shipping_address be empty",
    )
    .after("m20261127_000001_grant_tables_by_name")
    .up([
        postgres(replacement("users", "users_full_name_check", FULL_NAME)),
        postgres(r#"ALTER TABLE "users" VALIDATE CONSTRAINT "users_full_name_check""#)
            .outside_transaction(),
        postgres(replacement("orders", "orders_shipping_address_check", SHIPPING_ADDRESS)),
        postgres(r#"ALTER TABLE "orders" VALIDATE CONSTRAINT "orders_shipping_address_check""#)
            .outside_transaction(),
        rebuild(Rebuild::of("users").replace_constraint("users_full_name_check", FULL_NAME)),
        rebuild(
            Rebuild::of("orders")
                .replace_constraint("orders_shipping_address_check", SHIPPING_ADDRESS),
        ),
    ])
    .down([
        postgres(replacement("users", "users_full_name_check", FORMER_FULL_NAME)).ask(names()),
        postgres(r#"ALTER TABLE "users" VALIDATE CONSTRAINT "users_full_name_check""#)
            .outside_transaction(),
        postgres(replacement("orders", "orders_shipping_address_check", FORMER_SHIPPING_ADDRESS))
            .ask(addresses()),
        postgres(r#"ALTER TABLE "orders" VALIDATE CONSTRAINT "orders_shipping_address_check""#)
            .outside_transaction(),
        rebuild(Rebuild::of("users").replace_constraint("users_full_name_check", FORMER_FULL_NAME))
            .ask(names()),
        rebuild(
            Rebuild::of("orders")
                .replace_constraint("orders_shipping_address_check", FORMER_SHIPPING_ADDRESS),
        )
        .ask(addresses()),
    ])
}

/// The constraint by another definition. The rows are verified by the step after it, which takes a
/// weaker lock.
fn replacement(table: &str, name: &str, definition: &str) -> String {
    format!(r#"ALTER TABLE "{table}" DROP CONSTRAINT "{name}", ADD {definition} NOT VALID"#)
}

/// What has to be filled before the names are required again.
fn names() -> Question {
    Question::no_rows(
        "every user has a full_name",
        r#"SELECT "id" FROM "users" WHERE "full_name" = ''"#,
    )
}

/// What has to be filled before the addresses are required again.
fn addresses() -> Question {
    Question::no_rows(
        "every order has a shipping_address",
        r#"SELECT "id" FROM "orders" WHERE "shipping_address" = ''"#,
    )
}
