//! What is special to `ReviewService`. `standard.rs` tests the standard methods.

use std::sync::atomic::{AtomicU32, Ordering};

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use crate::{
    bad_input::{Case, bad, standard::Kind},
    client::{a_book, id, mask, with},
    standard::{answer, refusal},
    user::a_user,
};

on_every_engine!(
    second_review_of_a_book_by_a_user_is_refused,
    update_of_the_user_or_book_of_a_review_is_refused,
    filter_and_order_compare_ratings_as_numbers,
    deleting_a_book_or_user_deletes_its_reviews,
);

/// The bad-input table's case of reviews.
pub(crate) const KIND: Kind = Kind {
    service: "ReviewService",
    one: "Review",
    many: "Reviews",
    field: "review",
    ids: || [id(1), id(2)],
    valid: || {
        // The fourth user has no review; a request may contain two of these.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        a_review(4, 1 + NEXT.fetch_add(1, Ordering::Relaxed) % 2)
    },
    required: &["user_id", "book_id", "rating"],
    input_only: &[],
    text: ("comment", 10_000),
    other: None,
    sortable: "rating",
    rows: || {
        vec![
            json!({"id": id(1), "review": a_review(3, 1)}),
            json!({"id": id(2), "review": a_review(3, 2)}),
        ]
    },
    own: cases,
};

fn a_review(user: u32, book: u32) -> Value {
    json!({"user_id": id(user), "book_id": id(book), "rating": 4.5, "comment": "new"})
}

const CREATE: &str = "ReviewService/CreateReview";
const UPDATE: &str = "ReviewService/UpdateReview";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let new = |members: Value| json!({"review": with(a_review(4, 1), members)});
    for (member, values) in [
        ("user_id", vec![json!(""), json!("x"), json!("\0")]),
        ("book_id", vec![json!(""), json!("x"), json!("\0")]),
        (
            "rating",
            vec![
                json!(0),
                json!(-0.0),
                json!(0.999),
                json!(5.000001),
                json!(-3),
                json!(1e300),
                json!("NaN"),
                json!("Infinity"),
                json!("-Infinity"),
            ],
        ),
    ] {
        let field = format!("review.{member}");
        for value in values {
            cases.push(bad(CREATE, new(json!({member: value})), &[&field]));
            let review = json!({"id": id(1), member: value});
            let update = json!({"review": review, "update_mask": mask(&[member])});
            cases.push(bad(UPDATE, update, &[&field]));
        }
    }
    for member in ["user_id", "book_id"] {
        let field = format!("review.{member}");
        let lost = json!({member: id(404)});
        cases.push(bad(CREATE, new(lost.clone()), &[&field]).no_reference());
        let other = json!({"review": with(lost, json!({"id": id(1), "comment": "x"}))});
        cases.push(bad(UPDATE, other.clone(), &[&field]));
        let named = with(other.clone(), json!({"update_mask": mask(&[member])}));
        cases.push(bad(UPDATE, named, &[&field]));
        let field = format!("requests[1].review.{member}");
        let fine = json!({"review": {"id": id(2), "comment": "x"}});
        let batch = json!({"requests": [fine, other]});
        cases.push(bad("ReviewService/BatchUpdateReviews", batch, &[&field]));
    }
    let all = json!({"id": id(1), "user_id": id(2), "book_id": id(2), "rating": 1});
    let fields = ["review.user_id", "review.book_id"];
    cases.push(bad(UPDATE, json!({"review": all, "update_mask": "*"}), &fields));
    let duplicate = json!({"review": a_review(3, 1)});
    cases.push(bad(CREATE, duplicate.clone(), &["review.book_id"]).taken());
    let upsert = with(a_review(3, 1), json!({"id": id(404)}));
    let upsert = json!({"review": upsert, "allow_missing": true});
    cases.push(bad(UPDATE, upsert, &["review.book_id"]).taken());
    let requests =
        json!({"requests": [{"review": a_review(4, 1)}, duplicate, {"review": a_review(4, 1)}]});
    let fields = ["requests[1].review.book_id", "requests[2].review.book_id"];
    cases.push(bad("ReviewService/BatchCreateReviews", requests, &fields).taken());

    for filter in ["rating = good", "rating > \"4\"", "rating = 1e400", "rating:4", "user_id = x"] {
        cases.push(bad("ReviewService/ListReviews", json!({"filter": filter}), &["filter"]));
    }
    for order in ["comment", "user_id", "book_id"] {
        cases.push(bad("ReviewService/ListReviews", json!({"order_by": order}), &["order_by"]));
    }
    cases
}

/// A service with users and books of the ids 1 to 3.
async fn start(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    for at in 1..=3 {
        answer(&server, "UserService/CreateUser", json!({"id": id(at), "user": a_user()})).await;
        let book = json!({"id": id(at), "book": a_book("x")});
        answer(&server, "BookService/CreateBook", book).await;
    }
    server
}

