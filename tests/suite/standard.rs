//! The behaviour that the standard methods share, on every resource: a line in the bad-input
//! table's `KINDS` is enough to be tested here.

use std::sync::atomic::{AtomicU32, Ordering};

use bookstore_tests::{Engine, TestServer, on_every_engine};
use prost_reflect::{DynamicMessage, SerializeOptions, prost::Message};
use serde_json::{Value, json};

use crate::{
    bad_input::{KINDS, descriptor, populate, send, standard::Kind},
    client::{Refusal, dynamic, id, with},
    list,
};

on_every_engine!(
    standard_methods_create_update_and_delete_each_resource,
    standard_batch_methods_apply_all_or_nothing,
    lists_sorted_by_each_field_return_every_row_once
);

/// Calls a method, such as `BookService/GetBook`, with a request in JSON. The answer has the
/// contract's field names and omits fields without a value.
pub(crate) async fn call(
    server: &TestServer,
    method: &str,
    request: Value,
) -> Result<Value, Refusal> {
    call_with(server, method, request, &[]).await
}

/// The same, with metadata.
pub(crate) async fn call_with(
    server: &TestServer,
    method: &str,
    request: Value,
    metadata: &[(&'static str, &str)],
) -> Result<Value, Refusal> {
    let contract = descriptor(method);
    let body = dynamic(contract.input(), request).encode_to_vec();
    let path = format!("/bookstore.v1.{method}");
    let answer = send(server.channel(), &path, body, metadata).await;
    let answer = answer.map_err(|status| Refusal::from(&status))?.into_inner();
    let answer = DynamicMessage::decode(contract.output(), &*answer).expect("the method's answer");
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = answer.serialize_with_options(serde_json::value::Serializer, &options);
    Ok(json.expect("an answer as JSON"))
}

/// The same for a call that must succeed.
pub(crate) async fn answer(server: &TestServer, method: &str, request: Value) -> Value {
    let shown = request.to_string();
    match call(server, method, request).await {
        Ok(answer) => answer,
        Err(refusal) => panic!("{method} {shown}: {refusal:?}"),
    }
}

/// The same for a call that must fail.
pub(crate) async fn refusal(server: &TestServer, method: &str, request: Value) -> Refusal {
    match call(server, method, request.clone()).await {
        Ok(answer) => panic!("{method} {request} succeeded: {answer}"),
        Err(refusal) => refusal,
    }
}

/// The statements of a call, by their texts. The server must echo them.
pub(crate) async fn statements(server: &TestServer, method: &str, request: Value) -> Vec<String> {
    statements_with(server, method, request, &[]).await
}

/// The same for a call with metadata.
pub(crate) async fn statements_with(
    server: &TestServer,
    method: &str,
    request: Value,
    metadata: &[(&'static str, &str)],
) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let call = format!("counted-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let body = dynamic(descriptor(method).input(), request).encode_to_vec();
    let path = format!("/bookstore.v1.{method}");
    let metadata = [&[("request-id", call.as_str())], metadata].concat();
    let answer = send(server.channel(), &path, body, &metadata).await;
    answer.expect("a call that is done");
    list::statements(server, &call).await
}

async fn standard_methods_create_update_and_delete_each_resource(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    for kind in KINDS.iter().filter(|kind| kind.has("Create")) {
        updates(&server, kind).await;
        create_get_and_delete(&server, kind).await;
    }
}

async fn updates(server: &TestServer, kind: &Kind) {
    let (get, update) = (kind.method("Get"), kind.method("Update"));
    let (text, other) = (kind.text.0, kind.other().0);
    let [first, _] = (kind.ids)();
    let before = answer(server, &get, json!({"id": first})).await;
    assert_eq!(before["id"], first);

    // Only fields of the mask, whatever else is sent.
    let ignored = kind.other.map_or(json!({}), |(other, _)| json!({other: "not named"}));
    let request = kind.update(ignored);
    let changed = answer(server, &update, with(request, json!({"update_mask": text}))).await;
    let wanted = with(
        before.clone(),
        json!({text: "changed", "etag": changed["etag"], "update_time": changed["update_time"]}),
    );
    assert_eq!(changed, wanted);
    assert_ne!(changed["etag"], before["etag"]);
    assert_ne!(changed["update_time"], before["update_time"]);
    assert_eq!(answer(server, &get, json!({"id": first})).await, changed);

    // Without a mask, populated fields.
    let request = json!({kind.field: {"id": first, other: "populated", "etag": changed["etag"]}});
    let again = answer(server, &update, request.clone()).await;
    assert_eq!(again[other], "populated");
    assert!(kind.other.is_none() || again[text] == "changed", "{again}");
    let stale = refusal(server, &update, request).await;
    stale.is_stale(&format!("{}.etag", kind.field));
    assert_eq!(answer(server, &get, json!({"id": first})).await, again);
}

async fn create_get_and_delete(server: &TestServer, kind: &Kind) {
    let (create, get) = (kind.method("Create"), kind.method("Get"));
    let (update, delete) = (kind.method("Update"), kind.method("Delete"));
    let ignored = json!({"id": "no id", "etag": "x", "create_time": "2001-02-03T04:05:06Z"});
    let new = json!({"id": id(30), kind.field: with((kind.valid)(), ignored)});
    let created = answer(server, &create, new.clone()).await;
    assert_eq!(
        (&created["id"], &created[kind.text.0]),
        (&json!(id(30)), &(kind.valid)()[kind.text.0])
    );
    assert_eq!(created["create_time"], created["update_time"]);
    assert_eq!(answer(server, &get, json!({"id": id(30)})).await, created);
    // Where other values are unique too, the engines may report any of the violations.
    assert_eq!(refusal(server, &create, new).await.reason, "RESOURCE_ALREADY_EXISTS");

    let gone = json!({"id": id(30), "etag": created["etag"]});
    answer(server, &delete, gone.clone()).await;
    refusal(server, &get, json!({"id": id(30)}))
        .await
        .is_missing(&["id"])
        .says("resource", kind.field);
    refusal(server, &delete, gone.clone()).await.is_missing(&["id"]);
    answer(server, &delete, with(gone, json!({"allow_missing": true}))).await;

    // An upsert creates the whole resource whatever the mask, and updates an existing one by it.
    let whole = with((kind.valid)(), json!({"id": id(30)}));
    let upsert = json!({kind.field: whole, "update_mask": kind.other().0, "allow_missing": true});
    let created = answer(server, &update, upsert).await;
    assert_eq!(created[kind.text.0], (kind.valid)()[kind.text.0]);
    let some = json!({"id": id(30), kind.other().0: "upserted"});
    let upsert = json!({kind.field: some, "update_mask": kind.other().0, "allow_missing": true});
    let changed = answer(server, &update, upsert).await;
    assert_eq!(changed[kind.other().0], "upserted");
    let kept = changed[kind.text.0] == created[kind.text.0];
    assert!(kept || kind.other.is_none(), "{changed}");
    answer(server, &delete, json!({"id": id(30)})).await;
}

async fn standard_batch_methods_apply_all_or_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    for kind in KINDS {
        let [first, second] = (kind.ids)();
        let many = kind.many.to_lowercase();
        let ids = json!({"ids": [second, first, second]});
        let read = answer(&server, &kind.method("BatchGet"), ids).await;
        let ids: Vec<&Value> =
            read[&many].as_array().expect("a list").iter().map(|row| &row["id"]).collect();
        assert_eq!(ids, [&json!(second), &json!(first), &json!(second)]);

        if !kind.has("BatchCreate") {
            continue;
        }
        let entry = |id: &str, text: &str| json!({kind.field: {"id": id, kind.other().0: text}});
        let requests = json!({"requests": [entry(&second, "two"), entry(&first, "one")]});
        let changed = answer(&server, &kind.method("BatchUpdate"), requests).await;
        let value = |at: usize| &changed[&many][at][kind.other().0];
        assert_eq!((value(0), value(1)), (&json!("two"), &json!("one")));
        // All or nothing.
        let requests = json!({"requests": [entry(&second, "no"), entry(&id(404), "no")]});
        let path = format!("requests[1].{}.id", kind.field);
        refusal(&server, &kind.method("BatchUpdate"), requests).await.is_missing(&[&path]);
        let now = answer(&server, &kind.method("Get"), json!({"id": second})).await;
        assert_eq!(now, changed[&many][0]);

        let new = json!({"id": id(31), kind.field: (kind.valid)()});
        let created =
            answer(&server, &kind.method("BatchCreate"), json!({"requests": [new]})).await;
        assert_eq!(created[&many][0]["id"], id(31));
        let gone = |id: &str| json!({"id": id});
        let requests = json!({"requests": [gone(&id(31)), gone(&id(404))]});
        refusal(&server, &kind.method("BatchDelete"), requests)
            .await
            .is_missing(&["requests[1].id"]);
        answer(&server, &kind.method("BatchDelete"), json!({"requests": [gone(&id(31))]})).await;
        refusal(&server, &kind.method("Get"), gone(&id(31))).await.is_missing(&["id"]);
    }
}

/// Pages of one row, in both directions, by each field: every row is on one page, and the tokens
/// carry values of every kind.
async fn lists_sorted_by_each_field_return_every_row_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    for (kind, fields) in KINDS.iter().map(|kind| (kind, fields(kind))) {
        for order in fields {
            let mut walked = Vec::new();
            let mut request = json!({"page_size": 1, "order_by": order});
            loop {
                let page = answer(&server, &kind.method("List"), request.clone()).await;
                let rows = page[kind.many.to_lowercase()].as_array().cloned();
                walked
                    .extend(rows.unwrap_or_default().into_iter().map(|row| row["id"].to_string()));
                match page.get("next_page_token") {
                    Some(token) => request["page_token"] = token.clone(),
                    None => break,
                }
            }
            let sql = format!("SELECT count(*) FROM {}", kind.many.to_lowercase());
            assert_eq!(walked.len().to_string(), server.database().value(&sql).await, "{order}");
            walked.sort();
            walked.dedup();
            assert_eq!(walked.len().to_string(), server.database().value(&sql).await, "{order}");
        }
    }
}

/// The sortable fields, each in both directions.
fn fields(kind: &Kind) -> Vec<String> {
    let service = format!("bookstore.v1.{}", kind.service);
    let mut resources = bookstore_server::resource::RESOURCES.iter();
    let resource = resources.find(|resource| resource.name == service).expect("a resource");
    let names = resource.list.as_ref().expect("a list").fields.sortable();
    names.split(", ").flat_map(|name| [name.to_owned(), format!("{name} desc")]).collect()
}
