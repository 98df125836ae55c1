//! Imports and exports that are interrupted, cut off and refused: committed rows stay, and a
//! resumed run gives exactly the right rows.

use std::{fmt::Write as _, path::Path, process::Stdio};

use bookstore_tests::{Engine, Line, SOON, Signal, TestServer, on_every_engine, until};
use rustix::process::{Pid, kill_process};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use super::{DEFAULTS, Ended, file, finish, read, read_until, run, start, url};

on_every_engine!(
    interrupted_import_resumes_without_loss_or_duplicates,
    import_reconnects_after_a_lost_connection,
    resumed_export_appends_after_the_last_row,
);

/// Rows of a file; every hundredth is invalid.
fn rows(from: usize, to: usize) -> String {
    let mut text = String::new();
    for row in from..to {
        let title = if row % 100 == 50 { String::new() } else { format!("Book {row:05}") };
        let _ = writeln!(text, "{row},{title},Author");
    }
    text
}

const HEADER: &str = "key,title,author\n";

fn arguments() -> Vec<&'static str> {
    let import = ["import", "-", "--format", "csv", "--batch-size", "10"];
    [import.as_slice(), &["--column", "attributes.key=key", "--rejects", "r.csv"], &DEFAULTS]
        .concat()
}

async fn count(server: &TestServer) -> usize {
    server.database().value("SELECT count(*) FROM books").await.parse().expect("a count")
}

fn interrupt(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.expect("a running command"), Signal::INT).expect("a signal");
}

/// Asserts that every row is there once, and every invalid one was reported once.
async fn assert_exact(server: &TestServer, folder: &Path, whole: usize) {
    let titles = server.sql("SELECT title FROM books ORDER BY title").await;
    let titles: Vec<_> =
        titles.into_iter().map(|mut row| row.remove(0).expect("a title")).collect();
    let wanted = (0..whole).filter(|row| row % 100 != 50).map(|row| format!("Book {row:05}"));
    assert_eq!(titles, wanted.collect::<Vec<_>>());
    let (_, rejects) = read(&file(folder, "r.csv"));
    let lines: Vec<_> = rejects.iter().map(|row| row[0].to_owned()).collect();
    let wanted = (0..whole).filter(|row| row % 100 == 50).map(|row| (row + 2).to_string());
    assert_eq!(lines, wanted.collect::<Vec<_>>());
}

