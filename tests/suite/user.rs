//! What is special to `UserService`. `standard.rs` tests the standard methods.

mod optional;
mod words;

use std::sync::atomic::{AtomicU32, Ordering};

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    bad_input::{
        Case, bad,
        standard::{self, Kind},
    },
    client::{Refusal, id, mask, with},
    order::{Placed, place},
    standard::{answer, refusal, statements},
};

on_every_engine!(
    email_that_differs_only_in_case_is_refused,
    password_is_stored_hashed_and_never_returned,
    wrong_password_and_unknown_email_get_the_same_answer,
    user_without_role_and_state_gets_the_defaults,
    deleting_a_user_with_posts_needs_force,
    order_counts_are_listed_for_each_user,
);

/// The bad-input table's case of users.
pub(crate) const KIND: Kind = Kind {
    service: "UserService",
    one: "User",
    many: "Users",
    field: "user",
    ids: || [id(1), id(2)],
    valid: a_user,
    required: &["email", "username", "password"],
    input_only: &["password"],
    text: ("username", 100),
    other: Some(("bio", 1_000)),
    sortable: "email",
    rows: || {
        let taken = with(a_user(), json!({"email": "taken@example.org"}));
        // The third user writes and reviews, so the first two can be deleted.
        let mut rows = vec![json!({"id": id(1), "user": taken})];
        rows.extend([2, 3, 4].map(|at| json!({"id": id(at), "user": a_user()})));
        rows
    },
    own: cases,
};

/// A valid new user with a unique email.
pub(crate) fn a_user() -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    json!({
        "email": format!("reader{number}@example.org"),
        "username": "reader",
        "full_name": "A. Reader",
        "password": "correct horse",
    })
}

fn new(members: Value) -> Value {
    json!({"user": with(a_user(), members)})
}

const CREATE: &str = "UserService/CreateUser";
const UPDATE: &str = "UserService/UpdateUser";
const VERIFY: &str = "UserService/VerifyPassword";
const COUNTS: &str = "UserService/ListUserOrderCounts";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (member, values) in [
        (
            "email",
            vec![
                json!("x"),
                json!("@x"),
                json!("x@"),
                json!("a@b@c"),
                json!("a b@c"),
                json!("a@c\n"),
                json!(format!("{}@x", "x".repeat(254))),
                // It gets a character longer in lower case.
                json!(format!("İ{}@x", "x".repeat(252))),
                json!("a\0@b"),
            ],
        ),
        ("full_name", vec![json!("x".repeat(256)), json!("\0")]),
        ("password", vec![json!("1234567"), json!("𝔘".repeat(129)), json!("12345678\0")]),
        ("role", vec![json!(3), json!(-1)]),
        ("avatar_url", vec![json!("x".repeat(501)), json!("\0")]),
    ] {
        let field = format!("user.{member}");
        for value in values {
            cases.push(bad(CREATE, new(json!({member: value})), &[&field]));
            let user = json!({"id": id(1), member: value});
            let update = json!({"user": user, "update_mask": mask(&[member])});
            cases.push(bad(UPDATE, update, &[&field]));
        }
    }
    // Cleared by a mask that names it.
    let cleared = json!({"user": {"id": id(1)}, "update_mask": "password"});
    cases.push(bad(UPDATE, cleared, &["user.password"]));

    for email in ["taken@example.org", "TAKEN@example.ORG"] {
        cases.push(bad(CREATE, new(json!({"email": email})), &["user.email"]).taken());
        let user = json!({"id": id(2), "email": email});
        cases.push(bad(UPDATE, json!({"user": user}), &["user.email"]).taken());
        let requests = json!({"requests": [new(json!({})), new(json!({"email": email}))]});
        let field = "requests[1].user.email";
        cases.push(bad("UserService/BatchCreateUsers", requests, &[field]).taken());
    }
    // Hashing each password takes time.
    for verb in ["Create", "Update"] {
        let user = |at: u32| json!({"user": with(a_user(), json!({"id": id(at)}))});
        let requests: Vec<Value> = (1..=101).map(user).collect();
        let many = format!("UserService/Batch{verb}Users");
        cases.push(bad(&many, json!({"requests": requests}), &["requests"]));
    }

    cases.push(bad(VERIFY, json!({}), &["email", "password"]));
    let long = json!({"email": "x".repeat(256), "password": "x".repeat(129)});
    cases.push(bad(VERIFY, long, &["email", "password"]));
    cases.push(bad(VERIFY, json!({"email": "\0", "password": "\0"}), &["email", "password"]));
    let unknown = json!({"email": "nobody@example.org", "password": "correct horse"});
    let refused = bad(VERIFY, unknown, &[]);
    cases.push(refused.because(Code::FailedPrecondition, "PASSWORD_MISMATCH"));

    for filter in [
        "password = x",
        "password_hash:*",
        "role = ADMIN",
        "role = 2",
        "role > ROLE_USER",
        "is_active = 1",
        "bio = x",
        "avatar_url:*",
    ] {
        cases.push(bad("UserService/ListUsers", json!({"filter": filter}), &["filter"]));
    }
    for order in ["password", "role", "is_active", "update_time"] {
        cases.push(bad("UserService/ListUsers", json!({"order_by": order}), &["order_by"]));
    }
    cases.extend(standard::lists(&KIND, COUNTS));
    cases
}

