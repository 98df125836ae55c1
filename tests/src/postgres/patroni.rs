//! Three nodes under Patroni, with an etcd that holds the leader lock: the trial of that name uses
//! them, as production does, to promote replicas.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    ROLES, cluster, execute,
    managers::{find, start},
    processes, programs,
};
use crate::{guard::Run, program::run, until};

/// The number of nodes. After the loss of one a primary and a synchronous replica remain.
pub(crate) const NODES: usize = 3;

/// The timeout of any step. Patroni takes half a minute to see a lost leader.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(3);

/// The service's database.
const DATABASE: &str = "bookstore";

/// Three nodes under Patroni. The guard of the run stops what remains of them.
pub(crate) struct Patroni {
    nodes: Vec<Node>,
    // Held so that the ended process is collected.
    _etcd: Child,
}

struct Node {
    manager: Option<Child>,
    /// The port of Patroni's REST API.
    api: u16,
    /// The port of PostgreSQL.
    port: u16,
    /// PostgreSQL's folder: its socket, and its data below.
    directory: PathBuf,
    config: PathBuf,
}

impl Patroni {
    /// A migrated database on three nodes, replicated synchronously.
    ///
    /// # Panics
    /// If a program isn't installed (the message says how to install it), or a node doesn't start.
    pub(crate) async fn start() -> Self {
        let missing = ["etcd", "patroni"].into_iter().filter(|name| find(name).is_none());
        let missing: Vec<_> = missing.collect();
        assert!(
            missing.is_empty(),
            "{} isn't installed; on Debian: apt-get install patroni etcd-server",
            missing.join(" and ")
        );
        let programs = programs::find().unwrap_or_else(|error| panic!("{error}"));
        let base = tokio::task::spawn_blocking(|| Run::shared().directory.clone());
        let base = base.await.expect("no panic in the guard's start");
        let mut ports = cluster::free_ports();
        let mut port = || ports.next().expect("a free port");
        let (client, peer) = (port(), port());
        let etcd = start_etcd(&base, client, peer);
        let nodes = (1..=NODES).map(|number| {
            let directory = base.join(format!("postgres-patroni-{number}"));
            cluster::make(&directory).expect("a folder for a node");
            let (api, port) = (port(), port());
            let settings = settings(&programs, &directory, number, client, api, port);
            let config = directory.join("patroni.json");
            fs::write(&config, settings.to_string()).expect("a file for Patroni");
            Node { manager: None, api, port, directory, config }
        });
        let mut patroni = Self { nodes: nodes.collect(), _etcd: etcd };
        for node in 0..NODES {
            patroni.start_again(node);
        }
        let leader = patroni.healthy().await;
        let mut connection = patroni.connect(leader, "postgres").await;
        execute(&mut connection, format!("CREATE DATABASE {DATABASE} TEMPLATE template0")).await;
        let mut connection = patroni.connect(leader, DATABASE).await;
        execute(&mut connection, ROLES.to_owned()).await;
        let urls = patroni.urls("bookstore_owner");
        let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &urls)]).await;
        assert_eq!(migrated.code, Some(0), "the database can't be migrated: {migrated:#?}");
        patroni
    }

    /// The URL of all nodes in libpq's form.
    pub(crate) fn urls(&self, role: &str) -> String {
        let names: Vec<_> = (0..NODES).map(|node| self.name(node)).collect();
        format!("postgres://{role}@{}/{DATABASE}", names.join(","))
    }

    /// The service's name of a node.
    pub(crate) fn name(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[node].port)
    }

    /// The rows of SQL on a node, as texts.
    ///
    /// # Panics
    /// If the node refuses it.
    pub(crate) async fn rows(&self, node: usize, sql: &str) -> Vec<String> {
        let mut connection = self.connect(node, DATABASE).await;
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("an answer")
    }

    async fn connect(&self, node: usize, database: &str) -> PgConnection {
        let Node { directory, port, .. } = &self.nodes[node];
        let options = PgConnectOptions::new_without_pgpass().socket(directory).port(*port);
        let options = options.username("postgres").database(database);
        PgConnection::connect_with(&options).await.expect("a connection as the superuser")
    }

    /// Waits until there are a leader, a synchronous replica and another replica; returns the
    /// leader.
    pub(crate) async fn healthy(&self) -> usize {
        let mut leader = None;
        until("Patroni has a leader and two replicas", TIMEOUT, async || {
            let members = self.members().await;
            let with_role = |role: &str| {
                let is_up = |it: &&Value| it["state"] == "running" || it["state"] == "streaming";
                members.iter().filter(move |it| it["role"] == role).filter(is_up).count()
            };
            let counts = ["leader", "sync_standby", "replica"].map(with_role);
            leader = self.leads(&members);
            counts == [1, 1, 1] && leader.is_some()
        })
        .await;
        leader.expect("a leader")
    }

    /// The present leader according to Patroni.
    pub(crate) async fn leader(&self) -> Option<usize> {
        self.leads(&self.members().await)
    }

    fn leads(&self, members: &[Value]) -> Option<usize> {
        let leader =
            members.iter().find(|it| it["role"] == "leader" && it["state"] == "running")?;
        self.nodes.iter().position(|node| leader["port"] == node.port)
    }

    /// The members according to the first node that answers.
    async fn members(&self) -> Vec<Value> {
        for node in &self.nodes {
            if let Some(answer) = ask(node.api, "GET", "/cluster", "").await
                && let Ok(mut cluster) = serde_json::from_str::<Value>(&answer)
                && let Value::Array(members) = cluster["members"].take()
            {
                return members;
            }
        }
        Vec::new()
    }

    /// Lets Patroni switch over from the leader to another node, as for maintenance.
    pub(crate) async fn switch_over(&self, leader: usize) {
        let wanted = json!({"leader": self.member(leader)}).to_string();
        let answer = ask(self.nodes[leader].api, "POST", "/switchover", &wanted).await;
        let answer = answer.unwrap_or_default();
        assert!(answer.contains("uccessfully switched over"), "Patroni answers {answer:?}");
    }

    fn member(&self, node: usize) -> String {
        format!("node{}", node + 1)
    }

    /// Kills PostgreSQL on a node (SIGKILL). Patroni continues.
    pub(crate) fn kill_postgres(&self, node: usize) {
        processes::kill(&self.nodes[node].directory);
    }

    /// Kills Patroni and PostgreSQL of a node, like the loss of a machine.
    pub(crate) fn lose(&mut self, node: usize) {
        let mut manager = self.nodes[node].manager.take().expect("a running node");
        manager.kill().expect("Patroni is killed");
        manager.wait().expect("Patroni's end");
        self.kill_postgres(node);
    }

    /// Starts Patroni on a node. Patroni starts PostgreSQL.
    pub(crate) fn start_again(&mut self, node: usize) {
        let Node { directory, config, .. } = &self.nodes[node];
        let base = directory.parent().expect("the run's folder");
        let name = self.member(node);
        let child = start(base, &name, "patroni", &[&config.display().to_string()]);
        self.nodes[node].manager = Some(child);
    }
}

