//! `bookstore import` and `bookstore export`, as typed on a command line.

mod broken;
mod dirty;
mod places;

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, program};
use csv::StringRecord;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{
    client::{FICTION, a_book, books, message, with},
    tidy,
};

on_every_engine!(
    real_books_are_imported_and_exported,
    exported_file_is_imported_unchanged,
    import_by_id_updates_books,
);

/// The columns that the real data lacks.
const DEFAULTS: [&str; 6] =
    ["--default", "price=9.99", "--default", "price.currency_code=USD", "--default", "stock=3"];

/// A command that has ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Ended {
    fn new(status: ExitStatus, output: &[u8], errors: &[u8]) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: status.code(), output: text(output), errors: text(errors) }
    }
}

/// Starts the program as a client of the service, in this folder and without other settings.
fn start(server: &str, folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(program());
    command.env_clear().env("BOOKSTORE_SERVER", server).current_dir(folder).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().expect("the program")
}

/// Writes the rest of its input and waits for its end.
async fn finish(mut child: Child, input: &str) -> Ended {
    let mut stdin = child.stdin.take().expect("its input");
    let write = async {
        // It may end before it has read everything.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    let ended = tokio::time::timeout(SOON, both).await;
    let ended = ended.expect("an end within two minutes").expect("its output");
    Ended::new(ended.status, &ended.stdout, &ended.stderr)
}

fn url(server: &TestServer) -> String {
    format!("http://{}", server.address())
}

async fn run(server: &TestServer, folder: &Path, arguments: &[&str]) -> Ended {
    finish(start(&url(server), folder, arguments), "").await
}

fn read(text: &str) -> (StringRecord, Vec<StringRecord>) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    (header, reader.records().map(|record| record.expect("a record")).collect())
}

fn file(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join(name)).expect(name)).into_owned()
}

/// The columns of an export that an import accepts.
const COLUMNS: [&str; 10] = [
    "id",
    "title",
    "author",
    "description",
    "price",
    "price.currency_code",
    "stock",
    "category_id",
    "cover_image",
    "attributes",
];

async fn real_books_are_imported_and_exported(engine: Engine) {
    let server = TestServer::start(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::copy(tidy::root().join("tests/data/goodbooks.csv"), folder.join("books.csv"))
        .expect("the data");
    let mapping = [
        "--column",
        "author=authors",
        "--column",
        "cover_image=image_url",
        "--column",
        "attributes.original_title=original_title",
        "--id-from",
        "book_id",
    ];
    let options = [mapping.as_slice(), &DEFAULTS].concat();
    let import =
        |file: &'static str| [["import", file, "--batch-size", "7"].as_slice(), &options].concat();
    let ended = run(&server, folder, &import("books.csv")).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(ended.output, "inserted 40\nupdated 0\nrejected 2, see books.rejects.csv\n");
    let ignored = ended.errors.lines().find(|line| line.starts_with("ignored: ")).expect("a line");
    assert!(ignored.contains("isbn13") && !ignored.contains("title"), "{ignored}");

    let (header, source) = read(&file(folder, "books.csv"));
    let (notes, rejects) = read(&file(folder, "books.rejects.csv"));
    assert_eq!(notes.iter().skip(3).collect::<Vec<_>>(), header.iter().collect::<Vec<_>>());
    let reported: Vec<Vec<&str>> = rejects.iter().map(|row| row.iter().take(3).collect()).collect();
    let reason = |has: u32| format!("author must have 1 to 255 characters; it has {has}");
    assert_eq!(reported, [["22", "author", &reason(257)], ["38", "author", &reason(742)]]);
    for reject in &rejects {
        let whole: StringRecord = reject.iter().skip(3).collect();
        assert!(source.contains(&whole), "{whole:?}");
    }

    // After a repair the rejected rows are imported with the same options.
    let mended = file(folder, "books.rejects.csv").replace(", Tom Johnson", "");
    let longest = rejects[1].get(10).expect("its authors");
    std::fs::write(folder.join("mended.csv"), mended.replace(longest, "Many")).expect("a file");
    let ended = run(&server, folder, &import("mended.csv")).await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), "inserted 2\nupdated 0\nrejected 0\n")
    );
    assert!(!folder.join("mended.rejects.csv").exists());

    let ended = run(&server, folder, &["export", "out.csv", "--order-by", "title"]).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), "exported 42\n"));
    let (columns, rows) = read(&file(folder, "out.csv"));
    assert_eq!(columns.iter().take(10).collect::<Vec<_>>(), COLUMNS);
    let column = |name: &str| header.iter().position(|found| found == name).expect(name);
    for book in &source {
        let cell = |name: &str| &book[column(name)];
        let mut fits = rows.iter().filter(|row| {
            let author =
                if cell("authors").chars().count() > 255 { &row[2] } else { cell("authors") };
            let original = match cell("original_title") {
                "" => String::new(),
                title => json!({"original_title": title}).to_string(),
            };
            let wanted =
                [cell("title"), author, "", "9.99", "USD", "3", "", cell("image_url"), &original];
            row.iter().skip(1).take(9).eq(wanted)
        });
        assert!(fits.next().is_some(), "{book:?}\nisn't among\n{rows:?}");
    }
    let titles: Vec<_> = rows.iter().map(|row| &row[1]).collect();
    assert!(titles.is_sorted(), "{titles:?}");
    // The same rows get the same ids.
    let ended = run(&server, folder, &import("mended.csv")).await;
    assert_eq!(ended.output, "inserted 0\nupdated 0\nrejected 2, see mended.rejects.csv\n");
}

