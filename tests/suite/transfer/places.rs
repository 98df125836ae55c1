//! Where files are written: regular files are replaced with their mode and their links, everything
//! else is written to.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use bookstore_tests::{Engine, TestServer};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{DEFAULTS, file, run};
use crate::client::{a_book, books, create};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

async fn with_a_book() -> TestServer {
    let server = TestServer::start(Engine::Sqlite).await;
    books(&server).create_book(create("", a_book("Dune"))).await.expect("a book");
    server
}

#[tokio::test]
async fn export_keeps_mode_and_links_of_the_file_it_replaces() {
    let server = with_a_book().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("below")).expect("a folder");
    fs::write(path("below/real.csv"), "old").expect("a file");
    fs::set_permissions(path("below/real.csv"), fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("below/real.csv", path("link.csv")).expect("a link");
    symlink("new.csv", path("dangling.csv")).expect("a link");
    fs::write(path("a.csv"), "old").expect("a file");
    fs::set_permissions(path("a.csv"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::hard_link(path("a.csv"), path("b.csv")).expect("a link");
    let inode = fs::metadata(path("a.csv")).expect("a file").ino();
    for name in ["link.csv", "dangling.csv", "a.csv"] {
        let ended = run(&server, folder.path(), &["export", name]).await;
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
    }
    for name in ["link.csv", "dangling.csv"] {
        assert!(fs::symlink_metadata(path(name)).expect("a file").is_symlink(), "{name}");
    }
    for name in ["below/real.csv", "new.csv", "a.csv", "b.csv"] {
        assert!(file(folder.path(), name).contains("Dune"), "{name}");
    }
    assert_eq!(mode(&path("below/real.csv")), 0o640);
    assert_eq!(mode(&path("a.csv")), 0o600);
    assert_eq!(fs::metadata(path("b.csv")).expect("a file").ino(), inode);
    let names = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(names, 6, "nothing is left behind");
}

#[tokio::test]
async fn export_writes_to_pipes_and_devices() {
    let server = with_a_book().await;
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let reader = {
        let pipe = pipe.clone();
        tokio::task::spawn_blocking(move || fs::read_to_string(pipe))
    };
    let ended = run(&server, folder.path(), &["export", "pipe", "--format", "csv"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = reader.await.expect("no panic").expect("the books");
    assert!(text.contains("Dune"), "{text}");
    assert!(fs::symlink_metadata(&pipe).expect("the pipe").file_type().is_fifo());

    // Links to devices stand for the devices, which no test replaces.
    symlink("/dev/null", folder.path().join("null")).expect("a link");
    let ended = run(&server, folder.path(), &["export", "null", "--format", "csv"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(fs::symlink_metadata("/dev/null").expect("it").file_type().is_char_device());
    let ended = run(&server, folder.path(), &["export", "/dev/stdout", "--format", "csv"]).await;
    assert!(ended.code == Some(0) && ended.output.contains("Dune"), "{ended:?}");
    // What can't be written is an error.
    symlink("/dev/full", folder.path().join("full")).expect("a link");
    let ended = run(&server, folder.path(), &["export", "full", "--format", "csv"]).await;
    assert!(ended.code == Some(1) && ended.errors.contains("full: "), "{ended:?}");
}

#[tokio::test]
async fn rejects_go_to_links_and_devices() {
    let server = with_a_book().await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("books.csv"), "title,author\n,A\n").expect("a file");
    symlink("/dev/null", folder.path().join("null")).expect("a link");
    for rejects in ["/dev/null", "null"] {
        let arguments =
            [["import", "books.csv", "--rejects", rejects].as_slice(), &DEFAULTS].concat();
        let ended = run(&server, folder.path(), &arguments).await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(fs::metadata("/dev/null").expect("it").file_type().is_char_device());
    }
}
