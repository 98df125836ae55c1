//! Settings: their sources, refused values, and the printed configuration.

use bookstore_tests::{Engine, Finished, TestServer, run};

/// The exit code for wrong settings.
const REFUSED: i32 = 64;

/// The exit code for a wrong command line.
const MISTYPED: i32 = 2;

/// Flags, environment variables, and the text of the error.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);

/// A settings file with this text.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).expect("a file");
    (folder, path.to_str().expect("a path as text").to_owned())
}

/// The line that `config` prints for a key, and the line above it with the source.
fn printed(finished: &Finished, key: &str) -> (String, String) {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines: Vec<&str> = finished.output.lines().collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("{key} = ")));
    let at = at.unwrap_or_else(|| panic!("no {key} in {}", finished.output));
    (lines[at].to_owned(), lines[at - 1].to_owned())
}

#[tokio::test]
async fn wrong_setting_is_refused_before_a_port_opens() {
    let (_folder, wrong) = file("shutdown_pause = \"later\"\nlisten_adr = \"127.0.0.1:0\"\n");
    let cases: &[Case<'_>] = &[
        (
            &[],
            &[("DATABASE_POOL_SIZE", "none")],
            &["database_pool_size = \"none\"", "the environment variable DATABASE_POOL_SIZE"],
        ),
        (
            &["--database-pool-size", "0"],
            &[],
            &["database_pool_size = \"0\"", "the flag --database-pool-size"],
        ),
        (
            &["--config", &wrong],
            &[],
            &[
                "shutdown_pause = \"later\"",
                "line 1 of",
                &wrong,
                "unknown key \"listen_adr\"",
                "line 2 of",
                "did you mean listen_addr?",
            ],
        ),
        (
            &[],
            &[("BOOKSTORE_CONFIG", "/nowhere/settings.toml")],
            &["/nowhere/settings.toml", "BOOKSTORE_CONFIG"],
        ),
        (
            &[],
            &[("DATABASE_REPLICA_URLS", "postgres://replica/db")],
            &["database_replica_urls", "SQLite has no replicas", "DATABASE_REPLICA_URLS"],
        ),
        (
            &[],
            &[("DATABASE_URL", "mysql://app:s3cret@host/db")],
            &["database_url from the environment variable DATABASE_URL", "mysql is not supported"],
        ),
        (&[], &[("DATABASE_URL_FILE", "/nowhere/url")], &["/nowhere/url", "DATABASE_URL_FILE"]),
        (&[], &[("LOG_LEVEL", "loud")], &["log_level = \"loud\""]),
        (
            &[],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317")],
            &["OTEL_EXPORTER_OTLP_ENDPOINT", "TLS to the collector is not supported"],
        ),
        (
            &[],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            &["OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf is not supported"],
        ),
        (
            &[],
            &[("MAX_MESSAGE_SIZE", "1GiB"), ("SHUTDOWN_PAUSE", "soon")],
            &["max_message_size = \"1GiB\"", "shutdown_pause = \"soon\""],
        ),
    ];
    for (flags, environment, parts) in cases {
        let arguments = [&["serve", "--listen-addr", "127.0.0.1:0"], *flags].concat();
        let finished = run(&arguments, environment).await;
        assert_eq!(finished.code, Some(REFUSED), "{flags:?} {environment:?}: {finished:?}");
        assert_eq!(finished.output, "", "the port was opened");
        for part in *parts {
            assert!(finished.errors.contains(part), "no {part:?} in {}", finished.errors);
        }
        assert!(!finished.errors.contains("s3cret"), "{}", finished.errors);
    }
}

#[tokio::test]
async fn wrong_command_line_is_refused() {
    for arguments in [&["serve", "--no-such-flag"][..], &["fly"][..], &[][..]] {
        let finished = run(arguments, &[]).await;
        assert_eq!(finished.code, Some(MISTYPED), "{arguments:?}: {finished:?}");
        assert_eq!(finished.output, "");
        assert!(finished.errors.contains("Usage"), "{}", finished.errors);
    }
}

#[tokio::test]
async fn flag_overrides_environment_overrides_file() {
    let (_folder, path) =
        file("database_pool_size = 3\nlog_level = \"warn\"\nshutdown_pause = \"1s\"\n");
    let environment =
        [("BOOKSTORE_CONFIG", path.as_str()), ("DATABASE_POOL_SIZE", "4"), ("LOG_LEVEL", "error")];
    let finished = run(&["config", "--database-pool-size", "5"], &environment).await;
    for (key, line, origin) in [
        ("database_pool_size", "database_pool_size = 5", "the flag --database-pool-size"),
        ("log_level", "log_level = \"error\"", "the environment variable LOG_LEVEL"),
        ("shutdown_pause", "shutdown_pause = \"1s\"", "line 3 of"),
        ("database_max_overflow", "database_max_overflow = 20", "the default"),
    ] {
        let (value, from) = printed(&finished, key);
        assert_eq!(value, line);
        assert!(from.contains(origin), "{from}");
    }
}

#[tokio::test]
async fn config_prints_no_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("url");
    std::fs::write(&secret, "postgres://app:s3cret@db.example:5433/books\n").expect("a file");
    let secret = secret.to_str().expect("a path as text");
    let direct = "postgres://app:s3cret@db.example:5433/books";
    for (environment, origin) in [
        ([("DATABASE_URL", direct)], "the environment variable DATABASE_URL"),
        ([("DATABASE_URL_FILE", secret)], secret),
    ] {
        let finished = run(&["config"], &environment).await;
        let (value, from) = printed(&finished, "database_url");
        assert_eq!(value, "database_url = \"postgres://app:***@db.example:5433/books\"");
        assert!(from.contains(origin), "{from}");
        assert!(!format!("{finished:?}").contains("s3cret"));
    }
}

/// The printed settings are a valid settings file, which prints the same again.
#[tokio::test]
async fn printed_config_is_accepted_as_a_file() {
    let first = run(&["config"], &[("DATABASE_POOL_TIMEOUT", "1500ms")]).await;
    let (_folder, path) = file(&first.output);
    let second = run(&["config", "--config", &path], &[]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    let values = |finished: &Finished| -> Vec<String> {
        let lines = finished.output.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(values(&first).contains(&"database_pool_timeout = \"1500ms\"".to_owned()));
}

#[tokio::test]
async fn misspelled_setting_is_warned_about() {
    let server = TestServer::builder(Engine::Sqlite)
        .env("DATABASE_POOL_SIZES", "5")
        .env("DATABASE_UR", "postgres://app:s3cret@host/db")
        .start()
        .await;
    for (wrong, right) in
        [("DATABASE_POOL_SIZES", "DATABASE_POOL_SIZE?"), ("DATABASE_UR ", "DATABASE_URL?")]
    {
        let line = server.logs().wait_for(|line| line.contains(wrong)).await;
        assert!(line.contains("\"WARN\"") && line.contains(right), "{line}");
    }
    assert!(!server.logs().so_far().concat().contains("s3cret"));
}
