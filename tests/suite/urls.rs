//! Database URLs: the node that is dialled has the name that is shown, what is not obeyed is
//! refused, and `sslmode` means what it means to libpq.

use std::path::PathBuf;

use bookstore_tests::{Engine, Replicated, SOON, TestServer, run, until};

/// The exit code for wrong settings.
const REFUSED: i32 = 64;

/// A node at the address of another one, and at a socket, in every form that names them.
#[tokio::test]
async fn nodes_have_the_addresses_that_are_dialled() {
    let cluster = Replicated::start(1).await;
    let (primary, replica) = (cluster.port(0), cluster.port(1));
    let by_port =
        |port: u16| format!("postgres:///bookstore?host=127.0.0.1&port={port}&user=bookstore_app");
    let names = [format!("127.0.0.1:{primary}"), format!("127.0.0.1:{replica}")];
    let socket = |node: usize| cluster.directory(node).display().to_string();
    for (url, replicas, names) in [
        (by_port(primary), by_port(replica), names.clone()),
        (
            format!(
                "postgres:///bookstore?host=127.0.0.1,127.0.0.1&port={primary},{replica}\
                 &user=bookstore_app"
            ),
            String::new(),
            names.clone(),
        ),
        (
            format!("postgres://bookstore_app@127.0.0.1/bookstore?port={primary}"),
            format!("postgres://bookstore_app@127.0.0.1/bookstore?port={replica}"),
            names,
        ),
        (
            format!(
                "postgres:///bookstore?host={},{}&port={primary},{replica}&user=bookstore_app\
                 &sslmode=require",
                socket(0),
                socket(1)
            ),
            String::new(),
            [format!("{}:{primary}", socket(0)), format!("{}:{replica}", socket(1))],
        ),
    ] {
        let environment = [("DATABASE_URL", &*url), ("DATABASE_REPLICA_URLS", &*replicas)];
        let finished = run(&["topology"], &environment).await;
        assert_eq!(finished.code, Some(0), "{url}: {finished:?}");
        for (name, role) in names.iter().zip(["primary", "replica"]) {
            let line = finished.output.lines().find(|line| line.starts_with(&**name));
            assert!(line.is_some_and(|line| line.contains(role)), "{url}: {}", finished.output);
        }
    }
}

/// `serve` and `config` refuse the same, with the same exit code.
#[tokio::test]
async fn unclear_url_is_refused_by_every_command() {
    let twice = "postgres://b:1/db postgres:///db?host=a";
    for (environment, part) in [
        (&[("DATABASE_URL", "")][..], "database_url from the environment variable DATABASE_URL"),
        (&[("DATABASE_URL", "postgres://h/db?connect_timeout=3")], "parameter connect_timeout"),
        (&[("DATABASE_URL", "postgres://h/db?port=1,2")], "1 hosts and 2 ports"),
        (&[("DATABASE_URL", "sqlite://?mode=rwc")], "must name a file"),
        (&[("DATABASE_URL", "sqlite::memory:")], "a database in memory"),
        (
            &[("DATABASE_URL", "postgres://A/db"), ("DATABASE_REPLICA_URLS", twice)],
            "names a:5432, which is named already",
        ),
    ] {
        for command in ["serve", "config", "topology"] {
            let finished = run(&[command], environment).await;
            assert_eq!(finished.code, Some(REFUSED), "{command} {environment:?}: {finished:?}");
            assert!(finished.errors.contains(part), "{environment:?}: {}", finished.errors);
            assert_eq!(finished.output, "");
        }
    }
}

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    folder.join(name).to_str().expect("a path as text").to_owned()
}

/// Makes the server present a certificate of the fixtures.
async fn present(cluster: &Replicated, name: &str) {
    for suffix in ["crt", "key"] {
        let file = format!("{name}.{suffix}");
        let text = std::fs::read_to_string(fixture(&file)).expect("a fixture");
        cluster.write_private(0, &file, &text);
    }
    let sql = format!(
        "ALTER SYSTEM SET ssl_cert_file = '{name}.crt'; ALTER SYSTEM SET ssl_key_file = '{name}.key'; \
         ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf()"
    );
    cluster.execute(0, &sql).await;
    until("the server presents the certificate", SOON, async || {
        let shown = "current_setting('ssl') || current_setting('ssl_cert_file')";
        cluster.value(0, shown).await == format!("on{name}.crt")
    })
    .await;
}

