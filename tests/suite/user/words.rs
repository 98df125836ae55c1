//! The words of users' full names: what `full_name:` finds, and by which index.

use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine, run};
use serde_json::{Value, json};

use super::{CREATE, UPDATE, a_user, optional::listed};
use crate::{
    client::{id, mask, with},
    standard::{answer, refusal},
};

on_every_engine!(
    words_of_names_are_found_in_any_order_case_and_accent,
    words_of_changed_and_deleted_users_are_found_no_more,
    words_of_users_older_than_the_revision_are_found,
    words_that_cannot_be_searched_are_refused,
    filter_by_words_reads_the_index_of_words,
);

/// The users that a filter matches, by their numbers.
async fn found(server: &TestServer, filter: &str) -> Vec<u32> {
    let request = json!({"filter": filter, "order_by": "username", "page_size": 1_000});
    let users = listed(server, "UserService/ListUsers", "users", request).await;
    let number = |user: &Value| (1..=20).find(|at| *user == id(*at)).expect("a known user");
    users.iter().map(number).collect()
}

async fn create(server: &TestServer, at: u32, full_name: &str) {
    let members = json!({"full_name": full_name, "username": format!("user {at:02}")});
    answer(server, CREATE, json!({"id": id(at), "user": with(a_user(), members)})).await;
}

