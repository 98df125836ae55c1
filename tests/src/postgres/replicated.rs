//! A cluster with streaming replicas for one test: its nodes can be killed, frozen, delayed,
//! promoted and restarted.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use super::{
    ROLES,
    cluster::{self, Cluster},
    execute, processes,
};
use crate::{SOON, guard::Run, program::run, until};

/// The service's database.
const DATABASE: &str = "bookstore";

/// A primary and its replicas. The guard of the run stops what remains of it.
pub struct Replicated {
    nodes: Vec<Node>,
}

struct Node {
    directory: PathBuf,
    port: u16,
    cluster: Option<Cluster>,
}

impl Replicated {
    /// A migrated database on a primary, node 0, with this number of streaming replicas.
    ///
    /// # Panics
    /// If PostgreSQL isn't installed or a node doesn't start.
    pub async fn start(replicas: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let run_directory = tokio::task::spawn_blocking(|| Run::shared().directory.clone());
        let run_directory = run_directory.await.expect("no panic in the guard's start");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = |node: usize| run_directory.join(format!("postgres-{number}-{node}"));
        let primary = cluster::start(&directory(0)).await.expect("a primary");
        let port = primary.port;
        let mut nodes = vec![Node { directory: directory(0), port, cluster: Some(primary) }];
        for node in 1..=replicas {
            let replica = cluster::follow(&directory(node), port).await.expect("a replica");
            let port = replica.port;
            nodes.push(Node { directory: directory(node), port, cluster: Some(replica) });
        }
        let replicated = Self { nodes };
        let mut connection = replicated.connect_to(0, "postgres").await;
        execute(&mut connection, format!("CREATE DATABASE {DATABASE} TEMPLATE template0")).await;
        let mut connection = replicated.connect_to(0, DATABASE).await;
        execute(&mut connection, ROLES.to_owned()).await;
        let url = replicated.url("bookstore_owner", 0);
        let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(migrated.code, Some(0), "the database can't be migrated: {migrated:#?}");
        for node in 1..=replicas {
            replicated.caught_up(0, node).await;
        }
        replicated
    }

    /// The URL of a node for a role.
    pub fn url(&self, role: &str, node: usize) -> String {
        format!("postgres://{role}@{}/{DATABASE}", self.name(node))
    }

    /// The URL of all nodes in libpq's form.
    pub fn urls(&self, role: &str) -> String {
        let names: Vec<_> = (0..self.nodes.len()).map(|node| self.name(node)).collect();
        format!("postgres://{role}@{}/{DATABASE}", names.join(","))
    }

