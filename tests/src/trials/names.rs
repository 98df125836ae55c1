//! The words of full names over very many users: words of one user, of a few, of many and of none. The
//! page of each is found without reading all users. It also measures what the index costs a write.

use std::time::Instant;

use bookstore_proto::v1::{
    CreateUserRequest, ListUsersRequest, User, user_service_client::UserServiceClient,
};
use tonic::transport::Channel;

use crate::{Engine, TestServer, run};

/// The filters, with the share of the users that match: one of so many; 0 is one user, and `None` no
/// user.
const FILTERS: &[(&str, Option<u32>)] = &[
    ("full_name:number77", Some(0)),
    ("full_name:rare", Some(20_000)),
    ("full_name:\"reader family77\"", Some(1_000)),
    ("full_name:twenty", Some(20)),
    ("full_name:even", Some(2)),
    ("full_name:absent", None),
];

/// The most milliseconds of a page, of which a read of a million users takes a multiple.
const MOST: f64 = 2_000.0;

/// The users that CreateUser makes with the index, and those without it.
const CREATED: u32 = 100;

/// The rows that one INSERT writes with the index, and those that one writes without it.
const INSERTED: u32 = 10_000;

/// Lists users by words of their names among `scale` users, on each engine.
pub(super) async fn names(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // A word of half of the users is found slowly on SQLite, in a debug build.
        let server = TestServer::builder(engine).env("DATABASE_READ_TIMEOUT", "60s").start().await;
        server.sql(&insert(engine, 0, scale)).await;
        server.sql(if engine == Engine::Postgres { "VACUUM ANALYZE" } else { "ANALYZE" }).await;
        let mut client = UserServiceClient::new(server.channel());
        for (filter, share) in FILTERS {
            let wanted = match share {
                None => 0,
                Some(0) => 1,
                Some(share) => (scale / share).min(50),
            };
            // Often enough for PostgreSQL to make a plan for all values (PREPARE, Notes).
            let mut slowest = 0_f64;
            for _ in 0..8 {
                let request =
                    ListUsersRequest { filter: (*filter).to_owned(), ..Default::default() };
                let began = Instant::now();
                let page = client.list_users(request).await.expect("a page").into_inner();
                slowest = slowest.max(began.elapsed().as_secs_f64() * 1_000.0);
                assert_eq!(u32::try_from(page.users.len()), Ok(wanted), "{engine:?}: {filter}");
            }
            let url = server.database().url();
            let plan = run(&["explain", "users", filter], &[("DATABASE_URL", &url)]).await.output;
            let walks = plan.contains("user_words");
            eprintln!("{engine:?}: {filter:<32} {slowest:>8.1} ms a page");
            // Many matches are found sooner along the list's order. SQLite sorts them all.
            let frequent = matches!(share, Some(2 | 20));
            assert!(walks || frequent, "{engine:?}: {filter}: {plan}");
            assert!(slowest < MOST || *share == Some(2), "{engine:?}: {filter}: {slowest} ms");
            assert!(!plan.contains("Seq Scan"), "{engine:?}: {filter}: {plan}");
        }
        costs(&server, engine, scale, &mut client).await;
    }
}

/// Prints what the index costs an INSERT of many rows and a CreateUser.
async fn costs(
    server: &TestServer,
    engine: Engine,
    scale: u32,
    client: &mut UserServiceClient<Channel>,
) {
    let database = server.database();
    let mut measured = Vec::new();
    for round in 0..2 {
        if round == 1 {
            database
                .sql(match engine {
                    Engine::Sqlite => "DROP TRIGGER users_words_insert",
                    Engine::Postgres => "DROP INDEX users_user_words_idx",
                })
                .await;
        }
        let began = Instant::now();
        database.sql(&insert(engine, scale + round * INSERTED, INSERTED)).await;
        let inserted = began.elapsed().as_secs_f64() * 1_000.0 / f64::from(INSERTED);
        let mut calls = Vec::new();
        for at in 0..CREATED {
            let user = User {
                email: format!("created{round}{at}@example.org"),
                username: "created".to_owned(),
                full_name: format!("Reader Created Family{at} Name{at}"),
                password: "correct horse".to_owned(),
                ..Default::default()
            };
            let request = CreateUserRequest { user: Some(user), ..Default::default() };
            let began = Instant::now();
            client.create_user(request).await.expect("a user");
            calls.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        // The median, since other work of the machine delays some calls.
        calls.sort_by(f64::total_cmp);
        measured.push((inserted, calls[calls.len() / 2]));
    }
    let [(row, call), (bare_row, bare_call)] = measured[..] else { return };
    eprintln!(
        "{engine:?}: a row {row:.3} ms with the index, {bare_row:.3} ms without, ratio {:.2}; \
         CreateUser {call:.1} ms and {bare_call:.1} ms, ratio {:.2}",
        row / bare_row,
        call / bare_call
    );
}

/// An INSERT of `count` users after the first `after`: four words each, some of them of many users.
fn insert(engine: Engine, after: u32, count: u32) -> String {
    let (numbers, series) = engine.numbers(after + 1, after + count);
    let (key, time) = match engine {
        Engine::Sqlite => {
            ("randomblob(16)", "strftime('%Y-%m-%dT%H:%M:%S+00:00', 1600000000 + n, 'unixepoch')")
        }
        Engine::Postgres => ("gen_random_uuid()", "to_timestamp(1600000000 + n)"),
    };
    format!(
        "{numbers} INSERT INTO users (id, email, username, full_name, password_hash, created_at,
            updated_at)
         SELECT {key}, 'user' || n || '@example.org', 'user' || n,
            'Reader Number' || n || ' Family' || (n % 1000)
                || CASE WHEN n % 2 = 0 THEN ' Even' ELSE ' Ödd' END
                || CASE WHEN n % 20 = 0 THEN ' Twenty' ELSE '' END
                || CASE WHEN n % 20000 = 0 THEN ' Rare' ELSE '' END,
            'x', {time}, {time} FROM {series}"
    )
}
