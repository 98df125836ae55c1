//! The migrations: up and down, named, concurrent, and equal to what the program expects.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use bookstore_entity::{
    book, cart, cart_item, category, idempotency_key, item, order, order_item, post, review,
    sealing_key, user,
};
use bookstore_migration::bookkeeping::TABLES;
use bookstore_proto::v1::ListCategoriesRequest;
use bookstore_tests::{
    Database, Engine, Origin, Row, SOON, TestServer, on_every_engine, program, run, until,
};
use regex::Regex;
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, IdenStatic, Iterable, QueryTrait};
use tonic::transport::Endpoint;

use crate::client;

on_every_engine!(
    up_down_up_gives_the_schema_of_up,
    every_constraint_has_a_chosen_name,
    two_concurrent_migrators_apply_each_revision_once,
    entities_match_the_tables,
    migration_seeds_the_categories,
    status_lists_each_revision,
);

/// Every revision that the program knows, oldest first.
fn revisions() -> Vec<String> {
    bookstore_tests::known_revisions()
}

/// A line for each revision, as `migrate` prints it.
fn lines(what: &str) -> Vec<String> {
    revisions().iter().map(|revision| format!("{what} {revision}")).collect()
}

async fn empty(engine: Engine) -> Database {
    Database::create(engine, Origin::Empty).await
}

/// The output of `migrate`, as lines.
async fn migrate(database: &Database, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["migrate"], arguments].concat();
    let finished = run(&arguments, &[("DATABASE_URL", &database.owner_url())]).await;
    assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
    finished.output.lines().map(str::to_owned).collect()
}

/// Everything in the database that isn't a row.
async fn schema(database: &Database) -> Vec<Row> {
    let sql = match database.engine() {
        Engine::Sqlite if !is_there(database) => return Vec::new(),
        Engine::Sqlite => "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2",
        Engine::Postgres => {
            "SELECT 'column', table_name || '.' || column_name, ordinal_position::text,
                    concat_ws(' ', data_type, is_nullable, column_default, collation_name)
             FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL
             SELECT 'constraint', conname, conrelid::regclass::text, pg_get_constraintdef(oid)
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL
             SELECT 'index', indexname, tablename, indexdef FROM pg_indexes
             WHERE schemaname = 'public'
             UNION ALL
             SELECT 'relation', relname, relkind::text, relowner::regrole::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT 'routine', proname, '', prosrc FROM pg_proc
             WHERE pronamespace = 'public'::regnamespace
             ORDER BY 1, 2, 3"
        }
    };
    database.sql(sql).await
}

/// Whether the database exists: SQLite's file is created by the first change.
fn is_there(database: &Database) -> bool {
    match database {
        Database::Sqlite(database) => database.path().exists(),
        Database::Postgres(_) => true,
    }
}

/// The tables that FTS5 makes for its tables: their parts have no chosen names.
const FTS5_TABLES: [&str; 2] = ["book_words_", "user_words_"];

/// The bookkeeping's tables stay when everything is reverted.
fn is_ours(row: &Row) -> bool {
    !row.iter().flatten().any(|cell| TABLES.iter().any(|table| cell.contains(table)))
}

async fn up_down_up_gives_the_schema_of_up(engine: Engine) {
    let database = empty(engine).await;
    let applied = lines("applied");
    assert_eq!(migrate(&database, &["up"]).await, applied);
    assert_eq!(migrate(&database, &["up"]).await, ["nothing to apply"]);
    let first = schema(&database).await;
    let mut reverted = lines("reverted");
    reverted.reverse();
    assert_eq!(migrate(&database, &["down", "base", "--yes", "--allow-data-loss"]).await, reverted);
    assert_eq!(migrate(&database, &["down", "--yes"]).await, ["nothing to revert"]);
    let left: Vec<Row> = schema(&database).await.into_iter().filter(is_ours).collect();
    assert_eq!(left, Vec::<Row>::new(), "objects left after the revert");
    for revision in revisions() {
        assert_eq!(migrate(&database, &["up", "1"]).await, [format!("applied {revision}")]);
    }
    assert_eq!(first, schema(&database).await);
    assert!(first.iter().filter(|row| is_ours(row)).count() > 10, "{first:#?}");
}