fn start_etcd(base: &Path, client: u16, peer: u16) -> Child {
    let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let cluster = format!("etcd={peer}");
    let arguments = [
        ["--name", "etcd"],
        ["--data-dir", "data"],
        ["--listen-client-urls", &client],
        ["--advertise-client-urls", &client],
        ["--listen-peer-urls", &peer],
        ["--initial-advertise-peer-urls", &peer],
        ["--initial-cluster", &cluster],
        ["--log-level", "warn"],
    ];
    start(base, "etcd", "etcd", arguments.as_flattened())
}

/// Patroni's settings for a node: the default times, and synchronous mode, without which a lost
/// leader loses acknowledged writes. JSON is YAML.
fn settings(
    programs: &Path,
    directory: &Path,
    number: usize,
    etcd: u16,
    api: u16,
    port: u16,
) -> Value {
    let [api, postgres] = [api, port].map(|port| format!("127.0.0.1:{port}"));
    json!({
        "scope": "bookstore",
        "name": format!("node{number}"),
        "restapi": {"listen": api, "connect_address": api},
        "etcd3": {"host": format!("127.0.0.1:{etcd}")},
        "bootstrap": {
            "dcs": {
                "ttl": 30,
                "loop_wait": 10,
                "retry_timeout": 10,
                "synchronous_mode": true,
                "postgresql": {
                    "use_pg_rewind": true,
                    "parameters": {"wal_level": "replica", "max_connections": 200},
                },
            },
            "initdb": ["data-checksums", {"encoding": "UTF8"}, {"locale": "C"}],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "bin_dir": programs,
            "data_dir": directory.join("data"),
            "pgpass": directory.join("pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": "super"},
                "replication": {"username": "replicator", "password": "follow"},
            },
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 trust",
                "host replication all 127.0.0.1/32 trust",
            ],
            "parameters": {
                "unix_socket_directories": directory,
                "dynamic_shared_memory_type": "mmap",
                "shared_buffers": "64MB",
                // Nothing outlives the run.
                "fsync": "off",
            },
        },
    })
}

/// A request to Patroni; `None` if it doesn't answer.
async fn ask(api: u16, method: &str, path: &str, body: &str) -> Option<String> {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", api)).await?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, asked).await.ok()?.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}
