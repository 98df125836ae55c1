//! `CategoryService`: the standard methods, and the effect of a delete on books.

mod stats;

use bookstore_proto::v1::{
    BatchDeleteCategoriesRequest, Category, CreateCategoryRequest, DeleteCategoryRequest,
    GetBookRequest, GetCategoryRequest, ListCategoriesRequest, UpdateCategoryRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use crate::client::{
    Categories, FICTION, Refusal, SCIENCE, a_book, books, categories, create_all, done, id, mask,
    message, refused, with,
};

on_every_engine!(
    category_is_created_updated_and_deleted,
    duplicate_name_is_refused,
    duplicate_name_of_16_bytes_is_refused,
    update_with_allow_missing_creates_or_updates,
    update_with_an_old_etag_is_refused,
    deleting_a_category_unlinks_its_books,
    list_is_sorted_by_name_and_filtered,
);

fn create(id: &str, category: Value) -> CreateCategoryRequest {
    message(json!({"id": id, "category": category}))
}

fn delete(json: Value) -> DeleteCategoryRequest {
    message(json)
}

async fn update(
    categories: &mut Categories,
    category: Value,
    paths: &[&str],
) -> Result<Category, Refusal> {
    let mut request = json!({"category": category});
    if !paths.is_empty() {
        request["update_mask"] = mask(paths);
    }
    send(categories, request).await
}

async fn send(categories: &mut Categories, request: Value) -> Result<Category, Refusal> {
    let answer = categories.update_category(message::<UpdateCategoryRequest>(request)).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| Refusal::from(&status))
}

async fn get(categories: &mut Categories, id: &str) -> Result<Category, Refusal> {
    let answer = categories.get_category(GetCategoryRequest { id: id.to_owned() }).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| Refusal::from(&status))
}

async fn category_is_created_updated_and_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    let ignored = json!({"id": "no id", "name": "Поэзия", "description": "", "etag": "anything",
        "create_time": "2001-02-03T04:05:06Z", "update_time": "2001-02-03T04:05:06Z"});
    let created = done(categories.create_category(create(&id(1), ignored)).await);
    assert_eq!((created.id.as_str(), created.name.as_str()), (id(1).as_str(), "Поэзия"));
    assert_eq!(created.description.as_deref(), Some(""));
    assert_eq!(created.create_time, created.update_time);
    assert!(created.create_time.is_some_and(|time| time.seconds > 1_700_000_000), "{created:?}");
    assert_eq!(get(&mut categories, &id(1)).await.expect("a category"), created);
    refused(categories.create_category(create(&id(1), json!({"name": "x"}))).await)
        .is_taken(&["id"]);
    let both = create(&id(1), json!({"name": "Fiction"}));
    let refusal = refused(categories.create_category(both).await);
    // The engines may report either constraint.
    assert_eq!(refusal.reason, "RESOURCE_ALREADY_EXISTS");

    let change = json!({"id": id(1), "name": "Verse", "description": "x"});
    let changed = update(&mut categories, change, &["name"]).await.expect("an update");
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("Verse", Some("")));
    assert_eq!(changed.create_time, created.create_time);
    assert_ne!(changed.etag, created.etag);
    let change = json!({"id": id(1)});
    let changed = update(&mut categories, change, &["description"]).await.expect("an update");
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("Verse", None));
    let change = json!({"id": id(1), "description": "Lines"});
    let changed = update(&mut categories, change, &[]).await.expect("an update");
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("Verse", Some("Lines")));
    let change = json!({"id": id(1), "name": "Rhyme"});
    let changed = update(&mut categories, change, &["*"]).await.expect("an update");
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("Rhyme", None));
    let refusal = update(&mut categories, json!({"id": id(1)}), &["*"]).await;
    refusal.expect_err("no name").is_invalid(&["category.name"]);
    let refusal = update(&mut categories, json!({"id": id(404), "name": "x"}), &[]).await;
    refusal.expect_err("no category").is_missing(&["category.id"]).says("resource", "category");

    done(categories.delete_category(delete(json!({"id": id(1)}))).await);
    refused(categories.delete_category(delete(json!({"id": id(1)}))).await).is_missing(&["id"]);
    let again = delete(json!({"id": id(1), "allow_missing": true}));
    done(categories.delete_category(again).await);
    get(&mut categories, &id(1)).await.expect_err("no category").is_missing(&["id"]);
}

