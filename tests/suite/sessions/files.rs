//! SQLite's files removed, replaced and made read-only under a running service: what can't be found
//! again is not acknowledged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Database, Engine, TestServer};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{becomes, health, titles};
use crate::client::{self, Books, a_book, create, done, refused};

/// The database's file, its write-ahead log and the log's index.
fn files(server: &TestServer) -> [PathBuf; 3] {
    let Database::Sqlite(sqlite) = &*server.database() else { panic!("SQLite's") };
    let path = sqlite.path();
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    [path.clone(), beside("-wal"), beside("-shm")]
}

fn away(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.away", path.display()))
}

/// A service with one book, `Before`.
async fn with_a_book() -> (TestServer, Books) {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut books = client::books(&server);
    done(books.create_book(create("", a_book("Before"))).await);
    (server, books)
}

async fn is_refused(books: &mut Books, title: &str) {
    let written = books.create_book(create("", a_book(title))).await;
    refused(written).is(Code::Unavailable, "DATABASE_UNAVAILABLE", &[]);
}

#[tokio::test]
async fn removed_file_takes_no_writes_and_is_not_made_anew() {
    let (server, mut books) = with_a_book().await;
    let all = files(&server);
    for file in &all {
        fs::rename(file, away(file)).expect("a file");
    }
    for title in ["One", "Two"] {
        is_refused(&mut books, title).await;
    }
    for name in ["ready", "write"] {
        becomes(&server, name, ServingStatus::NotServing).await;
    }
    server.logs().wait_for(|line| line.contains("was removed")).await;
    refused(books.list_books(ListBooksRequest::default()).await).is(
        Code::Unavailable,
        "DATABASE_UNAVAILABLE",
        &[],
    );
    assert!(all.iter().all(|file| !file.exists()), "no empty file beside the one moved away");
    // The service uses the files as soon as they are back.
    for file in &all {
        fs::rename(away(file), file).expect("a file");
    }
    becomes(&server, "write", ServingStatus::Serving).await;
    done(books.create_book(create("", a_book("After"))).await);
    let mut found = titles(&mut books, "").await;
    found.sort();
    assert_eq!(found, ["After", "Before"]);
}

#[tokio::test]
async fn replaced_file_is_served_without_the_log_of_the_old_one() {
    let (server, mut books) = with_a_book().await;
    let [file, log, index] = files(&server);
    let backup = away(&file);
    server.sql(&format!("VACUUM INTO '{}'", backup.display())).await;
    done(books.create_book(create("", a_book("Within"))).await);
    fs::rename(&backup, &file).expect("a backup");
    is_refused(&mut books, "Lost").await;
    // The log would be applied to the backup.
    server.logs().wait_for(|line| line.contains("beside it is that of the old one")).await;
    for name in ["ready", "write"] {
        becomes(&server, name, ServingStatus::NotServing).await;
    }
    fs::remove_file(&log).expect("a log");
    fs::remove_file(&index).expect("its index");
    becomes(&server, "write", ServingStatus::Serving).await;
    assert_eq!(titles(&mut books, "").await, ["Before"]);
    done(books.create_book(create("", a_book("After"))).await);
    let there = "SELECT count(*) FROM books WHERE title = 'After'";
    assert_eq!(server.database().value(there).await, "1", "under the file's name");
    assert_eq!(server.database().value("PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn removed_log_takes_no_writes_and_a_stop_saves_it() {
    let (mut server, mut books) = with_a_book().await;
    let [_, log, _] = files(&server);
    fs::remove_file(&log).expect("a log");
    is_refused(&mut books, "Lost").await;
    becomes(&server, "write", ServingStatus::NotServing).await;
    server.logs().wait_for(|line| line.contains("write-ahead log") && line.contains("stop")).await;
    server.terminate().await;
    let titles = server.sql("SELECT title FROM books").await;
    assert_eq!(titles, [[Some("Before".to_owned())]]);
}

#[tokio::test]
async fn read_only_file_stops_writes_alone() {
    let (server, mut books) = with_a_book().await;
    let [file, ..] = files(&server);
    let is_read_only = |is: bool| {
        let mut mode = fs::metadata(&file).expect("its mode").permissions();
        mode.set_readonly(is);
        fs::set_permissions(&file, mode).expect("a mode");
    };
    is_read_only(true);
    is_refused(&mut books, "Within").await;
    becomes(&server, "write", ServingStatus::NotServing).await;
    assert_eq!(health(&server, "ready").await, ServingStatus::Serving);
    server.logs().wait_for(|line| line.contains("is read-only")).await;
    assert_eq!(titles(&mut books, "").await, ["Before"]);
    is_read_only(false);
    becomes(&server, "write", ServingStatus::Serving).await;
    done(books.create_book(create("", a_book("After"))).await);
}