async fn exported_file_is_imported_unchanged(engine: Engine) {
    let server = TestServer::start(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let all = json!({
        "description": "", "stock": 7, "category_id": FICTION, "cover_image": "\\n,\";",
        "price": {"currency_code": "JPY", "units": "10000000", "nanos": 0},
        "attributes": {"n": 1, "f": 0.1, "b": true, "x": null, "l": [1, "a", {"k": []}], "é\n": "ü"},
    });
    let small = json!({"price": {"currency_code": "USD", "nanos": 1_000}, "author": "أحمد مراد"});
    let lines = json!({"title": "Line\r\nbreaks, \"quotes\"\tand\rmore ", "description": "\\"});
    for (title, members) in [("a", all), ("b", small), ("c", json!({})), ("d", lines)] {
        let request = json!({"book": with(a_book(title), members)});
        books(&server)
            .create_book(message::<bookstore_proto::v1::CreateBookRequest>(request))
            .await
            .expect("a book");
    }
    let rows = "SELECT id, title, author, description, price_micros, currency_code, stock, \
        category_id, cover_image, attributes FROM books ORDER BY id";
    let before = server.sql(rows).await;
    for (name, options) in [
        ("a.csv", ["--null", "\\N"].as_slice()),
        ("b.csv", &["--null", "\\N", "--delimiter", "\\t"]),
        ("c.jsonl", &[]),
    ] {
        let ended = run(&server, folder, &[["export", name].as_slice(), options].concat()).await;
        assert_eq!((ended.code, ended.output.as_str()), (Some(0), "exported 4\n"), "{ended:?}");
        assert!(!ended.errors.contains("warning"), "{ended:?}");
        server.sql("DELETE FROM books").await;
        let ended = run(&server, folder, &[["import", name].as_slice(), options].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(server.sql(rows).await, before, "{name}");
    }

    // Through pipes, with chosen columns.
    let asked = ["--format", "jsonl", "--filter", "title = a", "--column", "title=name"];
    let asked = [asked.as_slice(), &["--column", "attributes.l=list", "--column", "price=cost"]];
    let ended = run(&server, folder, &[["export", "-"].as_slice(), &asked.concat()].concat()).await;
    let price = json!({"currency_code": "JPY", "units": "10000000", "nanos": 0});
    let wanted = json!({"name": "a", "list": [1, "a", {"k": []}], "cost": price});
    assert_eq!(serde_json::from_str::<Value>(&ended.output).expect("a line"), wanted);
    assert_eq!(ended.errors, "exported 1\n");
    let asked =
        ["import", "-", "--format", "jsonl", "--column", "title=name", "--column", "price=cost"];
    let asked =
        [asked.as_slice(), &["--default", "author=B", "--column", "attributes.l=list"]].concat();
    let ended = finish(start(&url(&server), folder, &asked), &ended.output).await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (Some(0), "inserted 1\nupdated 0\nrejected 0\n")
    );

    // An empty text is marked where it would be read as unset.
    let ended =
        run(&server, folder, &["export", "d.csv", "--filter", "title = a AND stock = 7"]).await;
    assert!(ended.errors.contains("warning: 1 cells"), "{ended:?}");
    let ended = run(&server, folder, &["export", "d.csv", "--filter", "title ="]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("InvalidArgument"), "{ended:?}");
    assert_eq!(read(&file(folder, "d.csv")).1.len(), 1, "the file as it was");
}

async fn import_by_id_updates_books(engine: Engine) {
    let server = TestServer::start(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let write = |text: &str| std::fs::write(folder.join("a.csv"), text).expect("a file");
    let books = async || {
        let rows = server.sql("SELECT title, stock, description FROM books ORDER BY title").await;
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".into());
        let rows = rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>().join(", ")
    };
    let options = [["import", "a.csv", "--id-from", "key"].as_slice(), &DEFAULTS[..4]].concat();
    let with = |more: &[&'static str]| [options.as_slice(), more].concat();

    write("key,title,author,stock,description\n1,A,x,1,d\n2,B,x,2,e\n");
    assert_eq!(run(&server, folder, &options).await.code, Some(0));
    // Without a mask the present columns are updated, and no others.
    write("key,title,author,stock\n1,A2,x,5\n3,C,x,9\n");
    let ended = run(&server, folder, &with(&["--key", "id"])).await;
    assert_eq!(ended.output, "inserted 1\nupdated 1\nrejected 0\n", "{ended:?}");
    assert_eq!(books().await, "A2 5 d, B 2 e, C 9 -");
    let ended = run(&server, folder, &with(&["--key", "id", "--update", "stock"])).await;
    assert_eq!(ended.output, "inserted 0\nupdated 2\nrejected 0\n");
    write("key,title,author,stock\n1,A3,x,6\n");
    run(&server, folder, &with(&["--key", "id", "--update", "stock"])).await;
    assert_eq!(books().await, "A2 6 d, B 2 e, C 9 -");
    let ended = run(&server, folder, &with(&["--key", "id", "--update", "*"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(books().await, "A3 6 -, B 2 e, C 9 -");

    for (more, reported) in [
        (["--key", "id", "--update", "description"].as_slice(), "would be cleared"),
        (&["--key", "id", "--update", "id"], "an update changes title, author,"),
        (&["--update", "title"], "--key"),
        (&["--key", "title"], "possible values: id"),
    ] {
        let ended = run(&server, folder, &with(more)).await;
        assert!(matches!(ended.code, Some(1 | 2)) && ended.errors.contains(reported), "{ended:?}");
    }
    assert_eq!(books().await, "A3 6 -, B 2 e, C 9 -");
}

#[tokio::test]
async fn documented_import_example_runs_as_printed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = tidy::root().join("tests/data/goodbooks.csv");
    std::fs::copy(data, folder.path().join("goodbooks.csv")).expect("the data");
    let page =
        std::fs::read_to_string(tidy::root().join("docs/import-export.md")).expect("the resource");
    let mut commands = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for part in block.split("$ ").skip(1) {
            let (command, printed) = part.split_once('\n').expect("a command and its answer");
            let typed = format!("bookstore() {{ '{}' \"$@\"; }}; {command}", program().display());
            let mut shell = Command::new("sh");
            shell.env("BOOKSTORE_SERVER", url(&server)).current_dir(folder.path());
            let ended = shell.args(["-c", &typed]).output().await.expect("a shell");
            let ended = Ended::new(ended.status, &ended.stdout, &ended.stderr);
            for line in printed.lines().filter(|line| !line.starts_with("import ")) {
                let mut printed = ended.output.lines().chain(ended.errors.lines());
                assert!(printed.any(|printed| printed == line), "{command}\n{line}\n{ended:?}");
            }
            commands += 1;
        }
    }
    assert_eq!(commands, 6);
}

#[tokio::test]
async fn client_commands_refuse_server_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        |arguments: &[&str]| finish(start("http://127.0.0.1:1", folder.path(), arguments), "");
    for command in [&["import", "--help"], &["export", "--help"]] {
        let ended = run(command).await;
        assert!(ended.output.contains("Exit codes: 0 "), "{ended:?}");
        assert!(!ended.output.contains("database-url") && !ended.output.contains("Settings"));
    }
    for (arguments, code) in [
        (["import", "a.csv", "--log-level", "off"].as_slice(), 2),
        (&["--log-level", "off", "import", "a.csv"], 1),
    ] {
        let ended = run(arguments).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.errors.contains("the service, which is running"), "{ended:?}");
    }
}

/// Reads from a pipe until the text matches.
async fn read_until(pipe: &mut (impl AsyncReadExt + Unpin), fits: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4 << 10];
    while !fits(&text) {
        let count = pipe.read(&mut bytes).await.expect("more bytes");
        assert!(count > 0, "it ended with {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}