async fn interrupted_import_resumes_without_loss_or_duplicates(engine: Engine) {
    const ROWS: usize = 1_000;
    let server = TestServer::start(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let whole = format!("{HEADER}{}", rows(0, ROWS));
    std::fs::write(folder.join("whole.csv"), &whole).expect("a file");

    let mut import = start(&url(&server), folder, &arguments());
    let mut input = import.stdin.take().expect("its input");
    let part = format!("{HEADER}{}", rows(0, 405));
    input.write_all(part.as_bytes()).await.expect("a part of the file");
    until("some rows are written", SOON, async || count(&server).await >= 300).await;
    interrupt(&import);
    let ended = import.wait_with_output().await.expect("its end");
    let ended = Ended::new(ended.status, &ended.stdout, &ended.stderr);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let there = count(&server).await;
    assert!(there < 405 && ended.output.starts_with(&format!("inserted {there}\n")), "{ended:?}");

    let rejected = read(&file(folder, "r.csv")).1.len();

    // The printed command line, with the same input.
    let (_, command) = ended.errors.split_once("with the same file:\n").expect("a command line");
    let command = command.trim().to_owned();
    assert!(command.contains(" import --resume ") && command.contains(":"), "{command}");
    let resume = async |command: &str| {
        let mut shell = Command::new("sh");
        shell.env("BOOKSTORE_SERVER", url(&server)).current_dir(folder);
        shell.args(["-c", &format!("{command} < whole.csv")]).stdin(Stdio::null());
        let ended = shell.output().await.expect("a shell");
        Ended::new(ended.status, &ended.stdout, &ended.stderr)
    };
    let ended = resume(&command).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let rest = format!("inserted {}\nupdated 0\nrejected {}, ", 990 - there, 10 - rejected);
    assert!(ended.output.starts_with(&rest), "{rest}{ended:?}");
    assert_exact(&server, folder, ROWS).await;

    // Again from the start: the service returns its stored answers.
    let (before, place) = command.split_once(" --resume ").expect("a position");
    let (place, after) = place.split_once(' ').expect("a position");
    let (id, _) = place.split_once(':').expect("an id");
    let ended = resume(&format!("{before} --resume {id} {after}")).await;
    assert_eq!(ended.output, "inserted 990\nupdated 0\nrejected 10, see r.csv\n", "{ended:?}");
    assert_exact(&server, folder, ROWS).await;
    // With other options a batch contains other rows, and the service refuses it.
    let ended = resume(&format!("{before} --resume {id} {after} --null A")).await;
    assert_eq!(ended.code, Some(3), "no difference is reported: {ended:?}");
    let ended =
        resume(&format!("{before} --resume {id} {after}").replace("stock=3", "stock=4")).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = resume(&format!("{before} --resume {id}:102 {after}")).await;
    assert!(
        ended.code == Some(1) && ended.errors.contains("there are only 100 batches"),
        "{ended:?}"
    );
    assert_exact(&server, folder, ROWS).await;
}

async fn import_reconnects_after_a_lost_connection(engine: Engine) {
    const ROWS: usize = 600;
    let server = TestServer::start(engine).await;
    let line = Line::to_service(server.address()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut import = start(line.url(), folder, &arguments());
    let mut input = import.stdin.take().expect("its input");
    let mut errors = import.stderr.take().expect("its errors");
    let part = format!("{HEADER}{}", rows(0, 305));
    input.write_all(part.as_bytes()).await.expect("a part of the file");
    until("some rows are written", SOON, async || count(&server).await >= 200).await;
    line.cut();
    input.write_all(rows(305, ROWS).as_bytes()).await.expect("the rest");
    drop(input);
    read_until(&mut errors, |rejected| rejected.contains("trying again: ")).await;
    line.restore();
    let ended = tokio::time::timeout(SOON, import.wait_with_output()).await;
    let ended = ended.expect("its end").expect("its end");
    let ended = Ended::new(ended.status, &ended.stdout, &ended.stderr);
    assert_eq!(ended.output, "inserted 594\nupdated 0\nrejected 6, see r.csv\n");
    assert_exact(&server, folder, ROWS).await;

    // Without a service the command gives up in time, and prints how to resume.
    let away = start(
        "http://127.0.0.1:1",
        folder,
        &[
            "import",
            "-",
            "--format",
            "csv",
            "--retry-for",
            "300ms",
            "--default",
            "price=1",
            "--default",
            "price.currency_code=USD",
        ],
    );
    let ended = finish(away, "title,author\nT,A\n").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("Unavailable") && ended.errors.contains(":1@"), "{ended:?}");
}

async fn resumed_export_appends_after_the_last_row(engine: Engine) {
    let server = TestServer::start(engine).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let large = "y".repeat(9_000);
    let text: String = (0..1_500).fold("title,author,description\n".to_owned(), |mut text, row| {
        let _ = writeln!(text, "Book {row:05},A,{large}");
        text
    });
    std::fs::write(folder.join("in.csv"), text).expect("a file");
    let ended = run(&server, folder, &[["import", "in.csv"].as_slice(), &DEFAULTS].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    // 13 MB exceed all buffers between the service and a pipe that isn't read.
    let line = Line::to_service(server.address()).await;
    let arguments = [
        "export",
        "-",
        "--format",
        "csv",
        "--order-by",
        "title",
        "--column",
        "title=t",
        "--column",
        "description=d",
    ];
    let mut export = start(line.url(), folder, &arguments);
    let mut output = export.stdout.take().expect("its output");
    let mut text = read_until(&mut output, |text| text.lines().count() > 10).await;
    line.cut();
    let errors = export.stderr.take().expect("its errors");
    let waits = async {
        let mut errors = errors;
        read_until(&mut errors, |rejected| rejected.contains("trying again: ")).await;
        line.restore();
        errors
    };
    let rest = async {
        let mut rest = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut output, &mut rest).await.expect("the rest");
        rest
    };
    let (rest, _errors) = tokio::join!(rest, waits);
    text.push_str(&rest);
    assert!(export.wait().await.expect("its end").success());
    let (_, rows) = read(&text);
    let titles: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(titles, (0..1_500).map(|row| format!("Book {row:05}")).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row[1] == large));

    // A file is either complete or unchanged.
    std::fs::write(folder.join("out.csv"), "before").expect("a file");
    let ended = finish(
        start("http://127.0.0.1:1", folder, &["export", "out.csv", "--retry-for", "0s"]),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(file(folder, "out.csv"), "before");
    let names: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
