//! URLs as operators write them: nodes, refusals, what is shown.

use super::*;

#[test]
fn a_shown_url_has_no_secret() {
    let table = [
        ("sqlite://bookstore.db?mode=rwc", "sqlite://bookstore.db?mode=rwc"),
        ("postgres://h/db?p%61ssword=s3cret", "postgres://h/db?p%61ssword=***"),
        ("postgres://host/db", "postgres://host/db"),
        ("postgres://app@host:5432/db", "postgres://app@host:5432/db"),
        ("postgres://app:s3cret@host:5432/db", "postgres://app:***@host:5432/db"),
        ("postgresql://app:s3c:ret@[::1]/db", "postgresql://app:***@[::1]/db"),
        ("postgres://:s3cret@host", "postgres://:***@host"),
        (
            "postgres:///db?host=/run/pg&password=s3cret&sslmode=require",
            "postgres:///db?host=/run/pg&password=***&sslmode=require",
        ),
    ];
    for (given, shown) in table {
        let url = DatabaseUrl::parse(given).unwrap();
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        assert_eq!(url.expose(), given);
    }
    assert_eq!(DatabaseUrl::parse("sqlite:x").unwrap().engine(), Engine::Sqlite);
    assert_eq!(DatabaseUrl::parse("postgresql://h").unwrap().engine(), Engine::Postgres);
}

#[test]
fn a_driver_in_the_url_is_to_be_left_out() {
    for (url, wanted) in [
        (
            "postgresql+asyncpg://u:s3cret@h/db",
            "must leave out +asyncpg: the URL begins with postgresql://",
        ),
        (
            "postgres+psycopg2://u:s3cret@h/db",
            "must leave out +psycopg2: the URL begins with postgresql://",
        ),
        (
            "postgresql+s3cret://h/db",
            "must leave out the driver: the URL begins with postgresql://",
        ),
        ("sqlite+aiosqlite:///./test.db", "relative path: sqlite://bookstore.db?mode=rwc"),
        ("mysql+s3cret://h/db", "mysql is not supported"),
        ("mysql+s3cret://h/db", FORMS),
        ("mssql+pyodbc://u:s3cret@h/db", "mssql is not supported"),
        ("s3cret+pyodbc://h/db", FORMS),
    ] {
        let error = DatabaseUrl::parse(url).expect_err(url);
        assert!(error.contains(wanted), "{url}: {error}");
        assert!(!error.contains("s3cret"), "{url}: {error}");
    }
}