/// Certificates as PostgreSQL's manual makes them: version 1, and its own authority. `prefer` and
/// `require` verify nothing, and encrypt; `verify-*` say what to do.
#[tokio::test]
async fn certificate_is_verified_only_where_sslmode_says_so() {
    let cluster = Replicated::start(0).await;
    let url = |host: &str, more: &str| {
        format!("postgres://bookstore_app@{host}:{}/bookstore{more}", cluster.port(0))
    };
    // NULL, which is refused, if there is no session.
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'bookstore' AND backend_type = 'client backend'";
    for name in ["v1", "self"] {
        present(&cluster, name).await;
        for mode in ["", "?sslmode=prefer", "?sslmode=require"] {
            let server = TestServer::builder(Engine::Postgres).url(&url("localhost", mode));
            let server = server.start().await;
            assert_eq!(cluster.value(0, encrypted).await, "true", "{name} {mode}: not encrypted");
            drop(server);
        }
        if name == "v1" {
            let (cert, key) = (fixture("v3.crt"), fixture("v3.key"));
            let url = url("localhost", &format!("?sslmode=require&sslcert={cert}&sslkey={key}"));
            let finished = run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
            assert_eq!(finished.code, Some(1), "{finished:?}");
            let wanted = "with sslcert and sslkey the server's certificate must be of version 3";
            assert!(finished.errors.contains(wanted), "{}", finished.errors);
        }
        let mine = fixture(if name == "self" { "self.crt" } else { "root.crt" });
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = url("localhost", &format!("?sslmode={mode}&sslrootcert={mine}"));
            let finished = run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
            assert_eq!(finished.code, Some(1), "{name} {mode}: {finished:?}");
            let wanted = "a certificate of version 3 that is not an authority itself";
            assert!(finished.errors.contains(wanted), "{}", finished.errors);
        }
    }
    present(&cluster, "v3").await;
    let verified = |host: &str, ca: &str| {
        let ca = fixture(ca);
        url(host, &format!("?sslmode=verify-full&sslrootcert={ca}"))
    };
    for (url, code) in [
        (verified("localhost", "root.crt"), 0),
        (verified("127.0.0.1", "root.crt"), 0),
        (verified("localhost", "self.crt"), 1),
        (url("localhost", &format!("?sslmode=require&sslrootcert={}", fixture("self.crt"))), 1),
    ] {
        let finished = run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(code), "{url}: {finished:?}");
    }
}

/// The sessions have the name that the URL gives them.
#[tokio::test]
async fn application_name_of_the_url_is_obeyed() {
    let cluster = Replicated::start(0).await;
    let url = format!("{}?application_name=books%20of+x", cluster.url("bookstore_app", 0));
    let _server = TestServer::builder(Engine::Postgres).url(&url).start().await;
    let named = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'books of+x'";
    assert_eq!(cluster.value(0, named).await, "true");
    let other = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bookstore'";
    assert_eq!(cluster.value(0, other).await, "0");
}

/// Variables of libpq don't change what the URL means, and are warned about.
#[tokio::test]
async fn variables_of_libpq_are_ignored() {
    let cluster = Replicated::start(0).await;
    let hostile = [
        ("PGAPPNAME", "someone-else"),
        ("PGDATABASE", "postgres"),
        ("PGHOST", "192.0.2.1"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGOPTIONS", "-c default_transaction_read_only=on"),
        ("PGPASSWORD", "Xyzzy-4711"),
        ("PGPORT", "1"),
        ("PGSSLCERT", "/nonexistent.crt"),
        ("PGSSLKEY", "/nonexistent.key"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/nonexistent.pem"),
        ("PGUSER", "someone-else"),
    ];
    let url = cluster.url("bookstore_app", 0);
    let builder = TestServer::builder(Engine::Postgres).url(&url);
    let builder = hostile.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
    let server = builder.start().await;
    let named = "SELECT count(*) > 0 FROM pg_stat_activity \
                 WHERE application_name = 'bookstore' AND usename = 'bookstore_app'";
    assert_eq!(cluster.value(0, named).await, "true");
    let logs = server.logs().so_far().join("\n");
    for (name, value) in hostile {
        assert!(logs.contains(&format!("the environment variable {name} is ignored")), "{logs}");
        assert!(name == "PGDATABASE" || name == "PGPORT" || !logs.contains(value), "{name}");
    }
}

/// A host that isn't this machine is verified unless the URL or the setting says otherwise. What
/// is weaker is warned about.
#[tokio::test]
async fn sessions_of_other_machines_are_verified_by_default() {
    let migrate = async |url: &str, tls: &str| {
        let variables = [("DATABASE_URL", url), ("DATABASE_TLS", tls)];
        run(&["config"], &variables).await
    };
    let refused = migrate("postgres://db.example/bookstore?sslmode=allow", "auto").await;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.errors.contains("sslmode=allow"), "{refused:?}");
    let refused = migrate("postgres://db.example/bookstore", "allow").await;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.errors.contains("database_tls"), "{refused:?}");
    // A server without TLS, by a name of this machine that is not known to be one.
    let cluster = Replicated::start(0).await;
    let url = |more: &str| {
        // 127.0.0.1 as an IPv6 address, which no list of this machine's addresses has.
        let port = cluster.port(0);
        format!("postgres://bookstore_app@[::ffff:127.0.0.1]:{port}/bookstore{more}")
    };
    let status = async |url: &str| run(&["migrate", "status"], &[("DATABASE_URL", url)]).await;
    let refused = status(&url("")).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let plain = status(&url("?sslmode=disable")).await;
    assert_eq!(plain.code, Some(0), "{plain:?}");
    let warning = "have sslmode=disable, not verify-full: nothing is encrypted";
    assert!(plain.errors.contains(warning), "{plain:?}");
}
