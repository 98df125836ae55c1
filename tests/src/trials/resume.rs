//! Imports that break off at any point and are resumed: whichever process was killed, each row is
//! there once in the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    ImportBooksBatch, ImportBooksEnd, ImportBooksOptions, ImportBooksRequest, ImportBooksRow,
    book_transfer_service_client::BookTransferServiceClient, import_books_request::Step,
    import_books_response::Step as Answer,
};
use futures_util::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::bulk::{book, id};
use crate::{Database, Engine, Line, Origin, Postgres, SOON, TestServer, raw, until};

/// Batches of an import, and rows of a batch.
const BATCHES: i64 = 60;
const ROWS: i64 = 40;

/// From this many kills on the whole cluster is killed and not only its connection, since the
/// suite's other tests share the cluster.
const FULL: u32 = 20;

/// The longest time that an import runs before a kill.
const LONGEST: Duration = Duration::from_millis(600);

/// Kills a process `kills` times on each engine while imports run.
pub(super) async fn resume(kills: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        let mut trial = Trial::start(database, kills >= FULL).await;
        let mut imports = 0;
        while trial.killed.iter().sum::<u32>() < kills {
            trial.import(imports, kills).await;
            imports += 1;
        }
        trial.rows_are_right(imports).await;
        let [client, server, database] = trial.killed;
        eprintln!(
            "{engine:?}: {imports} imports of {BATCHES} batches; killed {client} times the client, \
             {server} the server, {database} the database; {} answers came again",
            trial.again
        );
        assert!(kills < FULL || trial.again > 0, "no batch was ever sent again");
    }
}

/// The process to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Server,
    Database,
}

struct Trial {
    database: Arc<Database>,
    /// The proxy between the service and PostgreSQL.
    line: Option<Line>,
    server: TestServer,
    full: bool,
    killed: [u32; 3],
    /// Batches that were sent again although they had been committed.
    again: u32,
}

impl Trial {
    async fn start(database: Arc<Database>, full: bool) -> Self {
        let line = match &*database {
            Database::Sqlite(_) => None,
            Database::Postgres(_) => Some(Line::to(&database).await),
        };
        let server = serve(&database, line.as_ref()).await;
        Self { database, line, server, full, killed: [0; 3], again: 0 }
    }

    /// Runs one import to its end despite the kills.
    async fn import(&mut self, import: u32, kills: u32) {
        let mut acknowledged = 0;
        let began = Instant::now();
        loop {
            let committed = self.committed(import).await;
            self.again += u32::from(committed > acknowledged);
            let run = run(&self.server, import, &mut acknowledged);
            let left = self.killed.iter().sum::<u32>() < kills;
            let limit = match left {
                true => LONGEST.mul_f64(rand::random::<f64>()),
                false => SOON,
            };
            match timeout(limit, run).await {
                Ok(Ok(())) => break,
                Ok(Err(status)) => {
                    let known = [Code::Unavailable, Code::Unknown, Code::Aborted, Code::Cancelled];
                    assert!(known.contains(&status.code()), "it can't go on: {status:?}");
                    assert!(began.elapsed() < SOON, "it doesn't go on: {status:?}");
                    sleep(Duration::from_millis(50)).await;
                }
                // The client's kill: its call is dropped.
                Err(_) if left => self.kill().await,
                Err(_) => panic!("the import hangs at batch {acknowledged}"),
            }
        }
    }

    /// Kills one of the three. The client's kill is the dropped call itself.
    async fn kill(&mut self) {
        let victims = match self.database.engine() {
            Engine::Sqlite => &[Victim::Client, Victim::Server][..],
            Engine::Postgres => &[Victim::Client, Victim::Server, Victim::Database],
        };
        let victim = victims[rand::random_range(0..victims.len())];
        self.killed[victim as usize] += 1;
        match victim {
            Victim::Client => {}
            Victim::Server => {
                self.server.kill().await;
                self.server = serve(&self.database, self.line.as_ref()).await;
            }
            Victim::Database => self.kill_database().await,
        }
    }

