//! One SQL text for both engines. Migrations write `{word}` where the dialects differ.

use sea_orm_migration::{
    SchemaManager,
    sea_orm::{ConnectionTrait, DbBackend, DbErr},
};

/// The words, each with its text on PostgreSQL and on SQLite.
///
/// Both engines compare texts byte by byte, so that orders, unique constraints and page tokens
/// agree. It is SQLite's default. SQLite's type names are those of SeaORM's schema builder.
const WORDS: &[(&str, &str, &str)] = &[
    ("{uuid}", "uuid", "uuid_text"),
    ("{text}", "text COLLATE \"C\"", "text"),
    ("{double}", "double precision", "double"),
    ("{json}", "jsonb", "jsonb_text"),
    ("{json_type}", "jsonb_typeof", "json_type"),
    ("{time}", "timestamptz", "timestamp_with_timezone_text"),
    // The driver's form of a time has no fraction if that is zero. Another form would make two
    // texts of the same time.
    ("{now}", "now()", "(replace(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), '.000+', '+'))"),
    ("{bytes}", "bytea", "blob"),
    (
        "{random_32_bytes}",
        "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())",
        "randomblob(32)",
    ),
];

/// Runs statements, separated by semicolons, in the engine's dialect.
///
/// # Errors
/// What the database answers.
pub async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let postgres = manager.get_database_backend() == DbBackend::Postgres;
    let mut text = sql.to_owned();
    for (word, on_postgres, on_sqlite) in WORDS {
        text = text.replace(word, if postgres { on_postgres } else { on_sqlite });
    }
    manager.get_connection().execute_unprepared(&text).await.map(drop)
}

/// Like [`run`], on PostgreSQL alone.
///
/// # Errors
/// What the database answers.
pub async fn run_on_postgres(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    match manager.get_database_backend() {
        DbBackend::Postgres => run(manager, sql).await,
        _ => Ok(()),
    }
}
