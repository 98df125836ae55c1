//! Commands in the pipe of a backup whose content is longer than a pipe holds: when one end fails, the
//! program ends and says why.

use std::process::Stdio;

use bookstore_tests::{Database, Engine, SOON, on_every_engine, program};
use tokio::process::Command;

use super::{backup, empty, names, ok, refused, text};

on_every_engine!(wrong_end_of_a_pipe_is_a_sentence);

/// A cipher of no strength.
const TURN: &str = "tr '\\000-\\377' '\\200-\\377\\000-\\177'";

/// Passes its input on in large parts, and says by its exit code that its output was closed.
const SLOW: &str = "dd obs=1M 2> /dev/null || exit 5";

/// A database of about a megabyte that does not compress.
async fn large(engine: Engine) -> Database {
    let database = super::filled(engine).await;
    let sql = match engine {
        Engine::Postgres => {
            "INSERT INTO categories (id, name) SELECT gen_random_uuid(), md5(random()::text) || \
             md5(random()::text) FROM generate_series(1, 20000)"
        }
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
             INSERT INTO categories (id, name) SELECT randomblob(16), hex(randomblob(32)) FROM n"
        }
    };
    database.sql(sql).await;
    database
}

async fn wrong_end_of_a_pipe_is_a_sentence(engine: Engine) {
    let (database, folder) = (large(engine).await, tempfile::tempdir().expect("a folder"));
    let file = text(&backup(&database, &folder, &["--encrypt-command", TURN]).await);
    let restored = empty(engine).await;
    // The content is wrong in its first part, and the command has more to write.
    for wrong in ["cat", SLOW] {
        let wrong = ["restore", &file, "--decrypt-command", wrong];
        refused(&restored, &wrong, &["can't be read", "is --decrypt-command the right one?"]).await;
    }
    let failing = ["restore", &file, "--decrypt-command", "head -c 9 > /dev/null; exit 7"];
    refused(&restored, &failing, &["--decrypt-command failed (exit code 7)"]).await;
    let short = ["restore", &file, "--decrypt-command", &format!("{TURN} | head -c 9000")];
    refused(&restored, &short, &["--decrypt-command ended before it had read its whole input"])
        .await;
    ok(&restored, &["restore", &file, "--decrypt-command", TURN]).await;
    let count = "SELECT count(*) FROM categories";
    assert_eq!(restored.value(count).await, database.value(count).await);
}

/// The room ends while the command still writes.
#[tokio::test]
async fn full_disk_behind_a_command_is_a_sentence() {
    let database = large(Engine::Postgres).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    command.arg("-c").arg("trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"").arg(program());
    command.args(["backup", "--to", &text(folder.path()), "--encrypt-command", SLOW]);
    command.env_clear().env("DATABASE_URL", database.owner_url()).kill_on_drop(true);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    let output = tokio::time::timeout(SOON, command.output()).await.expect("its end in time");
    let output = output.expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("no room") && errors.contains("free some"), "{errors}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

/// The server refuses the script while the command still writes.
#[tokio::test]
async fn server_that_refuses_a_decrypted_backup_is_the_reason() {
    let (database, folder) =
        (large(Engine::Postgres).await, tempfile::tempdir().expect("a folder"));
    let file = text(&backup(&database, &folder, &["--encrypt-command", "cat"]).await);
    let restored = empty(Engine::Postgres).await;
    let other = "CREATE FUNCTION public.book_words(title text, author text, description text) \
                 RETURNS int LANGUAGE sql AS 'SELECT 1'";
    restored.sql(other).await;
    let says = ["psql: ", "function \"book_words\" already exists"];
    refused(&restored, &["restore", &file, "--decrypt-command", SLOW], &says).await;
}