    async fn kill_database(&self) {
        let Some(line) = &self.line else { return };
        if !self.full {
            line.cut();
            sleep(Duration::from_millis(100)).await;
            line.restore();
            return;
        }
        // A killed backend takes the whole cluster through crash recovery.
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bookstore' \
                   AND datname = current_database() LIMIT 1";
        let found = self.database.sql(sql).await;
        let process = found.first().and_then(|row| row[0].as_deref()?.parse().ok());
        let mut witness = Postgres::shared().await.connect("postgres").await;
        let process = process.and_then(Pid::from_raw);
        if process.is_none_or(|process| kill_process(process, Signal::KILL).is_err()) {
            // The service has no session at this moment.
            return;
        }
        until("the cluster goes down", SOON, async || witness.ping().await.is_err()).await;
        Postgres::shared().await.recovered().await;
    }

    /// The number of an import's committed batches.
    async fn committed(&self, import: u32) -> i64 {
        let sql = format!("SELECT count(*) FROM books WHERE cover_image = 'import {import}'");
        let rows: i64 = self.database.value(&sql).await.parse().expect("a count");
        assert_eq!(rows % ROWS, 0, "batches are complete or missing");
        rows / ROWS
    }

    /// Asserts that every row of every import is there, once, as it was sent.
    async fn rows_are_right(&self, imports: u32) {
        let sql = "SELECT count(*), count(DISTINCT title), max(version) FROM books";
        let counts = self.database.sql(sql).await.concat();
        let all = (i64::from(imports) * BATCHES * ROWS).to_string();
        let wanted = [all.clone(), all, "1".to_owned()].map(Some);
        assert_eq!(counts, wanted, "rows, titles, and how often a row was changed");
    }
}

async fn serve(database: &Arc<Database>, line: Option<&Line>) -> TestServer {
    let server = TestServer::builder(database.engine()).on(Arc::clone(database));
    let server = match line {
        Some(line) => server.env("DATABASE_URL", line.url()),
        None => server,
    };
    server.env("LOG_LEVEL", "warn").start().await
}

/// Sends an import from its first unacknowledged batch on, and records the acknowledgements.
async fn run(server: &TestServer, import: u32, acknowledged: &mut i64) -> Result<(), Status> {
    let first = *acknowledged + 1;
    let batch = move |number: i64| {
        let row = |place: i64| {
            let line = (number - 1) * ROWS + place;
            let number = u32::try_from(line).expect("a small number");
            let mut book = book(number);
            book.title = format!("Row {line} of import {import}");
            book.cover_image = Some(format!("import {import}"));
            // Every second row gets its id from the service, so that a batch written twice would
            // show.
            let id = if line % 2 == 0 { id(import, number) } else { String::new() };
            ImportBooksRow { line, book: Some(book), id }
        };
        Step::Batch(ImportBooksBatch { number, rows: (0..ROWS).map(row).collect() })
    };
    let options = ImportBooksOptions { import_id: id(9, import), ..Default::default() };
    let batches = BATCHES - *acknowledged;
    let end = ImportBooksEnd { batches, rows: batches * ROWS };
    let steps = stream::iter([Step::Options(options)])
        .chain(stream::iter((first..=BATCHES).map(batch)))
        .chain(stream::iter([Step::End(end)]))
        .map(|step| ImportBooksRequest { step: Some(step) });
    // A new connection: a killed client's is closed.
    let mut client = BookTransferServiceClient::new(raw(server.address()).await);
    let mut answers = client.import_books(steps).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        match answer.step.expect("an answer with a step") {
            Answer::Acknowledgement(answer) => {
                assert_eq!(answer.number, *acknowledged + 1, "acknowledgements are in order");
                assert_eq!((answer.inserted, answer.rejected), (ROWS, 0), "{answer:?}");
                *acknowledged = answer.number;
            }
            Answer::Summary(summary) => assert_eq!(summary.inserted, batches * ROWS),
        }
    }
    assert_eq!(*acknowledged, BATCHES, "a stream that ended without an error is incomplete");
    Ok(())
}
