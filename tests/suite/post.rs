//! What is special to `PostService`. `standard.rs` tests the standard methods.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use crate::{
    bad_input::{Case, bad, standard::Kind},
    client::{id, mask, with},
    standard::{answer, refusal},
    user::a_user,
};

on_every_engine!(post_without_an_existing_author_is_refused);

/// The bad-input table's case of posts.
pub(crate) const KIND: Kind = Kind {
    service: "PostService",
    one: "Post",
    many: "Posts",
    field: "post",
    ids: || [id(1), id(2)],
    valid: || a_post("new"),
    required: &["title", "content", "author_id"],
    input_only: &[],
    text: ("title", 200),
    other: Some(("content", 100_000)),
    sortable: "title",
    rows: || {
        vec![
            json!({"id": id(1), "post": a_post("first")}),
            json!({"id": id(2), "post": a_post("second")}),
        ]
    },
    own: cases,
};

/// A post of the user with the id 3.
fn a_post(title: &str) -> Value {
    json!({"title": title, "content": "Once upon a time", "author_id": id(3)})
}

fn cases() -> Vec<Case> {
    let (create, update) = ("PostService/CreatePost", "PostService/UpdatePost");
    let mut cases = Vec::new();
    for author in ["x", "", "\0", &id(1).to_uppercase()] {
        let post = with(a_post("new"), json!({"author_id": author}));
        cases.push(bad(create, json!({"post": post}), &["post.author_id"]));
        let post = json!({"id": id(1), "author_id": author});
        let request = json!({"post": post, "update_mask": mask(&["author_id"])});
        cases.push(bad(update, request, &["post.author_id"]));
    }
    let lost = with(a_post("new"), json!({"author_id": id(404)}));
    cases.push(bad(create, json!({"post": lost}), &["post.author_id"]).no_reference());
    let post = json!({"id": id(1), "author_id": id(404)});
    cases.push(bad(update, json!({"post": post}), &["post.author_id"]).no_reference());
    let requests = json!({"requests": [{"post": a_post("fine")}, {"post": lost}]});
    let fields = ["requests[1].post.author_id"];
    cases.push(bad("PostService/BatchCreatePosts", requests, &fields).no_reference());
    for filter in ["author_id = x", "author_id > 1", "title = 5x."] {
        cases.push(bad("PostService/ListPosts", json!({"filter": filter}), &["filter"]));
    }
    for order in ["content", "author_id"] {
        cases.push(bad("PostService/ListPosts", json!({"order_by": order}), &["order_by"]));
    }
    cases
}

async fn post_without_an_existing_author_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    for at in [2, 3] {
        answer(&server, "UserService/CreateUser", json!({"id": id(at), "user": a_user()})).await;
    }
    let longest = "𝔘".repeat(100_000);
    let post = with(a_post("Καλημέρα"), json!({"content": longest}));
    let created =
        answer(&server, "PostService/CreatePost", json!({"id": id(1), "post": post})).await;
    assert_eq!(created["content"], json!(longest));
    answer(&server, "PostService/CreatePost", json!({"id": id(2), "post": a_post("two")})).await;

    let change = |author: u32| json!({"post": {"id": id(2), "author_id": id(author)}});
    let changed = answer(&server, "PostService/UpdatePost", change(2)).await;
    assert_eq!((&changed["author_id"], &changed["title"]), (&json!(id(2)), &json!("two")));
    refusal(&server, "PostService/UpdatePost", change(404))
        .await
        .has_no_reference(&["post.author_id"]);
    for (filter, wanted) in [
        (format!("author_id = {}", id(3)), json!("Καλημέρα")),
        (format!("author_id = \"{}\"", id(2)), json!("two")),
        ("content:ONCE".to_owned(), json!("two")),
        ("title = Κ*".to_owned(), json!("Καλημέρα")),
    ] {
        let page = answer(&server, "PostService/ListPosts", json!({"filter": filter})).await;
        let posts = page["posts"].as_array().cloned().unwrap_or_default();
        assert_eq!(posts.len(), 1, "{filter}");
        assert_eq!(posts[0]["title"], wanted, "{filter}");
    }
}
