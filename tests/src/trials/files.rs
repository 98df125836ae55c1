//! A large file is imported and exported: the speed, and the command's memory.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write as _},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{Engine, TestServer, program};

/// The bound of a command's memory.
const MOST_MEMORY: u64 = 64 << 20;

/// Imports a generated file of this many rows and exports it, on each engine.
pub(super) async fn files(rows: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    generate(&folder.join("in.csv"), rows).expect("a file");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let import = ["import", "in.csv", "--default", "price.currency_code=USD"];
        let import = [import.as_slice(), &["--column", "attributes.language=language"]].concat();
        run(&server, folder, rows, &import).await;
        let export = ["export", "out.csv", "--order-by", "title"];
        let columns = ["title", "author", "description", "price", "stock", "attributes.language"];
        let columns = columns.map(|field| format!("{field}={}", field.replace("attributes.", "")));
        let columns = columns.iter().flat_map(|column| ["--column", column.as_str()]);
        let export: Vec<&str> = export.into_iter().chain(columns).collect();
        run(&server, folder, rows, &export).await;
        assert!(same(&folder.join("in.csv"), &folder.join("out.csv")), "{engine:?}");
    }
}

/// Rows in the order of their titles, in the format of an export.
fn generate(path: &Path, rows: u32) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "title,author,description,price,stock,language")?;
    let description = "What it is about, at some length. ".repeat(6);
    for row in 0..rows {
        let author = ["Ada Brontë", "أحمد مراد", "Γεώργιος Σεφέρης", "村上 春樹"][row as usize % 4];
        let price = format!("{}.{}", row % 90 + 1, row % 9 + 1);
        writeln!(
            file,
            "\"The {row:07}th Book, of \"\"Many\"\"\",{author},\"{description}\",{price},{},eng",
            row % 50
        )?;
    }
    file.flush()
}

fn same(one: &Path, other: &Path) -> bool {
    let lines =
        |path| BufReader::new(File::open(path).expect("a file")).lines().map_while(Result::ok);
    lines(one).eq(lines(other))
}

/// Runs a command to its end and reads its peak memory meanwhile, which only rises.
async fn run(server: &TestServer, folder: &Path, rows: u32, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(program());
    command.args(arguments).current_dir(folder).env_clear();
    command.env("BOOKSTORE_SERVER", format!("http://{}", server.address()));
    let start = Instant::now();
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().expect("the program");
    let status = format!("/proc/{}/status", child.id().expect("its id"));
    let mut peak = 0;
    let ended = loop {
        let now = peak_memory(&status).unwrap_or_default();
        peak = peak.max(now);
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(20), child.wait()).await {
            break ended.expect("its end");
        }
    };
    assert!(ended.success(), "{arguments:?}: {ended}");
    let took = start.elapsed();
    let rate = f64::from(rows) / took.as_secs_f64();
    eprintln!(
        "{:?}: {} {rate:.0} rows/s, {} KiB",
        server.database().engine(),
        arguments[0],
        peak >> 10
    );
    assert!(peak <= MOST_MEMORY, "{peak} bytes");
}

fn peak_memory(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
