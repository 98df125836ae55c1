//! `bookstore users import`: users with the hashes of another program.

use bookstore_proto::v1::{VerifyPasswordRequest, user_service_client::UserServiceClient};
use bookstore_tests::{
    Database, Engine, Finished, Origin, SOON, TestServer, on_every_engine, run, until,
};
use serde_json::{Value, json};
use tonic_types::StatusExt;

on_every_engine!(
    imported_hash_is_verified_and_replaced_at_the_login,
    file_with_faults_names_line_and_field_and_imports_nothing,
    second_import_of_a_file_changes_nothing,
    import_of_users_that_cannot_begin_says_why,
    file_that_cannot_be_read_twice_imports_nothing,
);

/// The codes that it ends with.
const FAILED: i32 = 1;
const PRESENT: i32 = 3;

const PASSWORD: &str = "correct horse";

/// Hashes of [`PASSWORD`] by Python's bcrypt and argon2-cffi.
const OF_BCRYPT: &str = "$2b$04$uecI.qPL65lc2wvPXrz/IeF/TOTvwLcOea6Xcf.zHqyT866oGdwva";
const OF_ARGON2I: &str = "$argon2i$v=19$m=1024,t=2,p=2$HT3VPdGasziS2MF2P6hEgg$0gV3KNaZGZUT3XFkcbDqz6em6foGI9fCjzJ5nHnpQRI";

fn user(name: &str, hash: &str) -> Value {
    json!({
        "email": format!("{name}@Example.com"),
        "username": name,
        "full_name": format!("{name} of the old shop"),
        "password_hash": hash,
    })
}

/// Imports a file of these lines.
async fn import(database: &Database, lines: &[String], flags: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.jsonl");
    std::fs::write(&path, lines.join("\n") + "\n").expect("a file");
    let path = path.to_str().expect("a path as text");
    let arguments = [&["users", "import", path], flags].concat();
    run(&arguments, &[("DATABASE_URL", &database.url())]).await
}