async fn email_that_differs_only_in_case_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let created = answer(&server, CREATE, new(json!({"email": "Ada.LÖVELACE@Example.ORG"}))).await;
    assert_eq!(created["email"], "ada.lövelace@example.org");
    for taken in ["ada.lövelace@example.org", "ADA.LÖVELACE@EXAMPLE.ORG"] {
        refusal(&server, CREATE, new(json!({"email": taken}))).await.is_taken(&["user.email"]);
    }
    // SQLite's driver reads a text of 16 bytes as an id too.
    let short = || new(json!({"email": "test@example.com"}));
    let other = answer(&server, CREATE, short()).await;
    refusal(&server, CREATE, short()).await.is_taken(&["user.email"]);
    answer(&server, "UserService/DeleteUser", json!({"id": other["id"]})).await;
    let own = json!({"user": {"id": created["id"], "email": "ADA.lövelace@example.org"}});
    let changed = answer(&server, UPDATE, own).await;
    assert_eq!(changed["email"], created["email"]);
    let duplicates = json!({"requests": [
        new(json!({"email": "a@b"})), new(json!({"email": "c@d"})), new(json!({"email": "A@B"})),
    ]});
    refusal(&server, "UserService/BatchCreateUsers", duplicates)
        .await
        .is_taken(&["requests[2].user.email"]);
    assert_eq!(server.database().value("SELECT count(*) FROM users").await, "1");
}

/// The answer of VerifyPassword.
async fn verified(server: &TestServer, email: &str, password: &str) -> bool {
    let request = json!({"email": email, "password": password});
    match crate::standard::call(server, VERIFY, request).await {
        Ok(answer) => {
            assert_eq!(answer["user"]["email"], email.to_lowercase());
            true
        }
        Err(refusal) => {
            is_mismatch(refusal);
            false
        }
    }
}

fn is_mismatch(refusal: Refusal) {
    let refusal = refusal.is(Code::FailedPrecondition, "PASSWORD_MISMATCH", &[]);
    assert_eq!(refusal.message, "no active user has this email and this password");
    assert!(refusal.metadata.is_empty(), "{refusal:?}");
}