    /// The service's name of a node.
    pub fn name(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[node].port)
    }

    /// A connection to a node as the superuser.
    ///
    /// # Panics
    /// If the node doesn't answer.
    pub async fn connect(&self, node: usize) -> PgConnection {
        self.connect_to(node, DATABASE).await
    }

    async fn connect_to(&self, node: usize, database: &str) -> PgConnection {
        let options = self.options(node).database(database);
        PgConnection::connect_with(&options).await.expect("a connection as the superuser")
    }

    fn options(&self, node: usize) -> PgConnectOptions {
        let Node { directory, port, .. } = &self.nodes[node];
        let options = PgConnectOptions::new_without_pgpass().socket(directory).port(*port);
        options.username("postgres").database("postgres")
    }

    /// Runs SQL on a node as the superuser.
    ///
    /// # Panics
    /// If the node refuses it.
    pub async fn execute(&self, node: usize, sql: &str) {
        let mut connection = self.connect(node).await;
        // One statement a round trip, since ALTER SYSTEM must stand alone.
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            execute(&mut connection, statement.to_owned()).await;
        }
    }

    /// The single value that SQL returns on a node, as text.
    ///
    /// # Panics
    /// If it returns none.
    pub async fn value(&self, node: usize, sql: &str) -> String {
        let mut connection = self.connect(node).await;
        let sql = sqlx::AssertSqlSafe(format!("SELECT ({sql})::text"));
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a value")
    }

    /// Waits until a replica has replayed all that the primary has written.
    pub async fn caught_up(&self, primary: usize, replica: usize) {
        let target = self.value(primary, "pg_current_wal_flush_lsn()").await;
        // The service's database may not be replicated yet.
        let mut connection = self.connect_to(replica, "postgres").await;
        until("the replica has caught up", SOON, async || {
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{target}'");
            let sql = sqlx::AssertSqlSafe(sql);
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a value")
        })
        .await;
    }

    /// Delays the replay of commits on a replica.
    pub async fn delay(&self, replica: usize, delay: Duration) {
        let delay = delay.as_millis();
        let sql =
            format!("ALTER SYSTEM SET recovery_min_apply_delay = {delay}; SELECT pg_reload_conf()");
        self.execute(replica, &sql).await;
    }

    /// Promotes a replica.
    pub async fn promote(&self, replica: usize) {
        self.execute(replica, "SELECT pg_promote(true, 60)").await;
    }

    /// Attaches a replica to another primary, which must have all of the replica's WAL.
    pub async fn follow_to(&self, replica: usize, primary: usize) {
        let port = self.nodes[primary].port;
        let sql = format!(
            "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port={port} user=postgres'; \
             SELECT pg_reload_conf()"
        );
        self.execute(replica, &sql).await;
        let streams = format!(
            "SELECT count(*) FROM pg_stat_wal_receiver \
             WHERE status = 'streaming' AND sender_port = {port}"
        );
        until("the replica follows the other primary", SOON, async || {
            self.value(replica, &streams).await == "1"
        })
        .await;
        self.caught_up(primary, replica).await;
    }

    /// The replica with the most of a lost primary's WAL, and the others. It has every acknowledged
    /// write if the primary waited for one of them.
    pub async fn furthest(&self, replicas: &[usize]) -> (usize, Vec<usize>) {
        let mut at = Vec::new();
        for replica in replicas {
            // WAL in transit from the lost primary is received to its end.
            let streams = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            until("the replica has lost its primary", SOON, async || {
                self.value(*replica, streams).await == "0"
            })
            .await;
            let sql = "greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
                       - '0/0'::pg_lsn";
            let position: u64 = self.value(*replica, sql).await.parse().expect("a position");
            at.push((position, *replica));
        }
        at.sort_unstable();
        let (_, furthest) = at.pop().expect("a replica");
        (furthest, at.into_iter().map(|(_, replica)| replica).collect())
    }

    /// Kills a node (SIGKILL), like the loss of a machine. Returns its processes, all of which have
    /// ended.
    pub async fn kill(&mut self, node: usize) -> Vec<i32> {
        let killed = processes::kill(&self.nodes[node].directory);
        self.ended(node).await;
        killed
    }

    /// Stops a node with a fast shutdown.
    pub async fn stop(&mut self, node: usize) {
        processes::ask_to_stop(&self.nodes[node].directory);
        self.ended(node).await;
    }

    async fn ended(&mut self, node: usize) {
        if let Some(cluster) = self.nodes[node].cluster.take() {
            cluster.ended().await;
        }
    }

    /// Stops a node's processes (SIGSTOP): it answers nothing and closes nothing.
    pub fn freeze(&self, node: usize) {
        processes::freeze(&self.nodes[node].directory);
    }

    /// Stops one of a node's sessions, by its process: it answers nothing and closes nothing.
    pub fn freeze_session(&self, process: i32) {
        processes::freeze_one(process);
    }

    /// Continues a stopped session.
    pub fn thaw_session(&self, process: i32) {
        processes::thaw_one(process);
    }

    /// Continues a frozen node.
    pub fn thaw(&self, node: usize) {
        processes::thaw(&self.nodes[node].directory);
    }

    /// Starts a node again on its port with its data, whatever the other nodes are now.
    ///
    /// # Panics
    /// If it doesn't start, for example because earlier processes remain.
    pub async fn restart(&mut self, node: usize) {
        self.start_again(node, &[]).await;
    }

    /// The same with settings beside the usual ones, as in `listen_addresses=::1`.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn restart_with(&mut self, node: usize, settings: &[&str]) {
        self.start_again(node, settings).await;
    }

    /// A node without data, for a base backup, and the directory for it, which does not exist. The
    /// server's settings are for [`Replicated::write_private`].
    ///
    /// # Panics
    /// If the node's own directory can't be made.
    pub fn empty_node(&mut self) -> (usize, PathBuf) {
        let first = self.directory(0).display().to_string();
        let directory = PathBuf::from(format!("{first}-base-{}", self.nodes.len()));
        cluster::make(&directory).expect("a directory");
        let port = cluster::free_ports().next().expect("a free port");
        let data = directory.join("data");
        self.nodes.push(Node { directory, port, cluster: None });
        (self.nodes.len() - 1, data)
    }

    /// Runs commands of a shell as the account of the server and in the directory of a node, and
    /// returns what they print. The shell finds PostgreSQL's programs, and `PGPORT` is the port of
    /// the node.
    ///
    /// # Panics
    /// If one of them fails.
    pub async fn shell(&self, node: usize, commands: &str, variables: &[(&str, &str)]) -> String {
        let programs = super::programs::find().expect("PostgreSQL");
        let mut folders = vec![programs];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut shell = cluster::as_server_account(&"sh".into(), self.directory(node));
        shell.arg("-euc").arg(commands).envs(variables.iter().copied());
        shell.env("PATH", std::env::join_paths(folders).expect("folders"));
        shell.env("PGPORT", self.port(node).to_string());
        let output = tokio::process::Command::from(shell).output().await.expect("a shell");
        let errors = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{commands}: {errors} {printed}");
        printed
    }

    /// The port of a node.
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].port
    }

    /// The directory of a node's Unix domain socket.
    pub fn directory(&self, node: usize) -> &std::path::Path {
        &self.nodes[node].directory
    }

    /// Writes a file that only the server can read into its data directory, as keys must be.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write_private(&self, node: usize, name: &str, text: &str) {
        cluster::write_private(self.directory(node), name, text).expect("a file of the server");
    }

    /// The same, reachable only by its socket, so only by this harness.
    pub async fn restart_hidden(&mut self, node: usize) {
        self.start_again(node, &["listen_addresses="]).await;
    }

    async fn start_again(&mut self, node: usize, settings: &[&str]) {
        let Node { directory, port, .. } = &self.nodes[node];
        let cluster = cluster::start_again(directory, *port, settings).await;
        self.nodes[node].cluster = Some(cluster.expect("a node that starts again"));
    }

    /// Turns a stopped former primary into a replica of another one. It gets a new copy of all
    /// data, since pg_rewind, which copies only the difference, requires `full_page_writes`, which
    /// these clusters turn off.
    ///
    /// # Panics
    /// If there is no such primary.
    pub async fn rejoin(&mut self, node: usize, primary: usize) {
        let Node { directory, port, .. } = &self.nodes[node];
        let cluster = cluster::follow_again(directory, *port, self.nodes[primary].port).await;
        self.nodes[node].cluster = Some(cluster.expect("a replica in the directory of a primary"));
        self.caught_up(primary, node).await;
    }

    /// Those of the processes that run.
    pub fn running(processes: &[i32]) -> Vec<i32> {
        processes::running(processes)
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        for node in &self.nodes {
            // Also one that commands of a shell have started.
            processes::kill(&node.directory);
            // The files aren't used any more, and the processes that wrote them are killed.
            drop(fs::remove_dir_all(node.directory.join("data")));
        }
    }
}
