//! `bookstore dev --container`. A POSIX shell script is the engine: it records its command lines, and
//! where an engine would start the container it starts the cluster of a second project, so that the
//! database behind the port is a real one. What the real engines do with these command lines is not
//! tested here.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bookstore_tests::{Finished, program};

use super::{Project, STOPPED};

/// The engine. `$RECORD` is a folder with its state and `server`, the second project.
const ENGINE: &str = r#"#!/bin/sh
cd "$RECORD" || exit 1
{ printf '%s' "$1"; verb=$1; shift; for part; do printf ' <%s>' "$part"; done; echo; } >>commands
[ -z "$PGPASSWORD" ] || echo 'the PGPASSWORD of another server' >>commands
server() { (cd server && "$PROGRAM" dev "$1" >/dev/null 2>&1); }
case $verb in
info) [ ! -e broken ] || { echo 'Cannot connect to the daemon' >&2; exit 1; } ;;
image) [ -e pulled ] ;;
pull) [ ! -e offline ] || { echo 'no route to the registry' >&2; exit 1; }
    echo 'layer 1 of 1'; : >pulled ;;
run) [ ! -e taken ] || { echo 'port is already allocated' >&2; exit 125; }
    printf '%s' "$POSTGRES_PASSWORD" >password
    echo running >state
    if [ -e ends ]; then echo exited >state; else server up; fi ;;
ps) [ ! -e state ] || echo the-container ;;
container) cat state ;;
stop) server down; echo exited >state ;;
rm) server down; rm -f state ;;
volume) [ "$1" != ls ] || sed -n 2p "$PROJECT/.bookstore/container" ;;
logs) echo 'the last line of the log' >&2 ;;
exec) cat ;;
*) exit 64 ;;
esac
"#;

/// A project whose container the script runs.
struct Engine {
    project: Project,
    /// The cluster that answers.
    server: Project,
    folder: tempfile::TempDir,
}

impl Engine {
    async fn new() -> Self {
        let (project, server) = (Project::new(), Project::new());
        let folder = tempfile::tempdir().expect("a folder");
        // podman too, or a real one would answer where docker does not.
        let script = folder.path().join("docker");
        std::os::unix::fs::symlink(&script, folder.path().join("podman")).expect("a link");
        fs::write(&script, ENGINE).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
        std::os::unix::fs::symlink(server.path(), folder.path().join("server")).expect("a link");
        // Both have the same port and password.
        server.succeed(&["dev", "up"]).await;
        server.succeed(&["dev", "down"]).await;
        let kept = project.path().join(".bookstore");
        fs::create_dir(&kept).expect("a folder");
        for name in ["port", "password"] {
            let from = server.path().join(".bookstore").join(name);
            fs::copy(from, kept.join(name)).expect("a copy");
        }
        Self { project, server, folder }
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_in(&self.project, arguments).await
    }

    async fn run_in(&self, project: &Project, arguments: &[&str]) -> Finished {
        let others = std::env::var("PATH").expect("a PATH");
        let (program, folder) = (program(), self.folder.path().display().to_string());
        let variables = [
            ("PATH", &*format!("{folder}:{others}")),
            ("PROGRAM", program.to_str().expect("a path")),
            ("PROJECT", &self.project.path().display().to_string()),
            ("RECORD", &folder),
            // It belongs to the client of this machine.
            ("PGPASSWORD", "of another server"),
        ];
        project.run_with(arguments, &variables).await
    }

    async fn succeed(&self, arguments: &[&str]) -> Finished {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished
    }

