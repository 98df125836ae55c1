//! The statements of the bookkeeping, as texts: the runner runs them, and `migrate sql` writes
//! the same.

use super::PROGRAM;
use crate::{
    listing,
    revision::{Engine, Revision, Step, hex},
    roles,
    sql::literal,
};
use sha2::{Digest, Sha256};

fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
}

/// The seconds since 1970.
fn now(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "CAST(extract(epoch FROM now()) AS bigint)",
        Engine::Sqlite => "CAST(strftime('%s', 'now') AS integer)",
    }
}

/// Creates the missing tables, and grants them.
pub fn install(engine: Engine) -> Vec<String> {
    // As sea-orm-migration 2.0.4 makes it.
    let seaql = match engine {
        Engine::Postgres => {
            r#"CREATE TABLE IF NOT EXISTS "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" bigint NOT NULL )"#
        }
        Engine::Sqlite => {
            r#"CREATE TABLE IF NOT EXISTS "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" integer NOT NULL )"#
        }
    };
    let mut statements = vec![
        seaql.to_owned(),
        r#"CREATE TABLE IF NOT EXISTS "bookstore_migrations" (
    "version" text NOT NULL,
    "parent" text,
    "message" text NOT NULL,
    "author" text,
    "minimum_head" text,
    "hash" text NOT NULL,
    "sql" text NOT NULL,
    "program" text,
    "note" text,
    CONSTRAINT "bookstore_migrations_pkey" PRIMARY KEY ("version")
)"#
        .to_owned(),
        r#"CREATE TABLE IF NOT EXISTS "bookstore_migration_steps" (
    "version" text NOT NULL,
    "step" integer NOT NULL,
    "hash" text NOT NULL,
    "state" text NOT NULL,
    "recorded_at" bigint NOT NULL,
    CONSTRAINT "bookstore_migration_steps_pkey" PRIMARY KEY ("version", "step"),
    CONSTRAINT "bookstore_migration_steps_state_check" CHECK ("state" IN ('STARTED', 'DONE'))
)"#
        .to_owned(),
        r#"CREATE TABLE IF NOT EXISTS "bookstore_migration_lock" (
    "id" integer NOT NULL,
    "backend" integer NOT NULL,
    "process" bigint NOT NULL,
    "host" text NOT NULL,
    "since" bigint NOT NULL,
    "revision" text NOT NULL,
    CONSTRAINT "bookstore_migration_lock_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "bookstore_migration_lock_id_check" CHECK ("id" = 1)
)"#
        .to_owned(),
    ];
    if engine == Engine::Postgres {
        statements.push(roles::grant_bookkeeping());
    }
    statements
}

/// The row of a revision's details, in place of one that is there.
fn details(
    revision: &Revision,
    engine: Engine,
    program: Option<&str>,
    note: Option<&str>,
) -> Vec<String> {
    let name = literal(&revision.name);
    let row = [
        name.clone(),
        or_null(revision.parent.as_deref()),
        literal(&revision.message),
        or_null(revision.author.as_deref()),
        or_null(revision.minimum_head.as_deref()),
        literal(&revision.hash(engine)),
        literal(&listing::text(revision, engine)),
        or_null(program),
        or_null(note),
    ];
    vec![
        format!(r#"DELETE FROM "bookstore_migrations" WHERE "version" = {name}"#),
        format!(
            r#"INSERT INTO "bookstore_migrations" ("version", "parent", "message", "author", "minimum_head", "hash", "sql", "program", "note") VALUES ({})"#,
            row.join(", ")
        ),
    ]
}

/// Records that a revision is applied. `note` says how, where no step ran (`stamp`).
pub fn record(revision: &Revision, engine: Engine, note: Option<&str>) -> Vec<String> {
    let (name, now) = (literal(&revision.name), now(engine));
    let mut statements = vec![format!(
        r#"INSERT INTO "seaql_migrations" ("version", "applied_at") VALUES ({name}, {now})"#
    )];
    statements.extend(details(revision, engine, Some(PROGRAM), note));
    statements.push(forget_steps(&name));
    statements
}

fn forget_steps(name: &str) -> String {
    format!(r#"DELETE FROM "bookstore_migration_steps" WHERE "version" = {name}"#)
}

/// Records that a revision is not applied.
pub fn unrecord(name: &str) -> Vec<String> {
    let name = literal(name);
    vec![
        format!(r#"DELETE FROM "seaql_migrations" WHERE "version" = {name}"#),
        format!(r#"DELETE FROM "bookstore_migrations" WHERE "version" = {name}"#),
        forget_steps(&name),
    ]
}

/// Records the details of a revision that a program without them has applied.
pub fn adopt(revision: &Revision, engine: Engine) -> Vec<String> {
    details(revision, engine, None, Some("adopted"))
}

/// Records this program's hash of a revision in place of another, and why.
pub fn record_note(revision: &Revision, engine: Engine, reason: &str) -> Vec<String> {
    let (name, hash) = (literal(&revision.name), literal(&revision.hash(engine)));
    let text = literal(&listing::text(revision, engine));
    let note = literal(&format!("repaired: {reason}"));
    vec![format!(
        r#"UPDATE "bookstore_migrations" SET "hash" = {hash}, "sql" = {text}, "note" = {note} WHERE "version" = {name}"#
    )]
}

/// The hash of one step.
pub(crate) fn step_hash(step: &Step, engine: Engine) -> String {
    hex(&Sha256::digest(step.canonical(engine)))
}

fn step(name: &str, at: usize, step: &Step, engine: Engine, state: &str) -> Vec<String> {
    let (name, hash, now) = (literal(name), literal(&step_hash(step, engine)), now(engine));
    vec![
        forget_step(&name, at),
        format!(
            r#"INSERT INTO "bookstore_migration_steps" ("version", "step", "hash", "state", "recorded_at") VALUES ({name}, {at}, {hash}, '{state}', {now})"#
        ),
    ]
}

fn forget_step(name: &str, at: usize) -> String {
    format!(r#"DELETE FROM "bookstore_migration_steps" WHERE "version" = {name} AND "step" = {at}"#)
}

/// Records that a step outside a transaction begins; steps count from 1.
pub fn step_started(name: &str, at: usize, done: &Step, engine: Engine) -> Vec<String> {
    step(name, at, done, engine, "STARTED")
}

/// Records that a step is done.
pub fn step_done(name: &str, at: usize, done: &Step, engine: Engine) -> Vec<String> {
    step(name, at, done, engine, "DONE")
}

/// Records that a step is undone.
pub fn step_undone(name: &str, at: usize) -> Vec<String> {
    vec![forget_step(&literal(name), at)]
}

/// Records the holder of the lock and its current revision; `since` is in seconds since 1970.
pub fn lock_holder(
    backend: i32,
    process: u32,
    host: &str,
    since: i64,
    revision: &str,
) -> Vec<String> {
    let (host, revision) = (literal(host), literal(revision));
    vec![
        r#"DELETE FROM "bookstore_migration_lock""#.to_owned(),
        format!(
            r#"INSERT INTO "bookstore_migration_lock" ("id", "backend", "process", "host", "since", "revision") VALUES (1, {backend}, {process}, {host}, {since}, {revision})"#
        ),
    ]
}
