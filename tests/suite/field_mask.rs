//! The metadata `field-mask`: partial answers of every method.

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    bad_input::{KINDS, populate, send, standard::Kind},
    client::{FICTION, Refusal, a_book, books, create_all, id, with},
    list::statements,
    standard::{answer, call, call_with},
};

on_every_engine!(
    field_mask_limits_the_answer_to_its_paths,
    field_mask_works_on_every_field_of_every_resource,
    bad_field_mask_is_refused_by_every_method,
    field_mask_without_large_columns_reads_none,
    page_limit_counts_only_fields_of_the_mask,
);

async fn partly(server: &TestServer, method: &str, request: Value, mask: &str) -> Value {
    let shown = request.to_string();
    let answer = call_with(server, method, request, &[("field-mask", mask)]).await;
    answer.unwrap_or_else(|refusal| panic!("{method} {shown} {mask}: {refusal:?}"))
}

/// A member of an answer; an empty list if it is missing.
fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

async fn field_mask_limits_the_answer_to_its_paths(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let filed = json!({"category_id": FICTION, "description": "Sand", "attributes": {"a": 1}});
    let all = ["a", "b", "c"].map(|title| with(a_book(title), filed.clone()));
    create_all(&mut books, &all).await;

    let get = "BookService/GetBook";
    let first = json!({"id": id(1)});
    let whole = answer(&server, get, first.clone()).await;
    assert_eq!(partly(&server, get, first.clone(), "*").await, whole);
    for (mask, wanted) in [
        ("title,price", json!({"title": "a", "price": whole["price"]})),
        ("price.units, stock", json!({"price": {"units": "12"}})),
        ("description", json!({"description": "Sand"})),
        ("attributes,id,attributes", json!({"attributes": {"a": 1.0}, "id": id(1)})),
        ("price.nanos,price", json!({"price": whole["price"]})),
        ("cover_image", json!({})),
    ] {
        assert_eq!(partly(&server, get, first.clone(), mask).await, wanted, "{mask}");
    }
    let detail = json!({"id": id(1), "view": "BOOK_VIEW_DETAIL"});
    let read = partly(&server, get, detail, "category.name,review_count").await;
    assert_eq!(read, json!({"category": {"name": "Fiction"}, "review_count": "0"}));
    // A mask doesn't change the view.
    assert_eq!(partly(&server, get, first, "category").await, json!({}));

    let page = json!({"order_by": "title", "page_size": 2, "view": "BOOK_VIEW_WITH_CATEGORY"});
    let mask = "books.title,books.category.name,next_page_token";
    let read = partly(&server, "BookService/ListBooks", page.clone(), mask).await;
    let named = |title: &str| json!({"title": title, "category": {"name": "Fiction"}});
    assert_eq!(read["books"], json!([named("a"), named("b")]));
    let page = with(page, json!({"page_token": read["next_page_token"]}));
    let read = partly(&server, "BookService/ListBooks", page, mask).await;
    assert_eq!(read, json!({"books": [named("c")]}));
    let stats = "CategoryService/GetCategoryStats";
    let read =
        partly(&server, stats, json!({"filter": "name = Fiction"}), "stats.book_count").await;
    assert_eq!(read, json!({"stats": [{"book_count": "3"}]}));

    // A write's answer is partial, and its resource is stored as a whole.
    let book = json!({"id": id(9), "book": with(a_book("new"), filed)});
    let created = partly(&server, "BookService/CreateBook", book, "id,price.units").await;
    assert_eq!(created, json!({"id": id(9), "price": {"units": "12"}}));
    let change = json!({"book": {"id": id(9), "stock": 5}});
    assert_eq!(
        partly(&server, "BookService/UpdateBook", change, "stock").await,
        json!({"stock": 5})
    );
    let read = answer(&server, get, json!({"id": id(9)})).await;
    assert_eq!((&read["description"], &read["stock"]), (&json!("Sand"), &json!(5)));
    let requests = json!({"requests": [{"book": {"id": id(9), "stock": 6}}, {"book": {"id": id(1), "stock": 7}}]});
    let changed = partly(&server, "BookService/BatchUpdateBooks", requests, "books.stock").await;
    assert_eq!(changed, json!({"books": [{"stock": 6}, {"stock": 7}]}));
    // The same with a key. A retry may ask for another part of the answer.
    let change = json!({"book": {"id": id(9), "stock": 7}});
    let key = ("idempotency-key", "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e");
    let mut answers = Vec::new();
    for mask in ["stock", "stock,title", "*"] {
        let metadata = [key, ("field-mask", mask)];
        let method = "BookService/UpdateBook";
        answers.push(call_with(&server, method, change.clone(), &metadata).await.expect(mask));
    }
    let read = answer(&server, get, json!({"id": id(9)})).await;
    assert_eq!(answers, [json!({"stock": 7}), json!({"stock": 7, "title": "new"}), read]);
    let gone = json!({"id": id(9)});
    assert_eq!(partly(&server, "BookService/DeleteBook", gone, "*").await, json!({}));
    // An error is complete, whatever the mask.
    let refused = call_with(&server, get, json!({"id": "x"}), &[("field-mask", "title")]).await;
    refused.expect_err("no id").is_invalid(&["id"]);
}