/// One definition makes the tables of both engines, so SQLite's stored text shows where PostgreSQL
/// would choose a name itself.
async fn every_constraint_has_a_chosen_name(engine: Engine) {
    let database = empty(engine).await;
    migrate(&database, &["up"]).await;
    let rows: Vec<Row> = schema(&database).await.into_iter().filter(is_ours).collect();
    let cell = |row: &Row, at: usize| row[at].clone().unwrap_or_default();
    match engine {
        Engine::Sqlite => {
            let constraint = Regex::new(
                r#"(CONSTRAINT "\w+" )?(PRIMARY KEY|UNIQUE|FOREIGN KEY|CHECK|REFERENCES)\b"#,
            );
            let constraint = constraint.expect("a pattern");
            let (mut named, mut indexes) = (BTreeSet::new(), 0);
            for row in &rows {
                let (kind, name, sql) = (cell(row, 0), cell(row, 1), cell(row, 3));
                if FTS5_TABLES.iter().any(|table| name.starts_with(table)) {
                    continue;
                }
                if kind == "table" {
                    for found in constraint.captures_iter(&sql) {
                        let word = &found[2];
                        assert!(found.get(1).is_some() || word == "REFERENCES", "{name}: {sql}");
                        named.extend(found.get(1).map(|name| name.as_str().to_owned()));
                    }
                } else if kind == "trigger" {
                    let ours = ["_insert", "_update", "_delete"];
                    assert!(ours.iter().any(|ending| name.ends_with(ending)), "{row:?}");
                } else if sql.is_empty() {
                    // SQLite's indexes for declared keys.
                    assert!(name.starts_with("sqlite_autoindex_"), "{row:?}");
                } else {
                    assert!(name.ends_with("_idx"), "{row:?}");
                    indexes += 1;
                }
            }
            assert!(named.len() > 10 && indexes > 5, "{named:?} {indexes}");
        }
        Engine::Postgres => {
            let ours = Regex::new(r"^[a-z_]+_(pkey|key|fkey|check|not_null|idx)$");
            let ours = ours.expect("a pattern");
            let mut count = 0;
            for row in rows.iter().filter(|row| ["constraint", "index"].contains(&&*cell(row, 0))) {
                assert!(ours.is_match(&cell(row, 1)), "{row:?}");
                count += 1;
            }
            assert!(count > 20, "{rows:#?}");
        }
    }
}

async fn two_concurrent_migrators_apply_each_revision_once(engine: Engine) {
    let database = empty(engine).await;
    let (one, other) = tokio::join!(migrate(&database, &["up"]), migrate(&database, &["up"]));
    let mut done = [one, other].concat();
    done.retain(|line| line != "nothing to apply");
    assert_eq!(done, lines("applied"));
}

/// The columns of a table and whether each is nullable, from the database.
async fn columns(database: &Database, table: &str) -> BTreeSet<(String, bool)> {
    let sql = match database.engine() {
        Engine::Sqlite => format!("SELECT name, \"notnull\" = 0 FROM pragma_table_info('{table}')"),
        Engine::Postgres => format!(
            "SELECT column_name, (is_nullable = 'YES')::int FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{table}' AND is_generated = 'NEVER'"
        ),
    };
    let rows = database.sql(&sql).await;
    let column = |row: Row| match row.as_slice() {
        [Some(name), Some(nullable)] => (name.clone(), nullable == "1"),
        _ => unreachable!("two values a column: {row:?}"),
    };
    rows.into_iter().map(column).collect()
}

/// Compares an entity with its table, and returns the table's name.
async fn is_table<E: EntityTrait>(database: &Database, entity: E) -> String {
    let table = entity.table_name();
    let expected: BTreeSet<(String, bool)> = E::Column::iter()
        .map(|column| (column.as_str().to_owned(), column.def().is_null()))
        .collect();
    assert_eq!(columns(database, table).await, expected, "{table}");
    let backend = match database.engine() {
        Engine::Sqlite => DbBackend::Sqlite,
        Engine::Postgres => DbBackend::Postgres,
    };
    database.sql(&E::find().build(backend).to_string()).await;
    table.to_owned()
}

