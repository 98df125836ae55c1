//! An older program on a newer schema, and databases of programs before hashes.

use bookstore_migration::bookkeeping::TABLES;
use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, REVISIONS, TestServer, known_revisions, on_every_engine, until};
use serde_json::{Value, json};

use super::{Migrator, SOON, migrated, records};
use crate::client;

on_every_engine!(
    older_program_works_on_a_newer_schema,
    revision_with_a_minimum_head_refuses_older_programs,
    database_without_hashes_is_adopted_once,
    newer_program_waits_for_its_schema_while_an_older_serves,
);

const NEWER: &str = "m29990101_000001_newer";

fn newer(minimum_head: Option<&str>) -> Value {
    json!({"revisions": [{
        "name": NEWER, "message": "add what is to come", "minimum_head": minimum_head,
        "up": [{"sql": "ALTER TABLE books ADD COLUMN subtitle text"}],
        "down": [{"sql": "ALTER TABLE books DROP COLUMN subtitle"}],
    }]})
}

async fn older_program_works_on_a_newer_schema(engine: Engine) {
    let server = TestServer::start(engine).await;
    let database = server.database();
    let older = Migrator::new(&database, &json!({}));
    Migrator::new(&database, &newer(None)).ok(&["up"]).await;
    let list = client::books(&server).list_books(ListBooksRequest::default()).await;
    list.expect("the running program still serves");
    let second = TestServer::builder(engine).on(database.clone()).start().await;
    client::create_all(&mut client::books(&second), &[client::a_book("Dune")]).await;

    let status = older.ok(&["status"]).await;
    assert!(
        status.contains(&format!("unknown  {NEWER}")) && status.contains("what is to come"),
        "{status}"
    );
    assert_eq!(older.ok(&["current"]).await, format!("{NEWER} (unknown to this program)\n"));
    let history = older.ok(&["history"]).await;
    let line = history.lines().find(|line| line.starts_with(NEWER)).expect("its line");
    assert!(
        line.contains(&known_revisions().pop().expect("a revision"))
            && line.contains("what is to come"),
        "{history}"
    );
    let up = older.run(&["up"]).await;
    assert_eq!((up.code, up.output.as_str()), (Some(0), "nothing to apply\n"), "{up:?}");
    assert!(up.errors.contains(NEWER), "{up:?}");
    let show = older.ok(&["show", "m2999"]).await;
    assert!(show.contains("ADD COLUMN subtitle"), "what was applied is recorded: {show}");
    let down = older.fails(&["down", "--yes"], 6).await;
    assert!(down.contains(NEWER) && down.contains("unknown to this program"), "{down}");
}

async fn revision_with_a_minimum_head_refuses_older_programs(engine: Engine) {
    let server = TestServer::start(engine).await;
    let database = server.database();
    let older = Migrator::new(&database, &json!({}));
    // A program must know the revision that sets the minimum.
    let newest = Migrator::new(&database, &newer(Some(NEWER)));
    newest.ok(&["up"]).await;
    server.logs().wait_for(|line| line.contains("a newer program is needed")).await;
    let refused = async || {
        let list = client::books(&server).list_books(ListBooksRequest::default()).await;
        list.is_err_and(|status| status.code() == tonic::Code::Unavailable)
    };
    until("calls are refused", SOON, refused).await;
    let errors = older.fails(&["up"], 6).await;
    assert!(errors.contains(NEWER) && errors.contains("shuts out"), "{errors}");
    let status = older.ok(&["status"]).await;
    assert!(status.contains(&format!("unknown  {NEWER}")), "{status}");
    newest.ok(&["down", "--yes"]).await;
    until("calls are answered again", SOON, async || {
        client::books(&server).list_books(ListBooksRequest::default()).await.is_ok()
    })
    .await;
    // This program knows the revision, so it isn't refused.
    let head = known_revisions().pop().expect("a revision");
    Migrator::new(&database, &newer(Some(&head))).ok(&["up"]).await;
    assert_eq!(older.ok(&["up"]).await, "nothing to apply\n");
}

async fn database_without_hashes_is_adopted_once(engine: Engine) {
    let database = migrated(engine).await;
    let migrator = Migrator::new(&database, &json!({}));
    let before = records(&database).await;
    for table in TABLES.iter().filter(|table| **table != "seaql_migrations") {
        database.sql(&format!("DROP TABLE {table}")).await;
    }
    let status = migrator.ok(&["status"]).await;
    assert!(!status.contains("pending"), "{status}");
    let adopted = migrator.run(&["up"]).await;
    assert_eq!(adopted.code, Some(0), "{adopted:?}");
    assert_eq!(adopted.output, "nothing to apply\n");
    assert!(
        adopted
            .errors
            .contains(&format!("recorded the hashes of {} revisions", known_revisions().len())),
        "{adopted:?}"
    );
    let mut after = records(&database).await;
    // The program that applied it is unknown.
    for (row, was) in after.iter_mut().zip(&before).filter(|(row, _)| row.len() > 2) {
        assert_eq!(row.last(), Some(&None));
        *row.last_mut().expect("a cell") = was.last().expect("a cell").clone();
    }
    assert_eq!(after, before);
    let again = migrator.run(&["up"]).await;
    assert!(!again.errors.contains("recorded"), "{again:?}");
    // The program before hashes can go back and forth: it only uses seaql_migrations.
    database.sql("DELETE FROM seaql_migrations WHERE version LIKE 'm20261127%'").await;
    let pending = migrator.ok(&["status"]).await;
    assert!(pending.contains("pending  m20261127_000001"), "{pending}");
}

async fn newer_program_waits_for_its_schema_while_an_older_serves(engine: Engine) {
    let older = TestServer::start(engine).await;
    let database = older.database();
    let migrator = Migrator::new(&database, &newer(None));
    let path = migrator.file.path().to_string_lossy().into_owned();
    let newer = TestServer::builder(engine)
        .on(database)
        .env("DATABASE_MIGRATE", "false")
        .env(REVISIONS, &path);
    let newer = newer.wait_for(Some("live")).start().await;
    newer.logs().wait_for(|line| line.contains("waiting for the schema")).await;
    client::create_all(&mut client::books(&older), &[client::a_book("Dune")]).await;
    migrator.ok(&["up"]).await;
    until("the newer program serves too", SOON, async || {
        client::books(&newer).list_books(ListBooksRequest::default()).await.is_ok()
    })
    .await;
    let list = client::books(&older).list_books(ListBooksRequest::default()).await;
    assert_eq!(list.expect("a list").into_inner().books.len(), 1);
}
