//! The format of `/metrics`, by the rules of Prometheus' text format and no more lenient.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use bookstore_proto::v1::{
    ListBooksRequest, VerifyPasswordRequest, user_service_client::UserServiceClient,
};
use bookstore_server::meters;
use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, until};
use tonic::Code;

use super::{get, with_admin};
use crate::{
    client,
    lifecycle::{Held, waits_for_lock},
};

on_every_engine!(metrics_parse_as_prometheus_text);

/// A metric family with its samples: each a name, sorted labels and a value.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Parses a text strictly: each family once, HELP and TYPE before its samples, each sample once.
fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current) = (BTreeSet::new(), None);
    let mut seen = BTreeSet::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        let problem = |text: &str| Err(format!("{text}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return problem("no help") };
            if help.trim().is_empty() || !is_escaped(help, false) || !helped.insert(name) {
                return problem("a help that is empty, not escaped or there already");
            }
            current = None;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return problem("no type") };
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            if !known || !helped.contains(name) || families.contains_key(name) {
                return problem("a type that is none, without help or there already");
            }
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            families.insert(name.to_owned(), family);
            current = Some(name);
        } else {
            let (name, labels, value) = sample(line).ok_or(format!("no sample: {line}"))?;
            let Some(of) = current else { return problem("a sample without its type") };
            let family = families.get_mut(of).ok_or("the type is noted")?;
            let endings = match &*family.kind {
                "histogram" => ["_bucket", "_sum", "_count"].as_slice(),
                _ => [""].as_slice(),
            };
            if !endings.iter().any(|ending| name == format!("{of}{ending}")) {
                return problem("a sample of another family");
            }
            if value.is_nan() || family.kind != "gauge" && value < 0.0 {
                return problem("a value that can't be");
            }
            if !seen.insert((name.clone(), labels.clone())) {
                return problem("a sample that is there already");
            }
            family.samples.push((name, labels, value));
        }
    }
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
        buckets(name, family)?;
    }
    Ok(families)
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str, more: &str| {
        let fits = |it: char| it.is_ascii_alphabetic() || more.contains(it);
        name.starts_with(fits) && name.chars().all(|it| fits(it) || it.is_ascii_digit())
    };
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inside.split_once("=\"")?;
            let mut escaped = false;
            let end = value.find(|it| {
                let ends = it == '"' && !escaped;
                escaped = it == '\\' && !escaped;
                ends
            })?;
            let (value, behind) = (&value[..end], &value[end + 1..]);
            let fits = is_name(label, "_") && is_escaped(value, true);
            if !fits || labels.insert(label.to_owned(), value.to_owned()).is_some() {
                return None;
            }
            match behind.strip_prefix(',') {
                Some(more) => inside = more,
                None => {
                    rest = behind.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = match rest.strip_prefix(' ')? {
        "+Inf" => f64::INFINITY,
        number => number.parse().ok()?,
    };
    is_name(name, "_:").then(|| (name.to_owned(), labels, value))
}

/// Whether every backslash starts a valid escape.
fn is_escaped(text: &str, quoted: bool) -> bool {
    let mut rest = text.chars();
    while let Some(it) = rest.next() {
        let fits =
            it != '\\' || rest.next().is_some_and(|it| "\\n".contains(it) || quoted && it == '"');
        if !fits {
            return false;
        }
    }
    true
}

/// Buckets grow up to the count, and the last one is `+Inf`.
fn buckets(name: &str, family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for (sample, labels, value) in &family.samples {
        let mut others = labels.clone();
        let edge = others.remove("le");
        match edge {
            Some(edge) if sample.ends_with("_bucket") => {
                let edge = edge.parse().map_err(|_| format!("le={edge} of {name}"))?;
                series.entry(others).or_default().push((edge, *value));
            }
            None if !sample.ends_with("_bucket") => {}
            _ => return Err(format!("le where it mustn't be, or not, of {sample}")),
        }
    }
    let find = |ending: &str, labels: &BTreeMap<_, _>| {
        let name = format!("{name}{ending}");
        family.samples.iter().find(|it| it.0 == name && it.1 == *labels).map(|it| it.2)
    };
    for (labels, edges) in &series {
        let grows = edges.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let last = edges.last().ok_or("a series has a bucket")?;
        if !grows || last.0 != f64::INFINITY || Some(last.1) != find("_count", labels) {
            return Err(format!("buckets of {name} with {labels:?}: {edges:?}"));
        }
        find("_sum", labels).ok_or(format!("no sum of {name} with {labels:?}"))?;
    }
    let counts = family.samples.iter().filter(|it| it.0.ends_with("_count")).count();
    match counts == series.len() && counts > 0 {
        true => Ok(()),
        false => Err(format!("{counts} counts of {name}, {} series of buckets", series.len())),
    }
}

async fn metrics_parse_as_prometheus_text(engine: Engine) {
    let (server, address) = with_admin(engine).await;
    let mut books = client::books(&server);
    books.list_books(ListBooksRequest::default()).await.expect("a list");
    books.create_book(client::create("x", client::a_book("Dune"))).await.expect_err("no id");
    let (code, text) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    let families = parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    let calls = &families["rpc_server_call_duration_seconds"];
    assert_eq!(calls.kind, "histogram");
    let count = |method: &str, code: &str| -> f64 {
        let fits = |labels: &BTreeMap<String, String>| {
            labels["rpc_method"].ends_with(method) && labels["rpc_response_status_code"] == code
        };
        let counts = calls.samples.iter().filter(|it| it.0.ends_with("_count") && fits(&it.1));
        counts.map(|it| it.2).sum()
    };
    assert_eq!(count("/ListBooks", "OK"), 1.0, "{text}");
    assert_eq!(count("/CreateBook", "INVALID_ARGUMENT"), 1.0, "{text}");
    // Every metric of the documented tables that has values is there.
    let mut known: Vec<String> = meters::all().map(|it| it.name.replace('.', "_")).collect();
    known.extend(PROCESS.map(str::to_owned));
    for name in families.keys().filter(|name| *name != "target_info") {
        assert!(known.iter().any(|known| name.starts_with(&**known)), "{name}");
    }
}

/// The metrics of the process, in the order of the documentation.
const PROCESS: [&str; 7] = [
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_start_time_seconds",
];

/// The values are those of the server's process, as the system tells them of it, and they follow
/// what it does.
#[tokio::test]
async fn process_metrics_are_those_of_the_service() {
    let before = SystemTime::now();
    let (server, address) = with_admin(Engine::Sqlite).await;
    let scrape = async || {
        let families = parse(&get(address, "/metrics").await.1).expect("Prometheus' form");
        let value = |name: &str| {
            let family = families.get(name).unwrap_or_else(|| panic!("no {name}"));
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!((&*family.kind, family.samples.len()), (kind, 1), "{name}");
            family.samples[0].2
        };
        PROCESS.map(value)
    };
    let [resident, address_space, cpu, open, most, threads, started] = scrape().await;
    let status = fs::read_to_string(format!("/proc/{}/status", server.process()));
    let status = status.expect("the status of the process");
    let of_system = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.split_whitespace().next().and_then(|text| text.parse().ok()).expect(name)
    };
    // It goes on working between the two answers.
    let near = |value: f64, other: f64| (value - other).abs() <= other * 0.25;
    assert!(near(resident, of_system("VmRSS:") * 1024.0), "{resident} {status}");
    assert!(near(address_space, of_system("VmSize:") * 1024.0), "{address_space} {status}");
    assert!(near(threads, of_system("Threads:")), "{threads} {status}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process())).expect("limits");
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = limit.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    assert_eq!(Some(most), limit, "{limits}");
    let age = started - before.duration_since(UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!((-2.0..60.0).contains(&age), "it started {age} s after the test");

    // Connections are file descriptors (those of the answers come and go), and hashes of passwords are CPU time.
    let mut open_connections = Vec::new();
    for _ in 0..20 {
        let stream = tokio::net::TcpStream::connect(server.address()).await;
        open_connections.push(stream.expect("a connection"));
    }
    let mut users = UserServiceClient::new(server.channel());
    for _ in 0..3 {
        let request =
            VerifyPasswordRequest { email: "a@example.com".into(), password: "wrong".into() };
        users.verify_password(request).await.expect_err("no such user");
    }
    until("connections and CPU time are counted", SOON, async || {
        let [_, _, cpu_after, open_after, ..] = scrape().await;
        open_after >= open + 15.0 && cpu_after > cpu
    })
    .await;
}

/// Calls that timed out while waiting for a connection must count, since operators look for them.
#[tokio::test]
async fn pool_wait_that_times_out_is_counted_in_the_histogram() {
    let server = TestServer::builder(Engine::Postgres)
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env("DATABASE_POOL_TIMEOUT", "1s")
        .start()
        .await;
    let (database, address) = (server.database(), server.admin_address().await);
    let held = Held::table(&database).await;
    let mut books = client::books(&server);
    let call = tokio::spawn(async move { books.list_books(ListBooksRequest::default()).await });
    waits_for_lock(&database).await;
    let list = client::books(&server).list_books(ListBooksRequest::default()).await;
    assert_eq!(list.expect_err("no connection").code(), Code::ResourceExhausted);
    let families = parse(&get(address, "/metrics").await.1).expect("Prometheus' form");
    let waits = &families["db_client_connection_wait_time_seconds"];
    let sum = waits.samples.iter().find(|it| it.0.ends_with("_sum")).expect("a sum");
    assert!(sum.2 >= 1.0, "{waits:?}");
    held.release().await;
    call.await.expect("no panic").expect("a list");
}

/// The parser finds malformed texts, or the test above would prove nothing.
#[test]
fn malformed_prometheus_text_is_refused() {
    let head = "# HELP a Some.\n# TYPE a counter\n";
    let histogram = "# HELP a Some.\n# TYPE a histogram\n";
    let good = [
        format!("{head}a 1\n"),
        format!("{head}a{{x=\"\\\"\\\\\\n\",y=\"}}\"}} 1e3\n"),
        format!(
            "{histogram}a_bucket{{le=\"1\"}} 1\na_bucket{{le=\"+Inf\"}} 2\na_sum 3\na_count 2\n"
        ),
    ];
    for text in good {
        assert!(parse(&text).is_ok(), "{:?} of {text}", parse(&text));
    }
    let wrong = [
        format!("{head}a 1"),
        "a 1\n".to_owned(),
        "# TYPE a counter\na 1\n".to_owned(),
        "# HELP a Some.\na 1\n".to_owned(),
        format!("{head}a 1\n{head}a 2\n"),
        format!("{head}b 1\n"),
        format!("{head}a 1\na 1\n"),
        format!("{head}a -1\n"),
        format!("{head}a NaN\n"),
        format!("{head}a{{x=\"1\n\"}} 1\n"),
        format!("{head}a{{x=\"\\d\"}} 1\n"),
        format!("{head}a{{x=\"1\",x=\"2\"}} 1\n"),
        format!("{head}a{{1x=\"1\"}} 1\n"),
        format!("{histogram}a_bucket{{le=\"1\"}} 2\na_sum 3\na_count 2\n"),
        format!(
            "{histogram}a_bucket{{le=\"1\"}} 3\na_bucket{{le=\"+Inf\"}} 2\na_sum 3\na_count 2\n"
        ),
        format!("{histogram}a_bucket{{le=\"+Inf\"}} 1\na_sum 3\na_count 2\n"),
        format!("{histogram}a_bucket{{le=\"+Inf\"}} 2\na_count 2\n"),
        format!("{histogram}a_sum 3\na_count 2\n"),
    ];
    for text in wrong {
        assert!(parse(&text).is_err(), "{text}");
    }
}
