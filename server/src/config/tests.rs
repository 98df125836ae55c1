//! The settings as their users give them: file, environment, flags.

use std::{io::Write, time::Duration};

use bookstore_query::search::Language;
use clap::{Args, Command, FromArgMatches};
use tempfile::NamedTempFile;

use super::*;

fn flags(words: &[&str]) -> SettingFlags {
    let command = SettingFlags::augment_args(Command::new("bookstore"))
        .subcommand(Command::new("serve"))
        .subcommand(Command::new("config"));
    let words = std::iter::once("bookstore").chain(words.iter().copied());
    SettingFlags::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn load(words: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::load(&flags(words), variables)
}

fn problems(words: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    load(words, variables).unwrap_err().problems
}

fn file(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let config = load(&[], &[]).unwrap();
    let expected = Database {
        url: DatabaseUrl::parse("sqlite://bookstore.db?mode=rwc").unwrap(),
        replica_urls: Vec::new(),
        read_default: ReadDefault::Session,
        replica_max_lag: Duration::from_secs(1),
        replica_wait: Duration::from_millis(50),
        failover_wait: Duration::from_secs(10),
        pool_recycle: Duration::from_hours(1),
        pre_ping: true,
        token_key: None,
        pool_size: 10,
        max_overflow: 20,
        pool_timeout: Duration::from_secs(3),
        command_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(5),
        echo: false,
        slow_query: Some(Duration::from_millis(100)),
        migrate: true,
    };
    assert_eq!(config.database, expected);
    let expected = Server {
        listen_addr: Address::Tcp("127.0.0.1:50051".parse().unwrap()),
        admin_addr: None,
        max_connections: 1_000,
        max_connection_age: Some(Duration::from_mins(30)),
        max_calls: 1000,
        max_calls_waiting: 200,
        max_calls_per_connection: 250,
        request_timeout: Duration::from_secs(10),
        stream_idle_timeout: Duration::from_secs(30),
        max_connection_bytes: 8 << 20,
        max_received_bytes: 48 << 20,
        max_decoded_bytes: 48 << 20,
        max_answered_bytes: 48 << 20,
        max_message_size: 4 << 20,
        search_language: Language::Simple,
        shutdown_pause: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(25),
    };
    assert_eq!(config.server, expected);
    let interval = Duration::from_secs(10);
    assert_eq!(
        config.security,
        Security {
            policy: None,
            tokens: None,
            only_reports: false,
            admin_tls: false,
            tls: None,
            reload_interval: interval
        }
    );
    assert_eq!(config.log, Log { level: "info".to_owned(), format: LogFormat::Auto });
    assert!(config.warnings.is_empty());
}

#[test]
fn migrate_follows_the_engine_unless_it_is_given() {
    let migrate = |variables: &[_]| load(&[], variables).unwrap().database.migrate;
    let postgres = ("DATABASE_URL", "postgres://host/db");
    assert!(!migrate(&[postgres]));
    assert!(migrate(&[postgres, ("DATABASE_MIGRATE", "yes")]));
    assert!(!migrate(&[("DATABASE_MIGRATE", "0")]));
}

#[test]
fn each_layer_overrides_the_one_before() {
    let (_low, low) = file("database_pool_size = 2\ndatabase_max_overflow = 2\nlog_level = 'warn'");
    let (_high, high) = file("database_pool_size = 3");
    let variables = [("BOOKSTORE_CONFIG", low.as_str()), ("DATABASE_POOL_SIZE", "4")];
    let sizes = |words: &[&str]| {
        let config = load(words, &variables).unwrap();
        (config.database.pool_size, config.database.max_overflow, config.log.level)
    };
    assert_eq!(sizes(&[]), (4, 2, "warn".to_owned()));
    assert_eq!(sizes(&["--database-pool-size", "5"]), (5, 2, "warn".to_owned()));
    // The flag names another file. The first one isn't read.
    assert_eq!(sizes(&["--config", &high]), (4, 20, "info".to_owned()));
    // A flag may stand before and after the subcommand, also one that is named
    // like the flag for the file.
    assert_eq!(sizes(&["serve", "--database-pool-size=6"]).0, 6);
    assert_eq!(sizes(&["--database-pool-size=6", "config", "--config", &high]).0, 6);
    assert_eq!(load(&[], &[("DATABASE_POOL_SIZE", "")]).unwrap().database.pool_size, 10);
}

#[test]
fn all_wrong_values_are_reported_together_with_their_origin() {
    let (_file, path) = file(
        "# first\n\nlisten_addr = 'localhost:1'\nadmin_addr = 'on'\n\
         databse_echo = true\nlog_format = []\nshutdown_pause = -1\n[server]\nport = 1\n",
    );
    let mut reported = problems(
        &["--config", &path, "--shutdown-timeout", "-1", "--database-pre-ping", "maybe"],
        &[("DATABASE_POOL_SIZE", "ten"), ("DATABASE_REPLICA_URLS", "postgres://a:s3cret@b")],
    );
    reported.sort();
    let time = |top| {
        format!(
            "must be a time from 0s to {top}, such as 500ms, 3s, 2m or 1h; a number alone is seconds"
        )
    };
    let mut expected = [
        format!(
            "admin_addr = \"on\" from line 4 of {path}: must be off or an IP address with a port, \
             such as 127.0.0.1:50052"
        ),
        "database_pre_ping = \"maybe\" from the flag --database-pre-ping: must be true or false"
            .to_owned(),
        "database_replica_urls from the environment variable DATABASE_REPLICA_URLS: \
         needs a database_url of PostgreSQL: SQLite has no replicas"
            .to_owned(),
        "database_pool_size = \"ten\" from the environment variable DATABASE_POOL_SIZE: \
         must be a whole number from 1 to 1000"
            .to_owned(),
        format!("unknown key \"databse_echo\" in line 5 of {path}, did you mean database_echo?"),
        format!("unknown key \"server\" in line 8 of {path}"),
        format!("log_format from line 6 of {path}: must be a single value, found: array"),
        format!(
            "listen_addr = \"localhost:1\" from line 3 of {path}: must be an IP address with a \
             port, such as 127.0.0.1:50051 or [::]:50051"
        ),
        format!("shutdown_pause = \"-1\" from line 7 of {path}: {}", time("5m")),
        format!("shutdown_timeout = \"-1\" from the flag --shutdown-timeout: {}", time("1h")),
    ];
    expected.sort();
    assert_eq!(reported, expected);
}

#[test]
fn a_missing_or_malformed_file_is_reported_without_its_content() {
    let reported = problems(&[], &[("BOOKSTORE_CONFIG", "/no/such/file")]);
    assert!(reported[0].starts_with(
        "the file /no/such/file, named by the environment variable BOOKSTORE_CONFIG: "
    ));
    let (_file, path) = file("log_level = 'info'\ndatabase_url = \"postgres://a:s3cret@b\n");
    let reported = problems(&["--config", &path], &[]);
    assert!(reported[0].starts_with(&format!("line 2 of {path}: ")), "{reported:?}");
    assert!(!reported[0].contains("s3cret"), "{reported:?}");
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let (_secret, path) = file("postgres://app:s3cret@host/db\n");
    let config = load(&[], &[("DATABASE_URL_FILE", &path)]).unwrap();
    assert_eq!(config.database.url.expose(), "postgres://app:s3cret@host/db");
    let shown = config.to_toml();
    assert!(shown.contains("database_url = \"postgres://app:***@host/db\""), "{shown}");
    assert!(shown.contains(&format!(
        "# From the file {path}, named by the environment variable DATABASE_URL_FILE."
    )));
    assert!(!shown.contains("s3cret") && !format!("{config:?}").contains("s3cret"));

    // A higher layer wins whichever way it gives the value.
    let other = ["--database-url", "sqlite:x"];
    let config = load(&other, &[("DATABASE_URL_FILE", &path)]).unwrap();
    assert_eq!(config.database.url.expose(), "sqlite:x");
    let config = load(&["--database-url-file", &path], &[("DATABASE_URL", "sqlite:x")]).unwrap();
    assert_eq!(config.database.url.engine(), Engine::Postgres);

    let both = [("DATABASE_URL", "sqlite:s3cret"), ("DATABASE_URL_FILE", path.as_str())];
    assert_eq!(
        problems(&[], &both),
        ["database_url from the environment variable DATABASE_URL and database_url_file from the \
          environment variable DATABASE_URL_FILE: only one of the two may be given"]
    );
    let reported = problems(&[], &[("DATABASE_URL_FILE", "/no/such/secret")]);
    assert!(
        reported.len() == 1
            && reported[0].starts_with("database_url_file = \"/no/such/secret\" from")
    );
    for wrong in ["mysql://app:s3cret@host", "postgres://app:s3/cret@host/db"] {
        let reported = problems(&["--database-url", wrong], &[]);
        assert!(
            reported[0].starts_with("database_url from the flag --database-url: "),
            "{reported:?}"
        );
        assert!(!reported[0].contains("s3"), "{reported:?}");
    }
}

#[test]
fn values_are_parsed_in_all_their_forms() {
    let config = |name: &str, text: &str| load(&[], &[(name, text)]);
    let pool_timeout =
        |text: &str| config("DATABASE_POOL_TIMEOUT", text).unwrap().database.pool_timeout;
    for (text, milliseconds) in
        [("3s", 3000), ("100ms", 100), ("2m", 120_000), ("1.5", 1500), ("0.05s", 50), ("7", 7000)]
    {
        assert_eq!(pool_timeout(text), Duration::from_millis(milliseconds), "{text}");
    }
    for text in ["9ms", "11m", "-1", "1e3", ".5", "5.", "s", "1 s", "1d", "inf", "+1", "1.5.0"] {
        assert!(config("DATABASE_POOL_TIMEOUT", text).is_err(), "{text}");
    }
    for (text, slow) in [("0", None), ("0s", None), ("1ms", Some(Duration::from_millis(1)))] {
        assert_eq!(config("DATABASE_SLOW_QUERY", text).unwrap().database.slow_query, slow);
    }
    for (text, bytes) in [("65536", 65_536), ("64KiB", 65_536), ("64MiB", 64 << 20)] {
        let size = config("MAX_MESSAGE_SIZE", text).unwrap().server.max_message_size;
        assert_eq!(size, bytes, "{text}");
    }
    for text in ["65535", "65MiB", "4MB", "4 MiB", "-1", "99999999999999999999MiB", "MiB"] {
        assert!(config("MAX_MESSAGE_SIZE", text).is_err(), "{text}");
    }
    for (text, echo) in [("true", true), ("ON", true), ("1", true), ("no", false), ("off", false)] {
        assert_eq!(config("DATABASE_ECHO", text).unwrap().database.echo, echo, "{text}");
    }
    assert!(config("DATABASE_ECHO", "maybe").is_err());
    for text in ["+5", "5.0", "0", "1001", "4294967297", " 5"] {
        assert!(config("DATABASE_POOL_SIZE", text).is_err(), "{text}");
    }
    for text in ["off", "WARN", "info,hyper=debug", "bookstore::sql=off,warn", "[call]=debug"] {
        assert!(config("LOG_LEVEL", text).is_ok(), "{text}");
    }
    for text in ["inf", "verbose", "hyper", "a=b=c", "info,", ","] {
        assert!(config("LOG_LEVEL", text).is_err(), "{text}");
    }
    assert_eq!(config("LOG_FORMAT", "json").unwrap().log.format, LogFormat::Json);
    assert!(config("LOG_FORMAT", "xml").is_err());
}

#[test]
fn numbers_in_the_file_are_numbers() {
    let (_file, path) = file(
        "database_pool_size = 1_000\ndatabase_pool_timeout = 1.5\ndatabase_echo = true\n\
         max_message_size = 0x10000\n",
    );
    let config = load(&["--config", &path], &[]).unwrap();
    assert_eq!(config.database.pool_size, 1000);
    assert_eq!(config.database.pool_timeout, Duration::from_millis(1500));
    assert!(config.database.echo);
    assert_eq!(config.server.max_message_size, 65_536);
}

#[test]
fn a_misspelt_variable_is_a_warning() {
    let warned = |name: &str| load(&[], &[(name, "s3cret")]).unwrap().warnings;
    for (name, near) in [
        ("DATABASE_POOLSIZE", "DATABASE_POOL_SIZE"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DATABASE_SLOW", "DATABASE_SLOW_QUERY"),
        ("DATABASE_REPLICA_URL", "DATABASE_REPLICA_URLS"),
        ("LISTEN_ADDRESS", "LISTEN_ADDR"),
        ("SHUTDOWN_TIMOUT", "SHUTDOWN_TIMEOUT"),
        ("LOG_LEVELS", "LOG_LEVEL"),
    ] {
        let expected = format!("the environment variable {name} is ignored, did you mean {near}?");
        assert_eq!(warned(name), [expected]);
    }
    // Other programs have names like these.
    for name in ["DATABASE_HOST", "DATABASE_", "LISTEN_FDS", "LISTEN_PID", "PATH", "LOGNAME"] {
        assert_eq!(warned(name), [""; 0], "{name}");
    }
}

#[test]
fn printed_settings_can_be_loaded_again() {
    let words = ["--database-pool-size=7", "--log-level=[a{b=\"c\"}]=debug", "--database-echo=on"];
    let config = load(&words, &[("MAX_MESSAGE_SIZE", "65536")]).unwrap();
    let shown = config.to_toml();
    let part = "# Connections to each node that stay open, from 1 to 1000.\n\
                # From the flag --database-pool-size.\ndatabase_pool_size = 7\n\n";
    assert!(shown.contains(part), "{shown}");
    assert!(shown.contains("# From the default.\ndatabase_migrate = true\n"), "{shown}");
    let (_file, path) = file(&shown);
    let again = load(&["--config", &path], &[]).unwrap();
    assert_eq!(again.database, config.database);
    assert_eq!(again.server, config.server);
    assert_eq!(again.log, config.log);
}

#[test]
fn the_table_and_the_checks_agree() {
    // Any text is the path of a file, which is read later.
    for setting in SETTINGS.iter().filter(|setting| setting.key != "policy_file") {
        // No setting takes this, so each is checked and none is forgotten.
        let reported = problems(&[], &[(&setting.key.to_uppercase(), "no such value")]);
        assert_eq!(reported.len(), 1, "{}: {reported:?}", setting.key);
        // A range in a refusal is also in the help.
        let (_, refusal) = reported[0].split_once(": must ").unwrap();
        let range = refusal.split_once(" from ").and_then(|(_, range)| range.split(',').next());
        let documented = setting
            .doc
            .split_once(", from ")
            .map(|(_, range)| range.trim_end_matches('.').split(';').next().unwrap());
        assert_eq!(range, documented, "{}", setting.key);
        assert!(setting.doc.ends_with('.') && !setting.doc.contains(". "), "{}", setting.doc);
    }
}

#[test]
fn the_help_lists_every_setting() {
    let mut command = SettingFlags::augment_args(Command::new("bookstore"));
    command.clone().debug_assert();
    let help = command.render_long_help().to_string();
    for setting in SETTINGS {
        assert!(help.contains(&format!("--{} <VALUE>", setting.key.replace('_', "-"))));
        assert!(help.contains(&format!("[default: {}]", setting.default)));
        assert!(help.contains(&format!("[env: {}]", setting.key.to_uppercase())));
    }
    assert!(help.contains("--database-url-file <PATH>"));
}

#[test]
fn a_listen_address_is_a_port_or_a_socket() {
    let server = |variables: &[(&str, &str)]| load(&[], variables).unwrap().server;
    for (text, path) in [("unix:/run/b.sock", "/run/b.sock"), ("unix:///run/b.sock", "/run/b.sock")]
    {
        assert_eq!(server(&[("LISTEN_ADDR", text)]).listen_addr, Address::Unix(path.into()));
    }
    assert_eq!(server(&[("MAX_CONNECTION_AGE", "0s")]).max_connection_age, None);
    for (name, text, wanted) in [
        ("LISTEN_ADDR", "unix:b.sock", "a socket by its whole path"),
        ("MAX_CONNECTION_AGE", "500ms", "from 1s to 24h"),
        ("MAX_CONNECTIONS", "0", "from 1 to 1000000"),
        ("MAX_CALLS", "0", "from 1 to 100000"),
        ("MAX_CALLS_WAITING", "-1", "from 0 to 100000"),
    ] {
        let reported = problems(&[], &[(name, text)]).join("\n");
        assert!(
            reported.starts_with(&name.to_lowercase()) && reported.contains(wanted),
            "{reported}"
        );
    }
}

#[test]
fn an_empty_database_url_is_a_mistake() {
    let (_secret, path) = file("postgres://host/db\n");
    for variables in [&[("DATABASE_URL", "")][..], &[("DATABASE_URL", ""), ("LOG_LEVEL", "info")]] {
        let reported = problems(&[], variables);
        assert!(reported[0].starts_with("database_url from the environment variable DATABASE_URL"));
        assert!(reported[0].contains("is empty"), "{reported:?}");
    }
    // Another source names the database.
    assert!(load(&["--database-url", "sqlite:x"], &[("DATABASE_URL", "")]).is_ok());
    assert!(load(&[], &[("DATABASE_URL", ""), ("DATABASE_URL_FILE", &path)]).is_ok());
    let (_file, settings) = file("database_url = 'sqlite:x'");
    let variables = [("BOOKSTORE_CONFIG", settings.as_str()), ("DATABASE_URL", "")];
    assert!(problems(&[], &variables)[0].contains("is empty"));
}

#[test]
fn two_urls_of_one_address_are_a_mistake() {
    let replicas = |urls: &str| {
        load(&[], &[("DATABASE_URL", "postgres://a,b/db"), ("DATABASE_REPLICA_URLS", urls)])
    };
    for urls in ["postgres://B:5432/db", "postgres://c/db postgres:///db?host=c"] {
        let reported = replicas(urls).unwrap_err().problems;
        assert!(reported[0].contains(":5432, which is named already"), "{reported:?}");
    }
    let nodes = replicas("postgres://b:1/db postgres:///db?host=/b").unwrap().database.nodes();
    assert_eq!(nodes.len(), 4);
}
