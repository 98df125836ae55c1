//! One SQL text for both engines: steps use `{word}` where the dialects differ.

use crate::revision::Engine;

/// The words, each with what it stands for on PostgreSQL and on SQLite.
///
/// Text is compared byte by byte on both, so that orders, unique constraints and
/// page tokens agree; SQLite does that by itself. SQLite's type names are those that
/// SeaORM gives the same columns.
pub const WORDS: &[(&str, &str, &str)] = &[
    ("{uuid}", "uuid", "uuid_text"),
    ("{text}", "text COLLATE \"C\"", "text"),
    ("{double}", "double precision", "double"),
    ("{json}", "jsonb", "jsonb_text"),
    ("{json_type}", "jsonb_typeof", "json_type"),
    ("{time}", "timestamptz", "timestamp_with_timezone_text"),
    // As the driver writes times: without a fraction where it is zero, or the same moment
    // would be two texts.
    ("{now}", "now()", "(replace(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), '.000+', '+'))"),
    ("{bytes}", "bytea", "blob"),
    (
        "{random_32_bytes}",
        "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())",
        "randomblob(32)",
    ),
];

/// Writes a text in an engine's dialect.
pub fn resolve(text: &str, engine: Engine) -> String {
    let mut text = text.to_owned();
    for (word, on_postgres, on_sqlite) in WORDS {
        let meant = match engine {
            Engine::Postgres => on_postgres,
            Engine::Sqlite => on_sqlite,
        };
        text = text.replace(word, meant);
    }
    text
}
