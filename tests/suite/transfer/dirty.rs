//! Real-world files: broken, odd, empty. Valid rows are imported, the rest is reported.

use std::path::Path;

use bookstore_tests::{Engine, TestServer, on_every_engine};

use super::{DEFAULTS, Ended, file, finish, run, start, url};

on_every_engine!(dirty_file_is_rejected_row_by_row);

/// A file's bytes, additional arguments, the exit code, the text of standard output or standard
/// error, and the notes of the rejects file.
type Case<'a> = (&'a str, &'a [u8], &'a [&'a str], i32, &'a [&'a str], &'a [&'a str]);

/// UTF-8 with a byte order mark, lines that end in CRLF, and a blank one.
const MARKED: &[u8] = b"\xef\xbb\xbftitle,author\r\nT,A\r\n\r\n\"U\r\nV\",A\r\n";

async fn import(server: &TestServer, folder: &Path, name: &str, more: &[&str]) -> Ended {
    let arguments = [["import", name].as_slice(), &DEFAULTS, more].concat();
    run(server, folder, &arguments).await
}

async fn dirty_file_is_rejected_row_by_row(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (wide, tall) = ("x".repeat(20_000), "y\n".repeat(600_000));
    let huge = format!("title,author\nT1,{wide}\nT2,A\nT3,\"{tall}\"\nT4,A\n");
    let (open, close) = ("[".repeat(60), "]".repeat(60));
    let deep = format!("title,author,attributes\nT,A,\"{{\"\"a\"\":{open}{close}}}\"\n");
    let other = b"title,writer\nT,A\n";
    let cases: &[Case<'_>] = &[
        ("bom.csv", MARKED, &[], 0, &["inserted 2\n"], &[]),
        (
            "bytes.csv",
            b"title,author,other\nT,\xe9,x\nT,A,\xe9\nT,A\nT,A,x,y\nT\0,A,x\n",
            &[],
            3,
            &["inserted 1\n", "rejected 4"],
            &[
                "2,author,author is not UTF-8",
                "4,,\"the record has 2 cells, the header has 3\"",
                "5,,\"the record has 4 cells, the header has 3\"",
                "6,title,title ",
            ],
        ),
        (
            "twice.csv",
            b"title,author,author\nT,A,B\n",
            &[],
            1,
            &["column \"author\" is there twice"],
            &[],
        ),
        (
            "none.csv",
            other,
            &[],
            1,
            &[
                "author: has neither a column nor a default",
                "the file's columns are \"title\", \"writer\"",
            ],
            &[],
        ),
        (
            "map.csv",
            other,
            &["--column", "author=authors"],
            1,
            &["author: the file has no column \"authors\"", "\"writer\""],
            &[],
        ),
        (
            "map.csv",
            other,
            &["--column", "author=writer", "--column", "author=title"],
            1,
            &["author: two --column name it"],
            &[],
        ),
        (
            "map.csv",
            other,
            &["--column", "writer=writer"],
            2,
            &["no field is called \"writer\""],
            &[],
        ),
        (
            "map.csv",
            b"title,author\nT,A\n",
            &["--default", "attributes=1"],
            1,
            &["--default attributes: must be a JSON object"],
            &[],
        ),
        ("utf16.csv", b"\xff\xfet\0i\0\n\0", &[], 1, &["the header is not UTF-8"], &[]),
        ("empty.csv", b"", &[], 1, &["is empty: it has no header"], &[]),
        ("header.csv", b"title,author\n", &[], 0, &["inserted 0\n"], &[]),
        ("empty.jsonl", b"\n\n", &[], 0, &["inserted 0\n"], &[]),
        ("books.txt", b"title,author\nT,A\n", &[], 1, &["say --format"], &[]),
        (
            "books.txt",
            b"title;author\nT;A\n",
            &["--format", "csv", "--delimiter", ";"],
            0,
            &["inserted 1\n"],
            &[],
        ),
        (
            "huge.csv",
            huge.as_bytes(),
            &[],
            3,
            &["inserted 2\n", "rejected 2"],
            &[
                "2,author,author must have 1 to 255 characters; it has 20000,T1,",
                "4,,\"the record has 1200006 bytes, at most 1048576 are read\"",
            ],
        ),
        (
            "deep.csv",
            deep.as_bytes(),
            &[],
            3,
            &["rejected 1"],
            &["2,attributes,attributes nests too many"],
        ),
        (
            "open.csv",
            b"title,author\nT,A\nT,\"A\nT,A\n",
            &[],
            3,
            &["inserted 1\n"],
            &["3,,a quote of the record is not closed"],
        ),
        (
            "quotes.csv",
            // The form of MySQL's exports.
            b"title,author\n\"A Child Called \\\"X\\\": One\",B\n\"ok\",B\n",
            &[],
            3,
            &["inserted 1\n", "rejected 1"],
            &["2,title,\"title has text behind a closing quote: ", "2,title,"],
        ),
        (
            "escaped.csv",
            b"title,author\n\"A Child Called \\\"X\\\": One\",B\n\"bad\\n\",B\n",
            &["--escape", "\\"],
            3,
            &["inserted 1\n", "rejected 1"],
            &["\"3\",\"title\",\"title has the escape character before one"],
        ),
        (
            "header.csv",
            b"\"title\"x,author\nT,A\n",
            &[],
            1,
            &["column 1 of the header has text behind a closing quote"],
            &[],
        ),
        (
            "ids.csv",
            b"id,title,author,category_id\n\
            1,T,A,\n\
            00000000-0000-7000-8000-00000000000a,T,A,\n\
            00000000-0000-7000-8000-00000000000a,U,A,\n\
            ,T,A,00000000-0000-7000-8000-00000000000a\n",
            &[],
            3,
            &["inserted 1\n", "rejected 3"],
            &["2,id,id ", "4,id,id ", "5,category_id,category_id "],
        ),
        (
            "lines.jsonl",
            b"{\"title\":\"T\",\"author\":\"A\",\"stock\":-1,\"cover_image\":7}\n\
            null\n{\"title\":\n\xff\n{\"title\":\"T\",\"author\":\"A\"}\n",
            &[],
            3,
            &["inserted 1\n", "rejected 4"],
            &[
                "{\"_line\":1,\"_field\":\"cover_image\",\"_reason\":\"cover_image must be a text, \
                 in quotes\",\"title\":\"T\"",
                "{\"_line\":2,\"_field\":\"\",\"_reason\":\"the line is no JSON object\",\
                 \"_raw\":\"null\"}",
                "{\"_line\":3,",
                "{\"_line\":4,",
            ],
        ),
    ];
    for (name, bytes, more, code, wanted, rejects) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        std::fs::write(folder.join(name), bytes).expect("a file");
        let before = count(&server).await;
        let ended = import(&server, folder, name, more).await;
        assert_eq!(ended.code, Some(*code), "{name} {more:?}: {ended:?}");
        for wanted in *wanted {
            let printed = ended.output.contains(wanted) || ended.errors.contains(wanted);
            assert!(printed, "{name} {more:?} doesn't print {wanted:?}: {ended:?}");
        }
        if *code != 0 && *code != 3 {
            assert_eq!(count(&server).await, before, "{name}: nothing was sent");
        }
        let ending = name.rsplit_once('.').map_or("csv", |(_, ending)| ending);
        let stem = Path::new(name).with_extension(format!("rejects.{ending}"));
        assert_eq!(folder.join(&stem).exists(), !rejects.is_empty(), "{name}");
        if rejects.is_empty() {
            continue;
        }
        let text = file(folder, stem.to_str().expect("a name"));
        for reject in *rejects {
            let found = text.lines().any(|line| line.starts_with(reject));
            let shown: String = text.chars().take(2_000).collect();
            assert!(found, "{name}: {reject:?} isn't in\n{shown}");
        }
    }

    let quoted = "SELECT count(*) FROM books WHERE title = 'A Child Called \"X\": One'";
    assert_eq!(server.database().value(quoted).await, "1", "the title as it is meant");

    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // An older rejects file isn't overwritten, and an import from a pipe writes one too.
    std::fs::write(folder.join("import.rejects.csv"), "precious").expect("a file");
    let arguments = [["import", "-", "--format", "csv"].as_slice(), &DEFAULTS].concat();
    let ended = finish(start(&url(&server), folder, &arguments), "title,author\nT,\n").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("import.rejects.csv is there already"), "{ended:?}");
    assert_eq!(file(folder, "import.rejects.csv"), "precious");
    std::fs::remove_file(folder.join("import.rejects.csv")).expect("a file");
    let ended = finish(start(&url(&server), folder, &arguments), "title,author\nT,\nU,A").await;
    assert_eq!(ended.output, "inserted 1\nupdated 0\nrejected 1, see import.rejects.csv\n");
    let ended = import(&server, folder, "gone.csv", &[]).await;
    assert!(ended.code == Some(1) && ended.errors.contains("gone.csv: "), "{ended:?}");
}

async fn count(server: &TestServer) -> String {
    server.database().value("SELECT count(*) FROM books").await
}