/// The names of the nodes of a URL.
fn names(text: &str) -> Vec<String> {
    let url = DatabaseUrl::parse(text).expect(text);
    url.nodes().iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_node_has_the_address_that_is_dialed() {
    for (url, expected) in [
        ("postgres://app:s@a:1,b,[::1]:3/db?sslmode=require", &["a:1", "b:5432", "[::1]:3"][..]),
        ("postgres://h", &["h:5432"]),
        ("postgres://[::1]/db", &["[::1]:5432"]),
        ("postgres://[FE80::1%25eth0]:1/db", &["[fe80::1%eth0]:1"]),
        ("postgres:///db?host=::1&port=7", &["[::1]:7"]),
        ("postgres:///db?host=a,b&port=1,2", &["a:1", "b:2"]),
        ("postgres:///db?host=a,b&port=7", &["a:7", "b:7"]),
        ("postgres:///db?host=a,b", &["a:5432", "b:5432"]),
        ("postgres://127.0.0.1/db?port=7", &["127.0.0.1:7"]),
        ("postgres://a:1/db?host=b", &["b:1"]),
        ("postgres://a:1,b:2/db?port=3,4", &["a:3", "b:4"]),
        ("postgres://name/db?hostaddr=10.0.0.1&sslmode=require", &["10.0.0.1:5432"]),
        ("postgres:///db?hostaddr=10.0.0.1&sslmode=verify-full", &["10.0.0.1:5432"]),
        ("postgres:///db?hostaddr=10.0.0.1,::1&port=1,2", &["10.0.0.1:1", "[::1]:2"]),
        ("postgres:///db?host=/run/pg", &["/run/pg:5432"]),
        ("postgres:///db?host=/run/pg/,/run/other&port=1,2", &["/run/pg:1", "/run/other:2"]),
        ("postgres://%2Frun%2Fpg:7/db", &["/run/pg:7"]),
        ("sqlite://b.db?mode=rwc", &["b.db"]),
    ] {
        assert_eq!(names(url), expected, "{url}");
    }
    let replicas =
        DatabaseUrl::parse_replicas("postgres://a,b/db postgres://c/db,postgres://d", None);
    assert_eq!(replicas.unwrap().len(), 3);
    assert!(DatabaseUrl::parse_replicas("sqlite:x", None).is_err());
    assert_eq!(DatabaseUrl::parse_replicas("", None).unwrap(), []);
}

/// The driver reads the URL of a node as the URL was meant.
#[test]
fn the_driver_reads_the_same() {
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    let options = |text: &str| {
        let url = DatabaseUrl::parse(text).expect(text);
        url.nodes()[0].1.parse::<PgConnectOptions>().unwrap()
    };
    let read = options(
        "postgres://us%65r:p+%26%2F@[::1]:7/d%20b?application_name=a+b%26c&sslmode=verify-full\
         &options=-c%20a=1&options[work_mem]=1%20MB",
    );
    assert_eq!((read.get_host(), read.get_port()), ("::1", 7));
    assert_eq!((read.get_username(), read.get_database()), ("user", Some("d b")));
    assert_eq!(read.get_application_name(), Some("a+b&c"));
    assert_eq!(read.get_options(), Some("-c a=1 -c work_mem=1\\ MB"));
    assert!(matches!(read.get_ssl_mode(), PgSslMode::VerifyFull));
    // A plus in a password is no space.
    assert!(format!("{read:?}").contains("\"p+&/\""), "{read:?}");
    let socket = options("postgres:///db?host=/run/pg&user=app&password=x");
    assert_eq!(socket.get_socket().and_then(|path| path.to_str()), Some("/run/pg"));
    assert_eq!(socket.get_username(), "app");
    let mode = |text: &str| format!("{:?}", options(text).get_ssl_mode());
    for (url, expected) in [
        ("postgres://h/db?sslmode=require&sslrootcert=/ca", "VerifyCa"),
        ("postgres://h/db?sslmode=verify-ca&sslrootcert=/ca", "VerifyCa"),
        ("postgres://h/db?sslrootcert=system", "VerifyFull"),
        ("postgres://h/db?sslmode=require", "Require"),
        ("postgres:///db?host=/run/pg&sslmode=require", "Disable"),
        ("postgres://h/db?ssl-mode=disable", "Disable"),
        ("postgres://h/db?sslmode=disable&sslmode=require", "Require"),
        ("postgres://h/db?gssencmode=disable&sslmode=", "VerifyFull"),
        ("postgres://h/db", "VerifyFull"),
        ("postgres://10.0.0.1/db", "VerifyFull"),
        ("postgres://h/db?sslrootcert=/ca", "VerifyFull"),
        ("postgres://localhost/db?sslrootcert=/ca", "VerifyFull"),
        ("postgres://LocalHost/db", "Prefer"),
        ("postgres://127.0.0.2/db", "Prefer"),
        ("postgres://[::1]/db", "Prefer"),
        ("postgres:///db?host=/run/pg", "Disable"),
    ] {
        assert_eq!(mode(url), expected, "{url}");
    }
}

#[test]
fn a_mode_that_is_weaker_than_the_setting_is_warned_about() {
    let read = |text: &str, tls| {
        let url = DatabaseUrl::parse_with(text, tls).expect(text);
        assert_eq!(url.encryption().len(), 1, "{text}");
        let NodeEncryption { ssl_mode, warning, .. } = &url.encryption()[0];
        (*ssl_mode, warning.clone())
    };
    for (url, tls, mode, warning) in [
        ("postgres://h", None, "verify-full", None),
        ("postgres://h", Some("require"), "require", None),
        ("postgres://h", Some("disable"), "disable", None),
        ("postgres://h?sslrootcert=/ca", Some("require"), "verify-ca", None),
        ("postgres://localhost", Some("verify-full"), "verify-full", None),
        ("postgres://localhost?sslmode=disable", None, "disable", None),
        ("postgres:///d?host=/run/pg", Some("verify-full"), "disable", None),
        ("postgres://h?sslmode=verify-full", Some("prefer"), "verify-full", None),
        ("postgres://h?sslmode=verify-ca", None, "verify-ca", Some("the host in the server's")),
        ("postgres://h?sslmode=require", None, "require", Some("certificate is not verified")),
        ("postgres://h?sslmode=prefer", Some("require"), "prefer", Some("without TLS is taken")),
        ("postgres://h?sslmode=disable", Some("prefer"), "disable", Some("nothing is encrypted")),
    ] {
        let (found, warned) = read(url, tls);
        assert_eq!(found, mode, "{url} {tls:?}");
        assert_eq!(warned.is_some(), warning.is_some(), "{url} {tls:?}: {warned:?}");
        assert!(warned.unwrap_or_default().contains(warning.unwrap_or_default()), "{url} {tls:?}");
    }
}

#[test]
fn a_parameter_that_is_not_obeyed_is_refused_by_its_name() {
    for (url, part) in [
        ("postgres://h/db?connect_timeout=3", "parameter connect_timeout,"),
        ("postgres://h/db?statement-cache-capacity=0", "parameter statement-cache-capacity,"),
        ("postgres://h/db?target_session_attrs=read-write", "parameter target_session_attrs with"),
        ("postgres://h/db?channel_binding=require", "parameter channel_binding with"),
        ("postgres://h/db?ssl=true", "write sslmode=require"),
        ("postgres://h/db?sslmode=on", "an sslmode that is none of disable, prefer"),
        ("postgres://h/db?sslmode=allow", "sslmode=allow, which may encrypt nothing"),
        ("postgres://h/db?sslmode=prefer&sslrootcert=/ca", "which needs sslmode=verify-ca"),
        ("postgres://h/db?sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
        ("postgres://h/db?sslcert=/crt", "sslcert and sslkey"),
        ("postgres://h/db?application_name=%zz", "for a % (in application_name)"),
        ("postgres://h/db?options[=1", "without a setting's name"),
        ("postgres:///db?host=a,b&port=1,2,3", "2 hosts and 3 ports"),
        ("postgres:///db?host=a&port=x", "from 1 to 65535"),
        ("postgres://h:0/db", "from 1 to 65535"),
        ("postgres://h:70000/db", "from 1 to 65535"),
        ("postgres:///db?hostaddr=db.example", "no IP address"),
        ("postgres://a,b/db?hostaddr=10.0.0.1", "2 hosts and 1 hostaddr"),
        ("postgres://h/db?hostaddr=10.0.0.1&sslmode=verify-full", "can't verify"),
        ("postgres:///db?host=h&hostaddr=10.0.0.1&sslrootcert=system", "can't verify"),
        ("postgres://h/db?hostaddr=10.0.0.1", "can't verify"),
        ("postgres://::1/db", "without brackets"),
        ("postgres://[::1/db", "a [ without its ]"),
        ("postgres://[a.b]/db", "no IPv6 address"),
        ("postgres://a,A:5432/db", "names a:5432 twice"),
        ("postgres:///db?host=/run/pg,/run/pg/", "names /run/pg:5432 twice"),
        ("sqlite://b.db?key=1", "parameter key,"),
        ("sqlite://b.db?mode=rx", "neither rw nor rwc"),
        ("sqlite://b.db?vfs=unix", "parameter vfs,"),
        ("sqlite:", "must name a file"),
        ("sqlite://?mode=rwc", "must name a file"),
        ("sqlite://%3Amemory%3A", "must name a file"),
        ("sqlite://b?mode=rwc&mode=memory", "must name a file"),
        ("sqlite:file:x?mode=rwc", "must name a file"),
    ] {
        let problem = DatabaseUrl::parse(url).unwrap_err();
        assert!(problem.contains(part), "{url}: {problem}");
    }
    assert_eq!(names("sqlite://mode=ro.db?mode=rw"), ["mode=ro.db"]);
}

#[test]
fn a_refusal_repeats_no_secret() {
    for (given, part) in [
        ("mysql://app:s3cret@host/db", "mysql is not supported"),
        ("s3cret://host", FORMS),
        ("", FORMS),
        ("SQLITE:x", FORMS),
        ("postgres://app:s3c/ret@host/db", "percent-encoded"),
        ("postgres://app:12/s3cret@host/db", "percent-encoded"),
        ("postgres://app:12?s3cret@host/db", "percent-encoded"),
        ("postgres://app:s3c#ret@host/db", "percent-encoded"),
        ("postgres://app:s3@cret@host/db", "percent-encoded"),
        ("postgres://host:port/db", "the port a number"),
        ("postgres://host/db?sslpasswd=s3cret", "parameter sslpasswd, which is not known"),
        ("postgres://host/db?s3c%20ret=x", "has the parameter, which is not known"),
        ("postgres://host/db?s3cret", "a parameter without a value"),
        ("sqlite::memory:", "must name a file"),
        ("sqlite://x.db?mode=ro", "open for writing"),
        ("postgres://app:s3cret@host/db\n", "control"),
    ] {
        let problem = DatabaseUrl::parse(given).unwrap_err();
        assert!(problem.contains(part), "{given}: {problem}");
        assert!(!problem.contains("s3") && !problem.contains("ret@"), "{problem}");
    }
}
