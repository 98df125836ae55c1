//! The embedded snapshot equals the schema of the migrations and that of the entities. A role that
//! may create nothing is checked by the snapshot.

use std::{env, fs};

use bookstore_entity::schema::{self, On};
use bookstore_migration::{
    catalog::Catalog,
    chain::Chain,
    check::{SNAPSHOT, Scratch, replayed},
    drift::compare,
    revision::Engine as Dialect,
    session::MigrationSession,
    sql::dialect,
};
use bookstore_tests::{Database, Engine, Replicated, on_every_engine};
use sea_orm::ConnectionTrait;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{check, findings, migrated};
use crate::tidy::root;

on_every_engine!(schema_built_from_entities_equals_the_migrated_one);

/// How to rewrite the snapshot.
const REWRITE: &str = "BOOKSTORE_WRITE_GOLDEN=1 cargo test --workspace drift::snapshot";

async fn memory() -> MigrationSession {
    // Off as in a run of `migrate up`, because revisions rebuild tables.
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(false);
    let connection = SqliteConnection::connect_with(&options).await;
    MigrationSession::sqlite(connection.expect("a database in memory"))
}

/// A session of the schema's owner, in a transaction.
async fn owner(database: &Database) -> MigrationSession {
    let connection = sqlx::PgConnection::connect(&database.owner_url()).await;
    let session = MigrationSession::postgres(connection.expect("a session of the owner"));
    session.execute_unprepared("BEGIN").await.expect("a transaction");
    session
}

#[tokio::test]
async fn schema_snapshot_equals_the_replayed_migrations() {
    let database = migrated(Engine::Postgres).await;
    let session = owner(&database).await;
    let chain = Chain::released().expect("a chain");
    let scratch = Scratch::make(&session).await.expect("an answer").expect("a schema");
    scratch.replay(chain.revisions()).await.expect("a replay");
    let text = scratch.read().await.expect("a catalog").to_snapshot();
    if env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        let path = root().join("migration/src/catalog/head.postgres.tsv");
        fs::write(path, text).expect("the snapshot");
        return;
    }
    assert!(text == SNAPSHOT, "the snapshot differs from the replay: {REWRITE}");
}

/// The schema built from the entities and their declarations equals that of the migrations.
async fn schema_built_from_entities_equals_the_migrated_one(engine: Engine) {
    let chain = Chain::released().expect("a chain");
    let (expected, wanted) = match engine {
        Engine::Sqlite => {
            let expected = replayed(&memory().await, chain.revisions()).await.expect("a replay");
            let session = memory().await;
            let sql = dialect::resolve(&schema::create(On::Sqlite), Dialect::Sqlite);
            session.execute_unprepared(&sql).await.expect("the wanted schema");
            (expected, Catalog::read(&session).await.expect("a catalog"))
        }
        Engine::Postgres => {
            let database = migrated(engine).await;
            let expected = Catalog::from_snapshot(Dialect::Postgres, SNAPSHOT).expect("a snapshot");
            let session = owner(&database).await;
            let scratch = Scratch::make(&session).await.expect("an answer").expect("a schema");
            let sql = dialect::resolve(&schema::create(On::Postgres), Dialect::Postgres);
            scratch.run(&sql).await.expect("the wanted schema");
            (expected, scratch.read().await.expect("a catalog"))
        }
    };
    let findings = compare(&expected, &wanted).findings();
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(expected.objects.len() > 100, "{} objects", expected.objects.len());
}

/// A read-only role and a session that may create nothing are checked by the snapshot.
#[tokio::test]
async fn check_by_a_read_only_role_uses_the_snapshot() {
    let database = migrated(Engine::Postgres).await;
    let Database::Postgres(postgres) = &database else { unreachable!("asked for PostgreSQL") };
    let url = postgres.url("bookstore_reader");
    let checked = check(&url, &[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.output.contains("compared by snapshot"), "{checked:?}");
    database.sql("ALTER TABLE \"posts\" DROP CONSTRAINT \"posts_title_check\"").await;
    let (code, list) = findings(&url, &[]).await;
    assert_eq!((code, list.len()), (Some(1), 1), "{list:#?}");
    assert_eq!(list[0]["object"], "posts_title_check");
}

#[tokio::test]
async fn check_of_a_replica_finds_nothing() {
    let cluster = Replicated::start(1).await;
    cluster.execute(0, "CREATE INDEX \"by_role\" ON \"users\" (\"role\")").await;
    cluster.caught_up(0, 1).await;
    let (code, list) = findings(&cluster.url("bookstore_app", 1), &[]).await;
    assert_eq!((code, list.len()), (Some(1), 1), "{list:#?}");
    assert_eq!(list[0]["object"], "by_role");
}

/// A check takes no lock above ACCESS SHARE, so it waits for ACCESS EXCLUSIVE only.
#[tokio::test]
async fn check_waits_for_no_lock_but_access_exclusive() {
    let database = migrated(Engine::Postgres).await;
    let Database::Postgres(postgres) = &database else { unreachable!("asked for PostgreSQL") };
    let mut holder = postgres.connect().await;
    // EXCLUSIVE conflicts with every lock but ACCESS SHARE.
    let hold = "BEGIN; DO $$ DECLARE t text; BEGIN FOR t IN SELECT relname FROM pg_class \
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP \
                EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', t); END LOOP; END $$";
    sqlx::raw_sql(hold).execute(&mut holder).await.expect("locks");
    let checked = check(&database.owner_url(), &[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.output.contains("compared by replay"), "{checked:?}");
}