/// Each reading method, with and without each field.
async fn field_mask_works_on_every_field_of_every_resource(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    for kind in KINDS {
        let many = kind.many.to_lowercase();
        let [first, second] = (kind.ids)();
        for (verb, request) in [
            ("Get", json!({"id": first})),
            ("BatchGet", json!({"ids": [second, first, second]})),
            ("List", json!({"order_by": format!("{} desc", kind.sortable)})),
        ] {
            let method = kind.method(verb);
            let whole = answer(&server, &method, request.clone()).await;
            for field in fields(kind) {
                let mask = if verb == "Get" { field.clone() } else { format!("{many}.{field}") };
                let part = partly(&server, &method, request.clone(), &mask).await;
                let kept = |row: &Value| match row.get(&field) {
                    Some(value) => json!({&field: value}),
                    None => json!({}),
                };
                let wanted = match verb {
                    "Get" => kept(&whole),
                    _ => json!({&many: list(&whole, &many).iter().map(kept).collect::<Vec<_>>()}),
                };
                assert_eq!(part, wanted, "{method} {mask}");
            }
        }
    }
}

/// The fields of a resource.
fn fields(kind: &Kind) -> Vec<String> {
    let name = format!("bookstore.v1.{}", kind.one);
    let message = DESCRIPTOR_POOL.get_message_by_name(&name).expect("the resource's message");
    message.fields().map(|field| field.name().to_owned()).collect()
}

/// A mask is checked before the request, against the method's answer.
async fn bad_field_mask_is_refused_by_every_method(engine: Engine) {
    let server = TestServer::start(engine).await;
    let services = DESCRIPTOR_POOL.services();
    for service in services.filter(|service| service.package_name() == "bookstore.v1") {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let refused = async |masks: &[&str]| {
                let masks: Vec<_> = masks.iter().map(|mask| ("field-mask", *mask)).collect();
                let answer = send(server.channel(), &path, Vec::new(), &masks).await;
                Refusal::from(&answer.err().unwrap_or_else(|| panic!("{path} takes {masks:?}")))
            };
            if method.is_client_streaming() || method.is_server_streaming() {
                refused(&["*"]).await.is(Code::Unimplemented, "METADATA_NOT_SUPPORTED", &[]);
                continue;
            }
            let first = method.output().fields().next();
            let there = first.as_ref().map_or("nothing but `*`", |field| field.name());
            let below = format!("{there}.nothing");
            let masks: [&[&str]; 7] =
                [&["nothing"], &[&below], &["*.*"], &[""], &["*,nothing"], &["*", "*"], &["ü"]];
            for masks in masks {
                let refusal = refused(masks).await;
                refusal.is(Code::InvalidArgument, "INVALID_METADATA", &[]);
                refusal.says("key", "field-mask");
            }
            let refusal = refused(&["nothing"]).await;
            for part in ["`nothing`", there, method.output().name()] {
                assert!(refusal.message.contains(part), "{path}: {}", refusal.message);
            }
            let long = "x".repeat(5_000);
            assert!(
                refused(&[&long]).await.message.contains(there),
                "the list of fields isn't cut"
            );
            // `*` is accepted, and the empty request is validated.
            let answer = send(server.channel(), &path, Vec::new(), &[("field-mask", "*")]).await;
            if let Err(status) = answer {
                assert_eq!(Refusal::from(&status).reason, "FIELD_INVALID", "{path}");
            }
        }
    }
}

/// The statements of a call with a mask; an empty mask means none.
async fn texts(server: &TestServer, method: &str, request: Value, mask: &str) -> Vec<String> {
    let call = format!("{method} {mask}").replace(['/', ' '], "-");
    let metadata = [("request-id", call.as_str()), ("field-mask", mask)];
    let metadata = if mask.is_empty() { &metadata[..1] } else { &metadata };
    let answer = call_with(server, method, request, metadata).await;
    answer.unwrap_or_else(|refusal| panic!("{method} {mask}: {refusal:?}"));
    statements(server, &call).await
}

