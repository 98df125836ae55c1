//! A backup and a restore that are ended in the middle leave what was there.

use std::{fs, path::Path};

use bookstore_tests::{Database, Engine, SOON, on_every_engine, until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Child, backup, categories, empty, filled, is_same, names, ok, start, text};

on_every_engine!(
    ended_backup_leaves_no_file,
    ended_restore_leaves_the_empty_database,
    ended_forced_restore_leaves_the_rows,
);

/// A command that passes its input on, and waits in the middle of it until a file is removed.
struct Gate(TempDir);

impl Gate {
    fn new() -> Self {
        let gate = Self(tempfile::tempdir().expect("a folder"));
        gate.close();
        gate
    }

    fn close(&self) {
        fs::write(self.0.path().join("closed"), "").expect("a file");
    }

    fn open(&self) {
        fs::remove_file(self.0.path().join("closed")).expect("the file");
    }

    /// The command of the shell. It ends with the gate's folder.
    fn command(&self) -> String {
        let folder = text(self.0.path());
        format!(
            "dd bs=1 count=2000 2> {folder}/said; : > {folder}/reached; \
             while [ -e {folder}/closed ]; do sleep 0.05; done; cat"
        )
    }

    async fn reached(&self) {
        let file = self.0.path().join("reached");
        until("the command is in the middle", SOON, async || file.exists()).await;
        fs::remove_file(&file).expect("the file");
    }
}

/// Sends a signal and waits for the end. Ctrl-C and SIGTERM say what happened.
async fn end(child: Child, signal: Signal, gate: &Gate) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.expect("a running process"), signal).expect("a signal");
    if signal == Signal::KILL {
        // The program could not end the command, which would hold its standard error.
        gate.open();
    }
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
    let output = output.expect("its end in time").expect("its end");
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = match signal {
        Signal::INT => Some(130),
        Signal::TERM => Some(143),
        _ => None,
    };
    assert_eq!(output.status.code(), code, "{errors}");
    assert!(code.is_none() || errors.contains("interrupted: nothing was left"), "{errors}");
    gate.close();
}

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::KILL];

async fn ended_backup_leaves_no_file(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let gate = Gate::new();
    let (to, encrypt) = (text(folder.path()), gate.command());
    for signal in SIGNALS {
        let child = start(&database, &["backup", "--to", &to, "--encrypt-command", &encrypt]);
        gate.reached().await;
        assert!(is_hidden(folder.path()), "it has no name yet: {:?}", names(folder.path()));
        end(child, signal, &gate).await;
        if signal != Signal::KILL {
            assert!(names(folder.path()).is_empty(), "{signal:?}: {:?}", names(folder.path()));
        }
    }
    assert!(is_hidden(folder.path()), "SIGKILL leaves what is not listed");
    let listed = ok(&database, &["backup", "list", &to]).await;
    assert_eq!(listed.output.lines().count(), 1, "{listed:?}");
    ok(&database, &["backup", "--to", &to]).await;
    let left = names(folder.path());
    assert!(left.len() == 1 && left[0].ends_with(".backup"), "the next one tidies up: {left:?}");
}

/// Whether a folder has one entry, which is hidden.
fn is_hidden(folder: &Path) -> bool {
    matches!(names(folder).as_slice(), [one] if one.starts_with(".bookstore-unfinished-"))
}

async fn ended_restore_leaves_the_empty_database(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = text(&backup(&database, &folder, &["--encrypt-command", "cat"]).await);
    let restored = empty(engine).await;
    let gate = Gate::new();
    for signal in SIGNALS {
        let child = start(&restored, &["restore", &file, "--decrypt-command", &gate.command()]);
        gate.reached().await;
        end(child, signal, &gate).await;
        no_session(&restored).await;
        match &restored {
            Database::Postgres(_) => {
                let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
                assert_eq!(restored.value(tables).await, "0", "{signal:?}");
            }
            Database::Sqlite(sqlite) => assert!(!sqlite.path().exists(), "{signal:?}"),
        }
    }
    ok(&restored, &["restore", &file, "--decrypt-command", "cat"]).await;
    is_same(&restored, &database).await;
    if let Database::Sqlite(sqlite) = &restored {
        let left = names(sqlite.folder());
        assert!(left.iter().all(|name| name.starts_with("bookstore.db")), "{left:?}");
    }
}

async fn ended_forced_restore_leaves_the_rows(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = text(&backup(&database, &folder, &["--encrypt-command", "cat"]).await);
    database.sql("DELETE FROM categories WHERE name LIKE 'Category 1%'").await;
    let rows = categories(&database).await;
    let gate = Gate::new();
    for signal in SIGNALS {
        let decrypt = gate.command();
        let child = start(&database, &["restore", &file, "--force", "--decrypt-command", &decrypt]);
        gate.reached().await;
        end(child, signal, &gate).await;
        no_session(&database).await;
        assert_eq!(categories(&database).await, rows, "{signal:?}");
        ok(&database, &["migrate", "check"]).await;
    }
}

/// Waits until the server has ended the sessions of the killed programs.
async fn no_session(database: &Database) {
    if let Database::Postgres(_) = database {
        let sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                        AND application_name = 'bookstore-backup'";
        until("the sessions end", SOON, async || database.sql(sessions).await.is_empty()).await;
    }
}