async fn entities_match_the_tables(engine: Engine) {
    let database = empty(engine).await;
    migrate(&database, &["up"]).await;
    let known = [
        is_table(&database, book::Entity).await,
        is_table(&database, cart::Entity).await,
        is_table(&database, cart_item::Entity).await,
        is_table(&database, category::Entity).await,
        is_table(&database, idempotency_key::Entity).await,
        is_table(&database, item::Entity).await,
        is_table(&database, order::Entity).await,
        is_table(&database, order_item::Entity).await,
        is_table(&database, post::Entity).await,
        is_table(&database, review::Entity).await,
        is_table(&database, sealing_key::Entity).await,
        is_table(&database, user::Entity).await,
    ];
    let tables = match engine {
        // The search's tables have no entity, since nothing reads their rows.
        Engine::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table'
             AND name NOT GLOB 'book_word*' AND name NOT GLOB 'user_word*'"
        }
        Engine::Postgres => {
            "SELECT relname FROM pg_class WHERE relkind = 'r' \
                             AND relnamespace = 'public'::regnamespace ORDER BY 1"
        }
    };
    let tables = database.sql(tables).await.into_iter().flatten().flatten();
    let known = known.into_iter().chain(TABLES.iter().map(|table| (*table).to_owned()));
    assert_eq!(tables.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}

async fn migration_seeds_the_categories(engine: Engine) {
    let server = TestServer::start(engine).await;
    let list = client::categories(&server).list_categories(ListCategoriesRequest::default()).await;
    let mut found: Vec<(String, String)> = list
        .expect("a list")
        .into_inner()
        .categories
        .into_iter()
        .map(|category| (category.id, category.name))
        .collect();
    found.sort();
    let names = ["Fiction", "Non-Fiction", "Science", "History", "Technology"];
    let wanted = (1..)
        .zip(names)
        .map(|(number, name)| (format!("01930000-0000-7000-8000-{number:012}"), name.to_owned()));
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

async fn status_lists_each_revision(engine: Engine) {
    let database = empty(engine).await;
    let lines = |applied: usize| -> Vec<String> {
        let state = |at| if at < applied { "applied" } else { "pending" };
        let revisions = revisions();
        let lines = revisions.iter().enumerate();
        lines.map(|(at, revision)| format!("{} {revision}", state(at))).collect()
    };
    // The first two columns of the table, below its head.
    let listed = async || -> Vec<String> {
        let lines = migrate(&database, &["status"]).await;
        let two = |line: &String| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        lines.iter().skip(1).map(two).collect()
    };
    assert_eq!(listed().await, lines(0));
    assert_eq!(schema(&database).await, Vec::<Row>::new(), "status has changed the database");
    migrate(&database, &["up", "2"]).await;
    assert_eq!(listed().await, lines(2));
    migrate(&database, &["up"]).await;
    assert_eq!(listed().await, lines(revisions().len()));
}

/// Without any setting: a file in the working directory, which migrates itself.
#[tokio::test]
async fn program_without_settings_migrates_its_embedded_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(program());
    command.args(["serve", "--listen-addr", "127.0.0.1:0"]).env_clear();
    // It ends when its standard input does, also if this test fails.
    command.env("BOOKSTORE_TEST_STDIN_GUARD", "1").stdin(Stdio::piped());
    command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut service = command.spawn().expect("the service");
    let output = service.stdout.take().expect("its output");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("LISTENING ").expect("an address");
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let mut categories = client::Categories::new(channel.connect_lazy());
    until("the service serves", SOON, async || {
        let list = categories.list_categories(ListCategoriesRequest::default()).await;
        list.is_ok_and(|list| list.into_inner().categories.len() == 5)
    })
    .await;
    assert!(folder.path().join("bookstore.db").is_file());
    drop(service.stdin.take());
    service.wait().expect("its end");
}

/// Databases contain the released revisions. The file has a line for each, with its hash on
/// PostgreSQL and on SQLite. A release adds the lines of its revisions.
#[test]
fn released_revisions_keep_their_hashes() {
    let released = include_str!("../golden/revisions.txt");
    let revisions = bookstore_migration::revisions::revisions();
    for line in released.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, postgres, sqlite] = words[..] else { panic!("not three words: {line}") };
        let revision = revisions.iter().find(|revision| revision.name == name).expect(name);
        let hash = |engine| revision.hash(engine);
        use bookstore_migration::revision::Engine as On;
        assert_eq!((&*hash(On::Postgres), &*hash(On::Sqlite)), (postgres, sqlite), "{name}");
    }
    assert!(released.lines().count() >= 12);
}