async fn field_mask_without_large_columns_reads_none(engine: Engine) {
    let server = TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await;
    let mut books = books(&server);
    let large = json!({"description": "Sand", "category_id": FICTION, "attributes": {"a": "x"}});
    create_all(&mut books, &[with(a_book("a"), large), a_book("b")]).await;

    let (get, first) = ("BookService/GetBook", json!({"id": id(1)}));
    let of = |texts: Vec<String>| -> String {
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.into_iter().next().unwrap_or_default()
    };
    let column = |text: &str, name: &str| text.contains(&format!(r#""books"."{name}""#));
    let whole = of(texts(&server, get, first.clone(), "").await);
    assert!(column(&whole, "description") && column(&whole, "attributes"), "{whole}");
    let narrow = of(texts(&server, get, first.clone(), "title").await);
    assert!(!column(&narrow, "description") && !column(&narrow, "attributes"), "{narrow}");
    assert!(column(&narrow, "title") && column(&narrow, "stock"), "{narrow}");
    // There are only two texts of the statement, whatever the mask.
    for (mask, text) in [
        ("id,price.units,category_id", &narrow),
        ("description", &whole),
        ("attributes,title", &whole),
        ("*", &whole),
    ] {
        assert_eq!(of(texts(&server, get, first.clone(), mask).await), *text, "{mask}");
    }

    // A filter may read a column outside the mask.
    let list = "BookService/ListBooks";
    for filter in ["description = Sand", "attributes.a = x", "description:*", "attributes.a:*"] {
        let request = json!({"filter": filter, "order_by": "title"});
        let read = partly(&server, list, request, "books.title,total_size").await;
        assert_eq!(read, json!({"books": [{"title": "a"}]}), "{filter}");
    }
    let request = json!({"view": "BOOK_VIEW_WITH_CATEGORY", "order_by": "title"});
    let narrow = texts(&server, list, request.clone(), "books.category.name").await;
    let whole = texts(&server, list, request.clone(), "books.category").await;
    let large = r#""categories"."description""#;
    assert!(whole[1].contains(large) && !narrow[1].contains(large), "{whole:?} {narrow:?}");
    assert!(!column(&whole[0], "description") && !column(&narrow[0], "description"));
    assert_eq!(texts(&server, list, request, "next_page_token").await, narrow);
}

/// Books of 60 KiB each, more than a page or an answer can hold.
async fn page_limit_counts_only_fields_of_the_mask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let large = json!({"attributes": {"a": "x".repeat(60 * 1_024)}});
    let all: Vec<Value> =
        (0..80).map(|at| with(a_book(&format!("{at:02}")), large.clone())).collect();
    create_all(&mut books, &all).await;

    let list_all = json!({"page_size": 1_000, "order_by": "title"});
    let method = "BookService/ListBooks";
    for (mask, narrow) in
        [("*", false), ("books.title,books.attributes", false), ("books.title", true)]
    {
        let page = partly(&server, method, list_all.clone(), mask).await;
        let count = list(&page, "books").len();
        // 3 MiB hold 51 of them.
        assert!(if narrow { count == 80 } else { (48..52).contains(&count) }, "{mask}: {count}");
    }
    let ids: Vec<String> = (1..=80).map(id).collect();
    let method = "BookService/BatchGetBooks";
    let request = json!({"ids": ids});
    let read = partly(&server, method, request.clone(), "books.id").await;
    assert_eq!(list(&read, "books").len(), 80);
    for mask in ["*", "books.attributes"] {
        let read = call_with(&server, method, request.clone(), &[("field-mask", mask)]).await;
        let refusal = read.expect_err("too large");
        refusal.is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[]);
    }
    // The size of a write's answer counts as a whole, whatever the mask.
    let requests: Vec<Value> =
        ids.iter().map(|id| json!({"book": {"id": id, "stock": 7}})).collect();
    let method = "BookService/BatchUpdateBooks";
    let request = json!({"requests": requests});
    let written = call_with(&server, method, request, &[("field-mask", "books.id")]).await;
    written.expect_err("too large").is(Code::ResourceExhausted, "ANSWER_TOO_LARGE", &[]);
    let read = call(&server, "BookService/ListBooks", json!({"filter": "stock = 7"})).await;
    assert_eq!(read.expect("a page"), json!({}));
}