async fn second_review_of_a_book_by_a_user_is_refused(engine: Engine) {
    let server = start(engine).await;
    for (at, (user, book)) in (1..).zip([(1, 1), (1, 2), (2, 1)]) {
        answer(&server, CREATE, json!({"id": id(at), "review": a_review(user, book)})).await;
    }
    let again = json!({"review": a_review(2, 1)});
    refusal(&server, CREATE, again.clone()).await.is_taken(&["review.book_id"]);
    answer(&server, "ReviewService/DeleteReview", json!({"id": id(3)})).await;
    answer(&server, CREATE, again).await;
}

async fn update_of_the_user_or_book_of_a_review_is_refused(engine: Engine) {
    let server = start(engine).await;
    let first = answer(&server, CREATE, json!({"id": id(1), "review": a_review(1, 1)})).await;
    let update = |members: Value, paths: Option<&str>| {
        let review = with(a_review(1, 1), with(json!({"id": id(1)}), members));
        with(json!({"review": review}), json!({"update_mask": paths}))
    };
    // Named or populated, the same values are accepted.
    for (comment, paths) in [("a", None), ("b", Some("*")), ("c", Some("comment,userId,bookId"))] {
        let changed = answer(&server, UPDATE, update(json!({"comment": comment}), paths)).await;
        assert_eq!(changed["comment"], comment);
        assert_eq!(
            (&changed["user_id"], &changed["book_id"]),
            (&first["user_id"], &first["book_id"])
        );
    }
    let now = answer(&server, "ReviewService/GetReview", json!({"id": id(1)})).await;
    for (members, fields) in [
        (json!({"user_id": id(2)}), &["review.user_id"][..]),
        (json!({"book_id": id(2)}), &["review.book_id"]),
        (json!({"user_id": id(2), "book_id": id(2)}), &["review.user_id", "review.book_id"]),
    ] {
        for paths in [None, Some("*"), Some("userId,bookId")] {
            refusal(&server, UPDATE, update(members.clone(), paths)).await.is_invalid(fields);
            let current = with(members.clone(), json!({"etag": now["etag"]}));
            refusal(&server, UPDATE, update(current, paths)).await.is_invalid(fields);
        }
        // A field outside the mask is ignored.
        answer(
            &server,
            UPDATE,
            update(with(members.clone(), json!({"comment": "c"})), Some("comment")),
        )
        .await;
    }
    let stale = json!({"etag": first["etag"]});
    refusal(&server, UPDATE, update(stale, None)).await.is_stale("review.etag");
    let row = server.sql("SELECT user_id, book_id FROM reviews").await;
    assert_eq!(row, [vec![Some(id(1)), Some(id(1))]]);
}

async fn filter_and_order_compare_ratings_as_numbers(engine: Engine) {
    let server = start(engine).await;
    let ratings = [(1, 1, 1.0), (1, 2, 5.0), (2, 1, 3.3333333333333335), (2, 2, 4.999999999999999)];
    for (user, book, rating) in ratings {
        let review = with(a_review(user, book), json!({"rating": rating}));
        assert_eq!(answer(&server, CREATE, json!({"review": review})).await["rating"], rating);
    }
    for (filter, wanted) in [
        ("rating >= 3.3333333333333335", vec![5.0, 4.999999999999999, 3.3333333333333335]),
        ("rating = 5", vec![5.0]),
        ("rating < 1.5e0", vec![1.0]),
        ("rating != 5 rating > -1", vec![4.999999999999999, 3.3333333333333335, 1.0]),
    ] {
        let filter = json!({"filter": filter, "order_by": "rating desc"});
        let page = answer(&server, "ReviewService/ListReviews", filter.clone()).await;
        let reviews = page["reviews"].as_array().cloned().unwrap_or_default();
        let ratings: Vec<_> =
            reviews.iter().filter_map(|review| review["rating"].as_f64()).collect();
        assert_eq!(ratings, wanted, "{filter}");
    }
}

async fn deleting_a_book_or_user_deletes_its_reviews(engine: Engine) {
    let server = start(engine).await;
    for (user, book) in [(1, 1), (1, 2), (2, 1), (3, 3)] {
        answer(&server, CREATE, json!({"review": a_review(user, book)})).await;
    }
    let left = || server.database();
    let count = "SELECT count(*) FROM reviews";
    answer(&server, "BookService/DeleteBook", json!({"id": id(2)})).await;
    assert_eq!(left().value(count).await, "3");
    let refused = refusal(&server, "UserService/DeleteUser", json!({"id": id(1)})).await;
    let refused = refused.is(tonic::Code::FailedPrecondition, "RESOURCE_IN_USE", &["id"]);
    assert!(refused.message.contains("by a review"), "{refused:?}");
    let force = json!({"id": id(1), "force": true});
    answer(&server, "UserService/DeleteUser", force).await;
    assert_eq!(left().value(count).await, "2");
}