async fn password_is_stored_hashed_and_never_returned(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let secret = "pässword \"1\"";
    let create =
        json!({"id": id(1), "user": with(a_user(), json!({"email": "a@b", "password": secret}))});
    let mut answers = vec![answer(&server, CREATE, create).await];
    let hash = || async { server.database().value("SELECT password_hash FROM users").await };
    let first = hash().await;
    assert!(first.starts_with("$argon2id$v=19$"), "{first}");
    assert!(verified(&server, "a@b", secret).await);

    // An update of other fields or by `*` keeps it, and a new password replaces it.
    let update = |members: Value, paths: &str| {
        let user =
            with(json!({"id": id(1), "email": "a@b", "username": "x", "full_name": "y"}), members);
        json!({"user": user, "update_mask": paths})
    };
    answers.push(answer(&server, UPDATE, update(json!({}), "*")).await);
    answers.push(answer(&server, UPDATE, update(json!({"password": "not named"}), "bio")).await);
    assert_eq!(hash().await, first);
    answers.push(answer(&server, UPDATE, update(json!({"password": "new password"}), "*")).await);
    assert_ne!(hash().await, first);
    assert!(verified(&server, "a@b", "new password").await);
    assert!(!verified(&server, "a@b", secret).await);
    // Without a mask populated fields change, a password too.
    answers.push(answer(&server, UPDATE, json!({"user": {"id": id(1), "password": secret}})).await);
    assert!(verified(&server, "a@b", secret).await);

    // An upsert hashes the password of a new row although its mask doesn't name it.
    let user = with(a_user(), json!({"id": id(2), "email": "c@d", "password": secret}));
    let upsert = json!({"user": user, "update_mask": "bio", "allow_missing": true});
    answers.push(answer(&server, UPDATE, upsert).await);
    assert!(verified(&server, "c@d", secret).await);

    answers.push(answer(&server, "UserService/GetUser", json!({"id": id(1)})).await);
    answers.push(answer(&server, "UserService/ListUsers", json!({})).await);
    let text = format!("{answers:?} {:?}", server.logs().so_far());
    assert!(!text.contains("password\":") && !text.contains("argon2id$"), "{text}");
    assert!(!text.contains("pässword"), "{text}");
}

async fn wrong_password_and_unknown_email_get_the_same_answer(engine: Engine) {
    let server = TestServer::start(engine).await;
    let users = [("in@b", true), ("out@b", false)];
    for (email, is_active) in users {
        answer(&server, CREATE, new(json!({"email": email, "is_active": is_active}))).await;
    }
    assert!(verified(&server, "in@b", "correct horse").await);
    assert!(verified(&server, "IN@B", "correct horse").await);
    for (email, password) in [
        ("in@b", "correct Horse"),
        ("in@b", "x"),
        ("out@b", "correct horse"),
        ("out@b", "wrong horse"),
        ("none@b", "correct horse"),
        ("none@b", "no user has this one"),
    ] {
        assert!(!verified(&server, email, password).await, "{email} {password}");
    }
}

async fn user_without_role_and_state_gets_the_defaults(engine: Engine) {
    let server = TestServer::start(engine).await;
    let cases = [
        (json!({}), "ROLE_USER", true),
        (json!({"role": "ROLE_UNSPECIFIED", "is_active": false}), "ROLE_USER", false),
        (json!({"role": "ROLE_USER", "is_active": true}), "ROLE_USER", true),
        (json!({"role": "ROLE_ADMIN"}), "ROLE_ADMIN", true),
    ];
    for (at, (members, role, is_active)) in (1..).zip(cases) {
        let create = json!({"id": id(at), "user": with(a_user(), members)});
        let user = answer(&server, CREATE, create).await;
        assert_eq!((&user["role"], &user["is_active"]), (&json!(role), &json!(is_active)));
    }
    for (filter, wanted) in [
        ("role = ROLE_ADMIN", vec![4]),
        ("role != ROLE_ADMIN is_active = true", vec![1, 3]),
        ("is_active = false", vec![2]),
        ("email = \"reader*\" username = reader", vec![1, 2, 3, 4]),
        ("email = \"READER*\"", vec![]),
    ] {
        let request = json!({"filter": filter, "order_by": "create_time"});
        let page = answer(&server, "UserService/ListUsers", request).await;
        let users = page["users"].as_array().cloned().unwrap_or_default();
        let ids: Vec<_> = users.iter().map(|user| user["id"].clone()).collect();
        assert_eq!(ids, wanted.into_iter().map(id).collect::<Vec<_>>(), "{filter}");
    }
    // A field that is named and unset gets the default again.
    let update = json!({"user": {"id": id(4)}, "update_mask": mask(&["role", "is_active"])});
    assert_eq!(answer(&server, UPDATE, update).await["role"], "ROLE_USER");
}

