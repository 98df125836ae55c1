//! An older and a newer program on one database, under load across a revision that expands the
//! schema, in both orders: no call fails. The older program, before and after it, is this one
//! without the revision. PREVIOUS_RELEASE names the program of a release instead, `bookstore` or
//! `bookstore-tests`: it then makes the database, too.

use std::{
    env,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, ListBooksRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
};
use serde_json::json;
use tonic::{Status, transport::Channel};

use crate::{Database, Engine, Origin, REVISIONS, TestServer, program, until};

/// Callers of each program.
const CALLERS: u32 = 3;

/// Runs `calls` calls on each engine and in each order.
pub(super) async fn versions(calls: u32) {
    let file = tempfile::NamedTempFile::new().expect("a file for revisions");
    let revisions = json!({"revisions": [{
        "name": "m29990101_000001_expand",
        "up": [{"sql": "ALTER TABLE books ADD COLUMN subtitle {text}"}, {"sql": "CREATE INDEX books_subtitle_idx ON books (subtitle)"}],
        "down": [{"sql": "DROP INDEX books_subtitle_idx"}, {"sql": "ALTER TABLE books DROP COLUMN subtitle"}],
    }]});
    std::fs::write(file.path(), revisions.to_string()).expect("the revisions");
    let path = file.path().to_string_lossy().into_owned();
    let previous = env::var_os("PREVIOUS_RELEASE").map(PathBuf::from);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for newer_first in [true, false] {
            let origin = if previous.is_some() { Origin::Empty } else { Origin::Migrated };
            let database = Arc::new(Database::create(engine, origin).await);
            let older = || {
                let mut older = TestServer::builder(engine).on(database.clone());
                if let Some(previous) = &previous {
                    // As its schema's owner, since it migrates.
                    older = older.program(previous).env("DATABASE_URL", &database.owner_url());
                    older = older.env("DATABASE_MIGRATE", "true");
                }
                older
            };
            let early_older = older().start().await;
            let newer = || {
                let newer = TestServer::builder(engine).on(database.clone());
                let newer = newer.env(REVISIONS, &path).env("DATABASE_MIGRATE", "false");
                newer.wait_for(Some("live")).start()
            };
            // The newer program waits for its schema, or starts once it is there.
            let early_newer = if newer_first { Some(newer().await) } else { None };
            let done = Arc::new(AtomicU32::new(0));
            let running = Arc::new(AtomicBool::new(true));
            let mut load: Vec<_> = (0..CALLERS)
                .map(|_| tokio::spawn(call(early_older.channel(), done.clone(), running.clone())))
                .collect();
            let reached = async |count: u32| {
                until("callers have made calls", Duration::from_secs(60), async || {
                    done.load(Ordering::Relaxed) >= count
                        || load.iter().any(|one| one.is_finished())
                })
                .await;
            };
            reached(calls / 3).await;
            let mut migrate = tokio::process::Command::new(program());
            migrate.args(["migrate", "up"]).env_clear().kill_on_drop(true);
            migrate.env("DATABASE_URL", database.owner_url()).env(REVISIONS, &path);
            let migrated = migrate.output().await.expect("the migration");
            assert!(migrated.status.success(), "{migrated:?}");
            let newer = match early_newer {
                Some(newer) => newer,
                None => newer().await,
            };
            let mut books = BookServiceClient::new(newer.channel());
            until("the newer program serves", Duration::from_secs(20), async || {
                books.list_books(ListBooksRequest::default()).await.is_ok()
            })
            .await;
            // One of the older program that starts when the schema is newer already.
            let late_older = older().env("DATABASE_MIGRATE", "false").start().await;
            for server in [&newer, &late_older] {
                load.extend(
                    (0..CALLERS).map(|_| {
                        tokio::spawn(call(server.channel(), done.clone(), running.clone()))
                    }),
                );
            }
            let from = done.load(Ordering::Relaxed);
            let reached = until("callers have made calls", Duration::from_secs(120), async || {
                done.load(Ordering::Relaxed) >= calls.max(from + calls / 3)
                    || load.iter().any(|one| one.is_finished())
            });
            reached.await;
            running.store(false, Ordering::Relaxed);
            for caller in load {
                let failed = caller.await.expect("a caller's task").err();
                assert!(failed.is_none(), "{engine:?}, newer first {newer_first}: {failed:?}");
            }
            for server in [&early_older, &newer, &late_older] {
                let plan = server.logs().so_far();
                let failure = plan
                    .iter()
                    .find(|line| line.contains("cached plan") && line.contains("INTERNAL"));
                assert_eq!(failure, None, "{engine:?}");
            }
            let count = done.load(Ordering::Relaxed);
            eprintln!("{engine:?}, newer first {newer_first}: {count} calls, none failed");
        }
    }
}

/// Writes and reads books until it is stopped, or a call fails.
async fn call(
    channel: Channel,
    done: Arc<AtomicU32>,
    running: Arc<AtomicBool>,
) -> Result<(), Status> {
    let mut books = BookServiceClient::new(channel);
    let price = Money { currency_code: "EUR".into(), units: 1, nanos: 0 };
    let book =
        Book { title: "Dune".into(), author: "A".into(), price: Some(price), ..Default::default() };
    let create = CreateBookRequest { book: Some(book), ..Default::default() };
    while running.load(Ordering::Relaxed) {
        let made = books.create_book(create.clone()).await?.into_inner();
        let get = GetBookRequest { id: made.id.clone(), ..Default::default() };
        let mut book = books.get_book(get).await?.into_inner();
        book.stock += 1;
        books.update_book(UpdateBookRequest { book: Some(book), ..Default::default() }).await?;
        books.list_books(ListBooksRequest { page_size: 5, ..Default::default() }).await?;
        done.fetch_add(4, Ordering::Relaxed);
    }
    Ok(())
}