async fn duplicate_name_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    refused(categories.create_category(create("", json!({"name": "Fiction"}))).await)
        .is_taken(&["category.name"]);
    // Names are compared byte by byte on both engines.
    for name in ["fiction", "Fiction ", "Fictión", "Fictio\u{301}n"] {
        done(categories.create_category(create("", json!({"name": name}))).await);
    }
    let same = json!({"id": FICTION, "name": "Fiction"});
    update(&mut categories, same, &["name"]).await.expect("its own name");
    let taken = json!({"id": FICTION, "name": "Science"});
    let refusal = update(&mut categories, taken, &["name"]).await.expect_err("a name in use");
    refusal.is_taken(&["category.name"]);
    let upsert = json!({"category": {"id": id(1), "name": "Science"}, "allow_missing": true});
    let refusal = send(&mut categories, upsert).await.expect_err("a name in use");
    refusal.is_taken(&["category.name"]);
    assert_eq!(get(&mut categories, FICTION).await.expect("a category").name, "Fiction");
    get(&mut categories, &id(1)).await.expect_err("nothing was written").is_missing(&["id"]);
}

/// SQLite's driver reads a text of 16 bytes as an id too. Such a name was looked up in vain, and the
/// write was repeated until its time was over.
async fn duplicate_name_of_16_bytes_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    for name in ["Sixteen letters.", "\u{42d}\u{43f}\u{438}\u{43a}\u{430}\u{440}\u{438}\u{438}"] {
        assert_eq!(name.len(), size_of::<uuid::Uuid>(), "{name}");
        done(categories.create_category(create("", json!({"name": name}))).await);
        refused(categories.create_category(create("", json!({"name": name}))).await)
            .is_taken(&["category.name"]);
        let taken = json!({"id": FICTION, "name": name});
        let refusal = update(&mut categories, taken, &["name"]).await.expect_err("a name in use");
        refusal.is_taken(&["category.name"]);
    }
}

async fn update_with_allow_missing_creates_or_updates(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    let upsert = |category: Value| json!({"category": category, "update_mask": "description", "allow_missing": true});
    let half = json!({"id": id(1), "description": "x"});
    let refusal = send(&mut categories, upsert(half.clone())).await.expect_err("no name");
    refusal.is_invalid(&["category.name"]);
    get(&mut categories, &id(1)).await.expect_err("nothing was written").is_missing(&["id"]);
    let whole = json!({"id": id(1), "name": "New", "description": "x"});
    let created = send(&mut categories, upsert(whole)).await.expect("a new category");
    assert_eq!((created.name.as_str(), created.description.as_deref()), ("New", Some("x")));
    let changed = send(&mut categories, upsert(with(half, json!({"description": "y"})))).await;
    let changed = changed.expect("a name that is free again");
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("New", Some("y")));
}

async fn update_with_an_old_etag_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    let first = get(&mut categories, FICTION).await.expect("a category");
    let change = |etag: &str| json!({"id": FICTION, "etag": etag, "description": etag});
    let second = update(&mut categories, change(&first.etag), &[]).await.expect("the newest");
    let other = get(&mut categories, SCIENCE).await.expect("a category").etag;
    for stale in [first.etag.as_str(), "garbage", &other] {
        let refusal =
            update(&mut categories, change(stale), &[]).await.expect_err("an outdated etag");
        refusal.is_stale("category.etag");
        let request = delete(json!({"id": FICTION, "etag": stale}));
        refused(categories.delete_category(request).await).is_stale("etag");
    }
    assert_eq!(get(&mut categories, FICTION).await.expect("a category"), second);
    done(categories.delete_category(delete(json!({"id": FICTION, "etag": second.etag}))).await);
}

