//! The instructions of a call, which are the same on a busy machine: valgrind's callgrind counts
//! those of the service alone. A change that costs a few per cent is seen, which no time shows on a
//! noisy machine.
//!
//! The figures of release builds are kept in `tests/cost.toml`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, ListBooksRequest, Money,
    book_service_client::BookServiceClient,
};
use tonic::transport::Channel;

use crate::{Engine, TestServer, program::program};

/// The file with the figures.
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cost.toml");

/// By how much a figure may differ from that of the file.
const TOLERANCE: f64 = 0.05;

/// The books of a list.
const ROWS: u32 = 50;

/// The calls of the shorter of two runs, times the scale. The longer one makes twice as many, and
/// the difference is that of the calls alone.
const CALLS: u32 = 500;

/// A kind of call, and how many callers make it at the same time.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    callers: u32,
    call: Call,
}

#[derive(Clone, Copy)]
enum Call {
    Get,
    List,
    Create,
}

const WORK: [Work; 5] = [
    Work { name: "get, 1 caller", callers: 1, call: Call::Get },
    Work { name: "get, 16 callers", callers: 16, call: Call::Get },
    Work { name: "get, 64 callers", callers: 64, call: Call::Get },
    Work { name: "list of 50, 1 caller", callers: 1, call: Call::List },
    Work { name: "create, 1 caller", callers: 1, call: Call::Create },
];

/// Counts each kind of work on both engines, and compares with the file's figures. With
/// `COST_WRITE` set, writes them instead.
///
/// # Panics
/// If this is no release build, or a figure is missing in the file or has grown.
pub(super) async fn cost(scale: u32) {
    let is_release = !cfg!(debug_assertions);
    assert!(is_release, "a release build is needed: cargo run --release");
    let folder = tempfile::tempdir().expect("a folder");
    let known = fs::read_to_string(FIGURES).unwrap_or_default();
    let known: toml::Table = known.parse().expect("the figures' file is TOML");
    let mut figures = BTreeMap::new();
    let (mut missing, mut grown) = (Vec::new(), Vec::new());
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for work in WORK {
            let name = format!("{engine:?}, {}", work.name).to_lowercase();
            let few = count(folder.path(), engine, work, CALLS * scale).await;
            let many = count(folder.path(), engine, work, 2 * CALLS * scale).await;
            let each = (many.saturating_sub(few)) / u64::from(CALLS * scale);
            let before = known.get(&name).and_then(toml::Value::as_integer);
            let before = before.and_then(|before| u64::try_from(before).ok());
            let ratio = before.map(|before| ratio(each, before));
            match ratio {
                Some(ratio) => eprintln!("{name}: {each} instructions a call, ratio {ratio:.3}"),
                None => {
                    eprintln!("{name}: {each} instructions a call");
                    missing.push(name.clone());
                }
            }
            if ratio.is_some_and(|ratio| ratio > 1.0 + TOLERANCE) {
                grown.push(name.clone());
            }
            figures.insert(name, each);
        }
    }
    if std::env::var_os("COST_WRITE").is_some() {
        let head = "# Instructions of a call, by `trial cost` with a release build.\n".to_owned();
        let lines = figures.iter().map(|(name, figure)| format!("\"{name}\" = {figure}\n"));
        fs::write(FIGURES, lines.fold(head, |text, line| text + &line)).expect("the figures' file");
    } else {
        let missing = missing.join("; ");
        assert!(missing.is_empty(), "no figure in {FIGURES}, COST_WRITE=1 writes it: {missing}");
        assert!(grown.is_empty(), "more instructions than in {FIGURES}: {}", grown.join("; "));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of small numbers, for people")]
fn ratio(now: u64, before: u64) -> f64 {
    now as f64 / before as f64
}

/// The instructions of a service that starts, answers so many calls and stops.
async fn count(folder: &Path, engine: Engine, work: Work, calls: u32) -> u64 {
    let out = folder.join("callgrind.out");
    let wrapper = wrapper(folder, &out);
    let mut server = TestServer::builder(engine).program(&wrapper).start().await;
    let id = books(server.channel()).await;
    let callers = (0..work.callers).map(|caller| {
        let (channel, id) = (server.channel(), id.clone());
        tokio::spawn(async move {
            for _ in (caller..calls).step_by(work.callers as usize) {
                make(channel.clone(), work.call, &id).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no panic");
    }
    assert_eq!(server.terminate().await.status.code(), Some(0));
    let text = fs::read_to_string(&out).expect("what callgrind has counted");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    totals.and_then(|totals| totals.trim().parse().ok()).expect("the sum of the instructions")
}

/// A program that runs the one under test in callgrind.
fn wrapper(folder: &Path, out: &Path) -> PathBuf {
    let path = folder.join("counted");
    let (out, program) = (out.display(), program());
    let script = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file='{out}' '{}' \"$@\"\n",
        program.display()
    );
    fs::write(&path, script).expect("the script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// Creates the books of the work, and gives the id of one.
async fn books(channel: Channel) -> String {
    let mut id = String::new();
    for _ in 0..ROWS {
        id = create(channel.clone()).await;
    }
    id
}

async fn make(channel: Channel, call: Call, id: &str) {
    let mut books = BookServiceClient::new(channel.clone());
    match call {
        Call::Get => {
            let get = GetBookRequest { id: id.to_owned(), ..Default::default() };
            books.get_book(get).await.expect("the book");
        }
        Call::List => {
            let page_size = i32::try_from(ROWS).expect("a small number");
            let list = ListBooksRequest { page_size, ..Default::default() };
            let listed = books.list_books(list).await.expect("a page").into_inner();
            assert_eq!(listed.books.len(), ROWS as usize);
        }
        Call::Create => drop(create(channel).await),
    }
}

async fn create(channel: Channel) -> String {
    let book = Book {
        title: "The Book".to_owned(),
        author: "Author".to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        ..Default::default()
    };
    let create = CreateBookRequest { book: Some(book), ..Default::default() };
    let created = BookServiceClient::new(channel).create_book(create).await.expect("a book");
    created.into_inner().id
}