async fn migrated(engine: Engine) -> Database {
    let database = Database::create(engine, Origin::Migrated).await;
    // A copy of the template on PostgreSQL, where this changes nothing.
    let finished = run(&["migrate", "up"], &[("DATABASE_URL", &database.owner_url())]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    database
}

async fn imported_hash_is_verified_and_replaced_at_the_login(engine: Engine) {
    let server = TestServer::start(engine).await;
    let database = server.database();
    let mut admin = user("old_admin", OF_ARGON2I);
    let id = "01930000-0000-7000-8000-00000000abcd";
    admin["id"] = json!(id);
    admin["role"] = json!("admin");
    let lines = [user("anna", OF_BCRYPT).to_string(), String::new(), admin.to_string()];
    let finished = import(&database, &lines, &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.output, "inserted 2\nalready there 0\n");

    let mut users = UserServiceClient::new(server.channel());
    for (name, hash) in [("anna", OF_BCRYPT), ("old_admin", OF_ARGON2I)] {
        let verify = |password: &str| VerifyPasswordRequest {
            email: format!("{name}@example.com"),
            password: password.to_owned(),
        };
        let stored = format!("SELECT password_hash FROM users WHERE username = '{name}'");
        let wrong = users.verify_password(verify("wrong horse")).await.expect_err("wrong");
        let reason = wrong.get_details_error_info().expect("a reason").reason;
        assert_eq!(reason, "PASSWORD_MISMATCH", "{name}");
        assert_eq!(database.value(&stored).await, hash, "a wrong password has replaced it");

        users.verify_password(verify(PASSWORD)).await.expect("the password is right");
        until("the hash is replaced", SOON, async || {
            database.value(&stored).await.starts_with("$argon2id$v=19$m=19456,")
        })
        .await;
        let found = users.verify_password(verify(PASSWORD)).await.expect("it is right still");
        let found = found.into_inner().user.expect("a user");
        assert_eq!(found.full_name, format!("{name} of the old shop"));
        if name == "old_admin" {
            assert_eq!((found.id.as_str(), found.role().as_str_name()), (id, "ROLE_ADMIN"));
        }
    }
}

async fn file_with_faults_names_line_and_field_and_imports_nothing(engine: Engine) {
    let database = migrated(engine).await;
    let mut short = user("", OF_BCRYPT);
    short["created_at"] = json!("2020-01-01");
    let lines = [
        user("anna", OF_BCRYPT).to_string(),
        "{\"email\": \"$secret".to_owned(),
        user("berta", "$6$rounds=5000$salt$secret").to_string(),
        short.to_string(),
        user("ANNA", OF_BCRYPT).to_string(),
    ];
    let finished = import(&database, &lines, &[]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    for expected in [
        "line 2: the line: is no JSON object",
        "line 3: password_hash: must be a hash of Argon2",
        "line 4: created_at: is no field of a user",
        "line 5: email: is the email of line 1 too",
        "4 fault(s), nothing is imported",
    ] {
        assert!(finished.errors.contains(expected), "{expected}: {finished:?}");
    }
    assert!(!finished.errors.contains("secret"), "{finished:?}");
    assert_eq!(database.value("SELECT count(*) FROM users").await, "0");

    // The rules of the contract count too.
    let mut long = user("berta", OF_BCRYPT);
    long["username"] = json!("x".repeat(101));
    long["email"] = json!("no email");
    let finished = import(&database, &[long.to_string()], &[]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    for expected in ["line 1: email: ", "line 1: username: "] {
        assert!(finished.errors.contains(expected), "{expected}: {finished:?}");
    }
    assert_eq!(database.value("SELECT count(*) FROM users").await, "0");
}

async fn second_import_of_a_file_changes_nothing(engine: Engine) {
    let database = migrated(engine).await;
    let lines: Vec<String> =
        (0..1_100).map(|n| user(&format!("user{n}"), OF_BCRYPT).to_string()).collect();
    let finished = import(&database, &lines, &["--dry-run"]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(database.value("SELECT count(*) FROM users").await, "0");

    // As after a kill: the first batch is in.
    let finished = import(&database, &lines[..500], &[]).await;
    assert_eq!(finished.output, "inserted 500\nalready there 0\n", "{finished:?}");
    let rows = "SELECT * FROM users ORDER BY id";
    let first = database.sql(rows).await;
    let finished = import(&database, &lines, &[]).await;
    assert_eq!(finished.code, Some(PRESENT), "{finished:?}");
    assert_eq!(finished.output, "inserted 600\nalready there 500\n");
    assert!(finished.errors.contains("line 500: email: a user with this email"), "{finished:?}");
    let all = database.sql(rows).await;
    assert!(first.iter().all(|row| all.contains(row)), "a row has changed");
    let finished = import(&database, &lines, &[]).await;
    assert_eq!(finished.output, "inserted 0\nalready there 1100\n");
    assert_eq!(database.sql(rows).await, all);

    // An id of another user is refused, and its batch is not inserted.
    let id = database.value("SELECT count(*) FROM users").await;
    let mut taken = user("new_user", OF_BCRYPT);
    taken["id"] = json!("01930000-0000-7000-8000-00000000abcd");
    let finished = import(&database, &[taken.to_string()], &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut again = user("newer_user", OF_BCRYPT);
    again["id"] = taken["id"].clone();
    let finished = import(&database, &[again.to_string()], &[]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    assert!(finished.errors.contains("line 1: id: "), "{finished:?}");
    let after: u32 = id.parse().expect("a number");
    assert_eq!(database.value("SELECT count(*) FROM users").await, (after + 1).to_string());
}

async fn import_of_users_that_cannot_begin_says_why(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let finished = import(&database, &[user("anna", OF_BCRYPT).to_string()], &[]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    assert!(finished.errors.contains("bookstore migrate up"), "{finished:?}");
    let database = Database::create(engine, Origin::Empty).await;
    let arguments = ["users", "import", "/nowhere/users.jsonl"];
    let finished = run(&arguments, &[("DATABASE_URL", &database.url())]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    assert!(finished.errors.contains("/nowhere/users.jsonl: No such file"), "{finished:?}");
}

/// The whole file is checked before the first user is written, so a stream would be empty when it is
/// read again, and the import would report success.
async fn file_that_cannot_be_read_twice_imports_nothing(engine: Engine) {
    let database = migrated(engine).await;
    let environment = [("DATABASE_URL", &*database.url())];
    for (path, says) in [
        ("/dev/zero", "must be a regular file, since it is read twice"),
        ("-", "must be a regular file, since it is read twice"),
        ("/", "is a directory"),
    ] {
        let finished = run(&["users", "import", path], &environment).await;
        assert_eq!(finished.code, Some(FAILED), "{path}: {finished:?}");
        assert!(finished.errors.contains(says), "{path}: {finished:?}");
    }

    // Ids are compared in the file too, and lines have a limit and an encoding.
    let with_id = |name: &str| {
        let mut user = user(name, OF_BCRYPT);
        user["id"] = json!("01930000-0000-7000-8000-00000000abcd");
        user.to_string()
    };
    let lines = [with_id("anna"), "x".repeat((1 << 20) + 1), with_id("berta")];
    let finished = import(&database, &lines, &[]).await;
    assert_eq!(finished.code, Some(FAILED), "{finished:?}");
    for expected in [
        "line 2: the line: is longer than 1048576 bytes",
        "line 3: id: is the id of line 1 too",
        "2 fault(s), nothing is imported",
    ] {
        assert!(finished.errors.contains(expected), "{expected}: {finished:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.jsonl");
    let arguments = ["users", "import", path.to_str().expect("a path as text")];
    std::fs::write(&path, b"\xfe{}\n").expect("a file");
    let finished = run(&arguments, &environment).await;
    assert!(
        finished.errors.contains("line 1: the line: is no UTF-8 from byte 1 on"),
        "{finished:?}"
    );
    assert_eq!(database.value("SELECT count(*) FROM users").await, "0");

    // A byte order mark and the line ends of Windows are no fault.
    let text = format!("\u{feff}{}\r\n", with_id("anna"));
    std::fs::write(&path, text).expect("a file");
    assert_eq!(run(&arguments, &environment).await.output, "inserted 1\nalready there 0\n");
}