    /// The command lines since the last question, without questions of its state.
    fn commands(&self) -> Vec<String> {
        let file = self.file("commands");
        let text = fs::read_to_string(&file).expect("commands");
        fs::write(&file, "").expect("a file");
        let questions = ["info", "ps", "container", "image"];
        let is_question = |line: &&str| questions.iter().any(|it| line.starts_with(it));
        text.lines().filter(|line| !is_question(line)).map(str::to_owned).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kept(&self, name: &str) -> String {
        let text = fs::read_to_string(self.project.path().join(".bookstore").join(name));
        text.expect("a file of .bookstore").trim().to_owned()
    }

    fn name(&self) -> String {
        self.kept("container").lines().nth(1).expect("a name").to_owned()
    }

    fn run_line(&self) -> String {
        let (name, port) = (self.name(), self.kept("port"));
        let project = self.project.path();
        format!(
            "run <--detach> <--name> <{name}> <--label> <bookstore.project={}> <--publish> \
             <127.0.0.1:{port}:5432> <--volume> <{name}:/var/lib/postgresql/data> <--shm-size> \
             <256m> <--env> <PGDATA=/var/lib/postgresql/data> <--env> \
             <POSTGRES_INITDB_ARGS=--encoding=UTF8 --locale-provider=icu --icu-locale=en-US \
             --locale=C.UTF-8> <--env> <POSTGRES_PASSWORD> \
             <postgres:16-bookworm>",
            project.display()
        )
    }
}

#[tokio::test]
async fn container_is_made_once_and_its_url_answers() {
    let engine = Engine::new().await;
    let up = engine.succeed(&["dev", "up", "--container"]).await;
    let pull = "pull <postgres:16-bookworm>".to_owned();
    assert_eq!(engine.commands(), [pull, engine.run_line()]);
    // The image's progress is shown, beside the one line of standard output.
    assert!(up.errors.contains("layer 1 of 1"), "{up:?}");
    assert_eq!(up.output, format!("DATABASE_URL={}\n", engine.project.url()));
    let password = fs::read_to_string(engine.file("password")).expect("a password");
    assert_eq!(password, engine.kept("password"), "it is in the environment of the engine");
    assert_eq!(engine.project.value("SELECT 7::bigint").await, 7);

    // The folder knows that it has a container, and what runs is not started again.
    assert_eq!(engine.succeed(&["dev", "up"]).await.output, up.output);
    assert_eq!(engine.commands(), Vec::<String>::new());
    let status = engine.succeed(&["dev", "status"]).await.output;
    assert!(status.starts_with(&format!("running (container {})\n", engine.name())), "{status}");
    assert!(status.contains(&format!("data the volume {} of docker\n", engine.name())), "{status}");
    engine.commands();

    let logs = engine.succeed(&["dev", "logs", "-n", "3"]).await;
    assert_eq!(logs.output, "the last line of the log\n", "on standard output");
    engine.succeed(&["dev", "psql", "-c", "SELECT 1"]).await;
    let name = engine.name();
    let psql = format!(
        "exec <--interactive> <--env> <PGUSER=bookstore_owner> <--env> <PGDATABASE=bookstore> \
         <{name}> <psql> <-c> <SELECT 1>"
    );
    assert_eq!(engine.commands(), [format!("logs <--tail> <3> <{name}>"), psql]);

    assert_eq!(engine.succeed(&["dev", "down"]).await.output, "stopped\n");
    assert_eq!(engine.commands(), [format!("stop <-t> <60> <{name}>")]);
    assert_eq!(engine.run(&["dev", "status"]).await.code, Some(STOPPED));
    let psql = engine.run(&["dev", "psql"]).await;
    assert!(psql.errors.contains("does not run: bookstore dev up starts it"), "{psql:?}");
    assert_eq!(engine.succeed(&["dev", "down"]).await.output, "not running\n");
    engine.commands();

    // Started again it is a new container on the same volume.
    engine.succeed(&["dev", "up"]).await;
    assert_eq!(engine.commands(), [format!("rm <--force> <{name}>"), engine.run_line()]);

    engine.succeed(&["dev", "reset", "--yes"]).await;
    let (list, delete) = (
        format!("volume <ls> <--quiet> <--filter> <name={name}>"),
        format!("volume <rm> <{name}>"),
    );
    let remove = format!("rm <--force> <{name}>");
    assert_eq!(engine.commands(), [remove, list, delete, engine.run_line()]);
    assert_ne!(engine.name(), name, "a new volume has a new name");
    engine.succeed(&["dev", "down"]).await;
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_and_nothing_is_left() {
    let engine = Engine::new().await;
    let refused = async |says: &str| {
        let finished = engine.run(&["dev", "up", "--container"]).await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.errors.contains(says), "{says}: {finished:?}");
        assert!(!engine.project.path().join(".env").exists(), "{finished:?}");
    };
    let set = |name: &str| fs::write(engine.file(name), "").expect("a file");
    let unset = |name: &str| fs::remove_file(engine.file(name)).expect("a file");
    set("broken");
    refused("docker info failed (exit status: 1): Cannot connect to the daemon\npodman info").await;
    unset("broken");
    set("offline");
    refused("no route to the registry").await;
    refused("docker pull postgres:16-bookworm failed (exit status: 1)").await;
    unset("offline");
    // Another image can be tried after that.
    assert!(!engine.project.path().join(".bookstore/container").exists());
    set("taken");
    refused("docker run failed (exit status: 125): port is already allocated").await;
    unset("taken");
    let remove = format!("rm <--force> <{}>", engine.name());
    assert_eq!(engine.commands().last(), Some(&remove), "the engine keeps what it created");
    set("ends");
    refused(&format!("PostgreSQL does not start in the container {}", engine.name())).await;
    refused("the last line of the log").await;
    unset("ends");
    engine.succeed(&["dev", "up"]).await;

    // A copy of the folder would share the container.
    let copy = Project::new();
    let kept = copy.path().join(".bookstore");
    fs::create_dir(&kept).expect("a folder");
    for name in ["port", "password", "container"] {
        let from = engine.project.path().join(".bookstore").join(name);
        fs::copy(from, kept.join(name)).expect("a copy");
    }
    engine.commands();
    for verb in [&["dev", "up"][..], &["dev", "down"], &["dev", "reset", "--yes"]] {
        let finished = engine.run_in(&copy, verb).await;
        assert_eq!(finished.code, Some(1), "{verb:?}: {finished:?}");
        let says = format!("this folder is a copy of {}", engine.project.path().display());
        assert!(finished.errors.contains(&says), "{finished:?}");
    }
    assert_eq!(engine.commands(), Vec::<String>::new());
    // A folder that was moved keeps it.
    fs::rename(engine.project.path().join(".bookstore"), engine.file("away")).expect("a move");
    engine.run_in(&copy, &["dev", "down"]).await;
    assert_eq!(
        engine.commands(),
        [format!("stop <-t> <60> <{}>", {
            let text = fs::read_to_string(kept.join("container")).expect("a file");
            text.lines().nth(1).expect("a name").to_owned()
        })]
    );

    // A database without a container stays one.
    let finished = engine.run_in(&engine.server, &["dev", "up", "--container"]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.errors.contains("has a database without a container"), "{finished:?}");
}

#[tokio::test]
async fn container_without_an_engine_says_what_to_install() {
    let (project, empty) = (Project::new(), tempfile::tempdir().expect("a folder"));
    let path = [("PATH", empty.path().to_str().expect("a path"))];
    let refused = project.run_with(&["dev", "up", "--container"], &path).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let says = "neither docker nor podman is on PATH: install one of them";
    assert!(refused.errors.contains(says), "{refused:?}");
}