async fn words_of_names_are_found_in_any_order_case_and_accent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let names = [
        "Björn Almeida",
        "Ada King-Noël",
        "ada LOVELACE",
        "Seán O'Brien",
        "",
        "Adam Brien O",
        "José María Ñúñez",
        "Łukasz Çelik",
        "山田 太郎",
    ];
    for (at, name) in (1..).zip(names) {
        create(&server, at, name).await;
    }
    for (filter, wanted) in [
        ("full_name:ada", &[2, 3][..]),
        ("full_name:ADA", &[2, 3]),
        ("full_name:\"lovelace ada\"", &[3]),
        ("full_name:ada full_name:noel", &[2]),
        ("full_name:\"king noel\"", &[2]),
        ("full_name:king-noel", &[2]),
        ("full_name:bjorn", &[1]),
        ("full_name:BJÖRN", &[1]),
        // A word and no part of one.
        ("full_name:love", &[]),
        ("full_name:lovelaces", &[]),
        ("full_name:\"love*\"", &[3]),
        ("full_name:ad*", &[2, 3, 6]),
        ("full_name:\"ad* br*\"", &[6]),
        // A term of several words is a phrase.
        ("full_name:\"o'brien\"", &[4]),
        ("full_name:\"o brien\"", &[4, 6]),
        ("full_name:\"maria nunez\"", &[7]),
        ("full_name:celik", &[8]),
        ("full_name:太郎", &[9]),
        ("full_name:\"ada\\*\"", &[2, 3]),
        ("full_name:\"ada OR bjorn\"", &[]),
        ("NOT full_name:ada", &[1, 4, 5, 6, 7, 8, 9]),
        ("full_name:ada OR full_name:bjorn", &[1, 2, 3]),
        ("full_name:ada username = \"user 03\"", &[3]),
        ("full_name:*", &[1, 2, 3, 4, 6, 7, 8, 9]),
    ] {
        assert_eq!(found(&server, filter).await, wanted, "{filter}");
    }
    // A list of another kind takes the same filter.
    let request = json!({"filter": "full_name:lovelace"});
    let page = answer(&server, "UserService/ListUserOrderCounts", request).await;
    assert_eq!(page["user_order_counts"][0]["user"]["id"], id(3));
    // Pages go on where they ended.
    let mut request = json!({"filter": "full_name:ad*", "order_by": "full_name", "page_size": 1});
    let mut pages = Vec::new();
    loop {
        let page = answer(&server, "UserService/ListUsers", request.clone()).await;
        pages.push(page["users"][0]["id"].clone());
        match page.get("next_page_token") {
            Some(token) => request["page_token"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(pages, [id(2), id(6), id(3)]);
}

async fn words_of_changed_and_deleted_users_are_found_no_more(engine: Engine) {
    let server = TestServer::start(engine).await;
    for (at, name) in (1..).zip(["Ada One", "Ada Two", "Ada Three"]) {
        create(&server, at, name).await;
    }
    for (name, wanted) in [("Grace One", &[2, 3][..]), ("", &[2, 3]), ("Ada Four", &[1, 2, 3])] {
        let user = json!({"id": id(1), "full_name": name});
        answer(&server, UPDATE, json!({"user": user, "update_mask": mask(&["full_name"])})).await;
        assert_eq!(found(&server, "full_name:ada").await, wanted, "{name}");
        assert_eq!(
            found(&server, "full_name:one").await,
            if name == "Grace One" { &[1][..] } else { &[] }
        );
    }
    answer(&server, "UserService/DeleteUser", json!({"id": id(2)})).await;
    assert_eq!(found(&server, "full_name:ada").await, [1, 3]);
    assert_eq!(found(&server, "full_name:two").await, [0; 0]);
    // Writes by SQL, and an id that comes back.
    create(&server, 2, "Ada Again").await;
    server.sql("UPDATE users SET full_name = 'Zoë Five' WHERE full_name = 'Ada Three'").await;
    assert_eq!(found(&server, "full_name:ada").await, [1, 2]);
    assert_eq!(found(&server, "full_name:zoe").await, [3]);
    if engine == Engine::Sqlite {
        server.sql("INSERT INTO user_words (user_words) VALUES ('integrity-check')").await;
        server.sql("DELETE FROM users").await;
        let left = server.database().value("SELECT count(*) FROM user_word_keys").await;
        assert_eq!(left, "0");
    }
}

async fn words_of_users_older_than_the_revision_are_found(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let url = database.owner_url();
    let migrate = async |arguments: &[&str]| {
        let finished = run(arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
    };
    let before = "m20261121_000009_create_orders";
    migrate(&["migrate", "up", before]).await;
    for (at, name) in (1..).zip(["Björn Almeida", "Ada King", "Gone"]) {
        let key = match engine {
            Engine::Sqlite => format!("x'{}'", id(at).replace('-', "")),
            Engine::Postgres => format!("'{}'", id(at)),
        };
        let row = format!("({key}, 'user{at}@b', 'user{at}', '{name}', 'x')");
        let columns = "id, email, username, full_name, password_hash";
        database.sql(&format!("INSERT INTO users ({columns}) VALUES {row}")).await;
    }
    database.sql("DELETE FROM users WHERE full_name = 'Gone'").await;
    let former = "m20261127_000012_make_names_and_addresses_optional";
    migrate(&["migrate", "up"]).await;
    migrate(&["migrate", "down", former, "--yes"]).await;
    migrate(&["migrate", "up"]).await;
    let server = TestServer::builder(engine).on(database.into()).start().await;
    for (filter, wanted) in
        [("full_name:bjorn", &[1][..]), ("full_name:king", &[2]), ("full_name:gone", &[])]
    {
        assert_eq!(found(&server, filter).await, wanted, "{filter}");
    }
}

async fn words_that_cannot_be_searched_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let long = format!("full_name:\"{}\"", "x".repeat(201));
    let many = format!("full_name:\"{}\"", "ab ".repeat(33));
    for (filter, reason) in [
        ("full_name:\"\"", "a word to look for"),
        ("full_name:\"- '\"", "a word to look for"),
        ("full_name:\"*\"", "a word to look for"),
        ("full_name:\"a*\"", "at least 2 characters before the *"),
        ("full_name:\"a*b\"", "only at the end of a word"),
        (&many, "at most 32 words"),
        (&long, "at most 200 characters"),
    ] {
        let refused = refusal(&server, "UserService/ListUsers", json!({"filter": filter})).await;
        assert!(refused.message.contains(reason), "{filter}: {refused:?}");
        refused.is_invalid(&["filter"]);
    }
}

async fn filter_by_words_reads_the_index_of_words(engine: Engine) {
    let server = TestServer::start(engine).await;
    let sql = match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
             INSERT INTO users (id, email, username, full_name, password_hash)
             SELECT randomblob(16), n || '@b', n, 'Reader Number' || n, 'x' FROM n"
        }
        Engine::Postgres => {
            "INSERT INTO users (id, email, username, full_name, password_hash)
             SELECT gen_random_uuid(), n || '@b', n, 'Reader Number' || n, 'x'
             FROM generate_series(1, 5000) AS n;
             ANALYZE users"
        }
    };
    server.sql(sql).await;
    let url = server.database().url();
    let index = if engine == Engine::Sqlite { "user_words" } else { "users_user_words_idx" };
    for order in ["create_time", "full_name desc", "email"] {
        let arguments = ["explain", "users", "full_name:number77", "--order-by", order];
        let plan = run(&arguments, &[("DATABASE_URL", &url)]).await;
        assert_eq!(plan.code, Some(0), "{plan:?}");
        let indexes = plan.output.lines().find(|line| line.starts_with("indexes:"));
        assert!(indexes.is_some_and(|line| line.contains(index)), "{order}: {}", plan.output);
        for scan in ["Seq Scan", "SCAN users", "users_created_at_id_idx", "No index serves"] {
            assert!(!plan.output.contains(scan), "{order}: {}", plan.output);
        }
    }
    let request = json!({"filter": "full_name:number77"});
    let page = answer(&server, "UserService/ListUsers", request).await;
    assert_eq!(page["users"].as_array().map(Vec::len), Some(1), "{page}");
}
