//! Every command in README.md and docs/tour.md returns its printed answer: with the project's own
//! client, and with each program `grpcurl` in the folders of `PATH`, Go's and grpcurl-rs.

mod dynamic;
mod text;
mod usage;

use std::{
    collections::{BTreeSet, HashMap},
    env,
    net::SocketAddr,
    path::PathBuf,
};

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_tests::{Engine, TestServer};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use self::text::{Answer, Printed, printed, words};
use crate::{admin, tidy};

pub(crate) use self::dynamic::call;

/// The address that the pages print.
const CALLS: &str = "localhost:50051";
const OPERATORS: &str = "localhost:50052";

/// What makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The project's own client. It takes JSON as protobuf defines it.
    Own,
    /// The original grpcurl. It takes a FieldMask as an object.
    Go,
    /// grpcurl-rs.
    Rs,
}

impl Kind {
    /// Whether a block is for it. A block may be for one program alone.
    fn takes(self, block: &Printed) -> bool {
        match block.only.as_str() {
            "" => true,
            "go" => self == Self::Go,
            _ => self != Self::Go,
        }
    }
}

/// The programs called `grpcurl` on this machine, which may be none.
async fn programs() -> Vec<(Kind, PathBuf)> {
    let mut found = Vec::new();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let program = folder.join("grpcurl");
        if !program.is_file() || found.iter().any(|(_, known)| *known == program) {
            continue;
        }
        let said = Command::new(&program).arg("-version").output().await.expect("grpcurl");
        let said = [said.stdout, said.stderr].concat();
        // `grpcurl v1.8.6` and `grpcurl dev build` are Go's.
        let said = String::from_utf8_lossy(&said);
        let is_go = said.contains("grpcurl v") || said.contains("dev build");
        found.push((if is_go { Kind::Go } else { Kind::Rs }, program));
    }
    found
}

#[tokio::test]
async fn every_documented_command_prints_its_documented_answer() {
    let mut callers = vec![(Kind::Own, PathBuf::new())];
    callers.extend(programs().await);
    for (kind, program) in callers {
        for (path, least) in [("README.md", 4), ("docs/tour.md", 25)] {
            let server = TestServer::builder(Engine::Sqlite).flag("--sample-data");
            let server = server.env("ADMIN_ADDR", "127.0.0.1:0").start().await;
            let admin = server.admin_address().await;
            let text = std::fs::read_to_string(tidy::root().join(path)).expect(path);
            let blocks = printed(&text);
            let mut actual = HashMap::new();
            let mut count = 0;
            for block in blocks.iter().filter(|block| kind.takes(block)) {
                let command = this_run(&block.command, &actual);
                if command.starts_with("curl ") {
                    assert_eq!(block.answer, curl(admin, &command).await, "{path}: {command}");
                } else if let Some(asked) = schema(&command) {
                    let said = match kind {
                        Kind::Own => described(&asked),
                        _ => run(&program, server.address(), &command).await,
                    };
                    let (printed, said) = (text::schema(&block.answer), text::schema(&said));
                    assert!(!printed.is_empty() && printed == said, "{path}: {command}\n{said:?}");
                } else {
                    let said = match kind {
                        Kind::Own => own(&server, &command).await,
                        _ => Answer::read(&run(&program, server.address(), &command).await),
                    };
                    let printed = Answer::read(&block.answer);
                    // Only grpcurl-rs prints no details.
                    assert!(
                        kind == Kind::Rs || !said.lacks_details(),
                        "{path}: {command}: no details"
                    );
                    printed.compare(&said, &mut actual, &format!("{path}, {kind:?}: {command}"));
                }
                count += 1;
            }
            assert!(count >= least, "{count} commands in {path}");
        }
    }
}

/// A command with the values of this run, as a reader pastes them.
fn this_run(command: &str, actual: &HashMap<String, String>) -> String {
    let mut command = command.to_owned();
    for (printed, value) in actual {
        command = command.replace(printed, value);
    }
    command
}

/// The output of a program for a command: standard output, then standard error.
async fn run(program: &std::path::Path, address: SocketAddr, command: &str) -> String {
    let typed = command.replace(CALLS, &address.to_string());
    let typed = format!("grpcurl() {{ '{}' \"$@\"; }}; {typed}", program.display());
    let ended = Command::new("sh").args(["-c", &typed]).output().await.expect("a shell");
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    )
}

/// The symbol that a command asks the description of; the empty one for all services.
fn schema(command: &str) -> Option<String> {
    let words = words(command);
    match words.iter().map(String::as_str).skip_while(|word| *word != CALLS).collect::<Vec<_>>()[..]
    {
        [_, "list"] => Some(String::new()),
        [_, "describe", symbol] => Some(symbol.to_owned()),
        _ => None,
    }
}

/// What a program prints of the contract: the services, or a message's fields.
fn described(symbol: &str) -> String {
    if symbol.is_empty() {
        let services = DESCRIPTOR_POOL.services().map(|service| service.full_name().to_owned());
        let services: BTreeSet<String> = services.collect();
        return services.into_iter().collect::<Vec<_>>().join("\n");
    }
    let message = DESCRIPTOR_POOL.get_message_by_name(symbol).expect(symbol);
    let fields =
        message.fields().map(|field| format!("  x {} = {};", field.name(), field.number()));
    fields.collect::<Vec<_>>().join("\n")
}

/// Makes a command's call with the project's own client.
async fn own(server: &TestServer, command: &str) -> Answer {
    let words = words(command);
    let mut body = "{}";
    let mut metadata = Vec::new();
    let mut rest = words[1..].iter().map(String::as_str);
    let method = loop {
        match rest.next().expect("a method") {
            "-plaintext" => {}
            "-d" => body = rest.next().expect("a request"),
            "-H" => {
                let header = rest.next().and_then(|header| header.split_once(": "));
                metadata.push(header.expect("a key and a value"));
            }
            CALLS => break rest.next().expect("a method"),
            other => panic!("{other} in {command}"),
        }
    };
    if method == "grpc.health.v1.Health/Check" {
        let request: Value = serde_json::from_str(body).expect("a request in JSON");
        let service = request["service"].as_str().unwrap_or_default().to_owned();
        let mut health = HealthClient::new(server.channel());
        let answer = health.check(HealthCheckRequest { service }).await.expect("an answer");
        let status = answer.into_inner().status();
        return Answer { values: vec![json!({"status": status.as_str_name()})], refusal: None };
    }
    let requests = serde_json::Deserializer::from_str(body).into_iter();
    let requests: Vec<Value> = requests.map(|value| value.expect("JSON")).collect();
    dynamic::answer(server, method, requests, &metadata).await
}

/// What curl prints, after `| grep` if there is one.
async fn curl(admin: SocketAddr, command: &str) -> String {
    let words = words(command);
    let after = |flag: &str| {
        words.iter().skip_while(|word| *word != flag).nth(1).map_or("", String::as_str)
    };
    let method = if after("-X").is_empty() { "GET" } else { after("-X") };
    let path = words.iter().find_map(|word| word.strip_prefix(OPERATORS)).expect("a path");
    let (code, body) = admin::ask(admin, method, path, after("-d")).await;
    assert_eq!(code, 200, "{command}: {body}");
    let begins = after("grep").trim_start_matches('^');
    let lines = body.lines().filter(|line| line.starts_with(begins));
    lines.collect::<Vec<_>>().join("\n")
}
