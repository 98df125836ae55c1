//! Allows empty texts in `users.full_name` and `orders.shipping_address`: an empty text means none.
//!
//! The columns stay NOT NULL. An older program that still runs beside a newer one fails at a NULL and
//! reads an empty text, and lists by `full_name` need a value in each row.

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
        "m20261127_000012_make_names_and_addresses_optional",
        "allow empty users.full_name and orders.shipping_address",
    )
    .after("m20261127_000011_find_words_without_accents")
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
        // Nothing is reverted unless both tables can be.
        postgres("SELECT 1").ask(addresses()).ask(names()),
        postgres(reverted("orders", "orders_shipping_address_check", FORMER_SHIPPING_ADDRESS))
            .ask(addresses()),
        postgres("SELECT 1"),
        postgres(reverted("users", "users_full_name_check", FORMER_FULL_NAME)).ask(names()),
        rebuild(
            Rebuild::of("orders")
                .replace_constraint("orders_shipping_address_check", FORMER_SHIPPING_ADDRESS),
        )
        .ask(addresses()),
        rebuild(Rebuild::of("users").replace_constraint("users_full_name_check", FORMER_FULL_NAME))
            .ask(names()),
    ])
}

/// Replaces a CHECK. It checks no row of the table. The next step does this with a lock that does not
/// block writes (PostgreSQL, ALTER TABLE, VALIDATE CONSTRAINT).
fn replacement(table: &str, name: &str, definition: &str) -> String {
    format!("{} NOT VALID", reverted(table, name, definition))
}

/// Replaces a CHECK and checks every row of the table.
fn reverted(table: &str, name: &str, definition: &str) -> String {
    format!(r#"ALTER TABLE "{table}" DROP CONSTRAINT "{name}", ADD {definition}"#)
}

/// Users without a name, which the former CHECK refuses.
fn names() -> Question {
    Question::no_rows(
        "a full_name of every user",
        r#"SELECT "id" FROM "users" WHERE "full_name" = ''"#,
    )
}

/// Orders without an address, which the former CHECK refuses.
fn addresses() -> Question {
    Question::no_rows(
        "a shipping_address of every order",
        r#"SELECT "id" FROM "orders" WHERE "shipping_address" = ''"#,
    )
}