async fn deleting_a_user_with_posts_needs_force(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (delete, batch) = ("UserService/DeleteUser", "UserService/BatchDeleteUsers");
    for at in 1..=4 {
        answer(&server, CREATE, json!({"id": id(at), "user": a_user()})).await;
    }
    for (at, author) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        let post = json!({"title": "x", "content": "y", "author_id": id(author)});
        answer(&server, "PostService/CreatePost", json!({"id": id(at), "post": post})).await;
    }
    let in_use = |refusal: Refusal, fields: &[&str]| {
        let refusal = refusal.is(Code::FailedPrecondition, "RESOURCE_IN_USE", fields);
        assert!(refusal.message.contains("is still referred to by a post"), "{refusal:?}");
    };
    in_use(refusal(&server, delete, json!({"id": id(1)})).await, &["id"]);
    let of = |at: u32, force: bool| json!({"id": id(at), "force": force});
    let requests = json!({"requests": [of(4, false), of(1, true), of(2, false), of(3, false)]});
    in_use(refusal(&server, batch, requests).await, &["requests[2].id", "requests[3].id"]);
    let stale = json!({"id": id(1), "force": true, "etag": "old"});
    refusal(&server, delete, stale).await.is_stale("etag");
    let count = |table: &'static str| {
        let database = server.database();
        async move { database.value(&format!("SELECT count(*) FROM {table}")).await }
    };
    assert_eq!((count("users").await, count("posts").await), ("4".into(), "4".into()));

    answer(&server, delete, of(1, true)).await;
    assert_eq!((count("users").await, count("posts").await), ("3".into(), "2".into()));
    answer(&server, batch, json!({"requests": [of(4, false), of(2, true)]})).await;
    assert_eq!((count("users").await, count("posts").await), ("1".into(), "1".into()));
    refusal(&server, delete, of(1, true)).await.is_missing(&["id"]);
    answer(&server, "PostService/DeletePost", json!({"id": id(4)})).await;
    answer(&server, delete, of(3, false)).await;
    assert_eq!(count("users").await, "0");
}

async fn order_counts_are_listed_for_each_user(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let user = |at: u32| {
        let named = json!({"username": format!("reader {at}")});
        json!({"id": id(at), "user": with(a_user(), named)})
    };
    let users: Vec<Value> = (1..=5).map(user).collect();
    answer(&server, "UserService/BatchCreateUsers", json!({"requests": users})).await;
    let orders = [(1, 2), (2, 4), (3, 2), (4, 2), (5, 1)];
    let orders: Vec<Placed<'_>> =
        orders.map(|(at, user)| (at, user, "CANCELLED", &[][..])).to_vec();
    place(&server.database(), &orders).await;

    let all = [(1, 1), (2, 3), (3, 0), (4, 1), (5, 0)];
    for (request, wanted, total) in [
        (json!({}), &all[..], None),
        (json!({"filter": "username = \"reader 3\""}), &all[2..3], None),
        (json!({"skip": 3, "total_size_mode": "TOTAL_SIZE_MODE_EXACT"}), &all[3..], Some("5")),
        (json!({"skip": 9}), &[], None),
    ] {
        let mut request = with(json!({"order_by": "username", "page_size": 2}), request);
        let mut counted = Vec::new();
        loop {
            let page = answer(&server, COUNTS, request.clone()).await;
            assert_eq!(page.get("total_size").and_then(Value::as_str), total);
            for count in page["user_order_counts"].as_array().cloned().unwrap_or_default() {
                let of = answer(&server, "UserService/GetUser", json!({"id": count["user"]["id"]}));
                assert_eq!(of.await, count["user"]);
                let at = (1..=5).find(|at| count["user"]["id"] == id(*at)).expect("a user");
                let orders = count["order_count"].as_str().unwrap_or("0").parse::<u32>();
                counted.push((at, orders.expect("a number")));
            }
            match page.get("next_page_token") {
                Some(token) => request["page_token"] = token.clone(),
                None => break,
            }
            request["skip"] = json!(0);
        }
        assert_eq!(counted, wanted, "{request}");
    }

    for size in [1, 5] {
        let texts = statements(&server, COUNTS, json!({"page_size": size})).await;
        assert_eq!(texts.len(), 2, "{texts:?}");
    }
    // Each list accepts only its own tokens.
    let page = answer(&server, COUNTS, json!({"page_size": 1})).await;
    let token = json!({"page_token": page["next_page_token"]});
    refusal(&server, "UserService/ListUsers", token).await.is_invalid(&["page_token"]);
}