async fn deleting_a_category_unlinks_its_books(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (mut books, mut categories) = (books(&server), categories(&server));
    let of = |category: &str| with(a_book("x"), json!({"category_id": category}));
    let all = [of(FICTION), of(FICTION), of(SCIENCE), a_book("x")];
    let created = create_all(&mut books, &all).await;

    // A refused delete unlinks no book.
    let stale = delete(json!({"id": FICTION, "etag": "garbage"}));
    refused(categories.delete_category(stale).await).is_stale("etag");
    let requests = vec![delete(json!({"id": FICTION})), delete(json!({"id": id(404)}))];
    let batch = BatchDeleteCategoriesRequest { requests };
    refused(categories.batch_delete_categories(batch).await).is_missing(&["requests[1].id"]);
    for book in &created {
        assert_eq!(
            done(
                books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await
            ),
            *book
        );
    }

    done(categories.delete_category(delete(json!({"id": FICTION}))).await);
    for (at, book) in created.iter().enumerate() {
        let now = done(
            books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await,
        );
        if at < 2 {
            assert_eq!((&now.category_id, &now.title), (&None, &book.title));
            assert_ne!(now.etag, book.etag);
            assert_ne!(now.update_time, book.update_time);
            assert_eq!(now.create_time, book.create_time);
        } else {
            assert_eq!(now, *book);
        }
    }
    let requests = vec![delete(json!({"id": SCIENCE}))];
    done(categories.batch_delete_categories(BatchDeleteCategoriesRequest { requests }).await);
    let linked = "SELECT count(*) FROM books WHERE category_id IS NOT NULL";
    assert_eq!(server.database().value(linked).await, "0");
    let versions = server.sql("SELECT version FROM books ORDER BY id").await;
    let wanted = ["2", "2", "2", "1"].map(|version| vec![Some(version.to_owned())]);
    assert_eq!(versions, wanted);
}

async fn list_is_sorted_by_name_and_filtered(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut categories = categories(&server);
    let mut names = Vec::new();
    let mut request = ListCategoriesRequest { page_size: 2, ..Default::default() };
    loop {
        let page = done(categories.list_categories(request.clone()).await);
        names.extend(page.categories.into_iter().map(|category| category.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    // The five categories of the migrations.
    assert_eq!(names, ["Fiction", "History", "Non-Fiction", "Science", "Technology"]);

    let created = done(categories.create_category(create("", json!({"name": "Zen"}))).await);
    for (filter, order_by, wanted) in [
        ("name = \"S*\" OR name:his", "name desc", &["Science", "History"][..]),
        ("name > Science", "", &["Technology", "Zen"]),
        (&format!("id = {FICTION}"), "", &["Fiction"]),
        (&format!("id != {FICTION} name < T"), "", &["History", "Non-Fiction", "Science"]),
        ("create_time > \"2001-02-03T04:05:06Z\" name = Z*", "create_time desc", &["Zen"]),
        ("create_time < \"2001-02-03T04:05:06Z\"", "create_time", &[]),
    ] {
        let request = json!({"filter": filter, "order_by": order_by, "page_size": 1000,
            "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
        let answer = categories.list_categories(message::<ListCategoriesRequest>(request)).await;
        let answer = done(answer);
        let names: Vec<_> = answer.categories.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, wanted, "{filter}");
        assert_eq!(answer.total_size, i64::try_from(wanted.len()).ok(), "{filter}");
    }
    let newest = json!({"order_by": "create_time desc", "page_size": 1});
    let newest = categories.list_categories(message::<ListCategoriesRequest>(newest)).await;
    assert_eq!(done(newest).categories, [created]);
}
