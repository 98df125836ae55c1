//! The wanted schema: every entity as a table. What an entity can't express is written beside it in
//! SQL, with `{words}` where the dialects differ: defaults, CHECKs, other keys, indexes. Names
//! follow one rule: `books_pkey`, `books_title_check`, `users_email_key`, `books_category_id_fkey`,
//! `books_title_id_idx`.

mod create;
mod objects;
mod table;

pub use self::{
    objects::{Object, functions, objects},
    table::{Column, ForeignKey, Index, On, Table},
};

/// The tables, each after those that it refers to.
pub fn tables() -> Vec<Table> {
    vec![
        crate::sealing_key::table(),
        crate::category::table(),
        crate::book::table(),
        crate::item::table(),
        crate::user::table(),
        crate::post::table(),
        crate::review::table(),
        crate::cart::table(),
        crate::cart_item::table(),
        crate::order::table(),
        crate::order_item::table(),
        crate::idempotency_key::table(),
    ]
}

/// The SQL that makes the wanted schema in an empty database, with `{words}` for the dialects.
pub fn create(on: On) -> String {
    let mut statements: Vec<String> =
        functions(on).into_iter().map(|object| object.create).collect();
    statements.extend(tables().iter().map(|table| table.create(on)));
    statements.extend(objects(on).into_iter().map(|object| object.create));
    statements.join(";\n")
}
