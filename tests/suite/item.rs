//! What is special to `ItemService`. `standard.rs` tests the standard methods.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use crate::{
    bad_input::{Case, bad, standard::Kind},
    client::{id, mask, with},
    standard::answer,
};

on_every_engine!(payload_round_trips_unchanged, filter_by_payload_path_finds_its_items);

/// The bad-input table's case of items.
pub(crate) const KIND: Kind = Kind {
    service: "ItemService",
    one: "Item",
    many: "Items",
    field: "item",
    ids: || [id(1), id(2)],
    valid: || an_item("new"),
    required: &["name", "status"],
    input_only: &[],
    text: ("name", 200),
    other: Some(("status", 50)),
    sortable: "name",
    rows: || {
        let payload = json!({"payload": {"colour": "red"}});
        vec![
            json!({"id": id(1), "item": with(an_item("first"), payload)}),
            json!({"id": id(2), "item": an_item("second")}),
        ]
    },
    own: cases,
};

fn an_item(name: &str) -> Value {
    json!({"name": name, "status": "on sale"})
}

fn cases() -> Vec<Case> {
    let create = "ItemService/CreateItem";
    let mut cases = Vec::new();
    for payload in [json!({"a": "x".repeat(65_529)}), json!({"\0": 1}), json!({"a": [{"b": "\0"}]})]
    {
        let item = with(an_item("new"), json!({"payload": payload}));
        cases.push(bad(create, json!({"item": item}), &["item.payload"]));
        let update = json!({"item": {"id": id(1), "payload": payload}, "update_mask": "payload"});
        cases.push(bad("ItemService/UpdateItem", update, &["item.payload"]));
    }
    let all = json!({"name": "x".repeat(201), "status": "", "payload": {"\0": 1}});
    let fields = ["item.name", "item.status", "item.payload"];
    cases.push(bad(create, json!({"item": all}), &fields));
    for filter in ["payload = 5", "payload.colour:red", "status > 5.x", "version = 1"] {
        cases.push(bad("ItemService/ListItems", json!({"filter": filter}), &["filter"]));
    }
    for order in ["payload", "payload.colour", "update_time"] {
        cases.push(bad("ItemService/ListItems", json!({"order_by": order}), &["order_by"]));
    }
    cases
}

async fn payload_round_trips_unchanged(engine: Engine) {
    let server = TestServer::start(engine).await;
    let payload = json!({
        "colour": "blå \"quoted\"\n🦀",
        "sizes": [1.0, 2.5, -3.0e300],
        "nested": {"deep": {"null": null, "true": true}},
        "": {},
    });
    let item = with(an_item("cup"), json!({"payload": payload}));
    let created =
        answer(&server, "ItemService/CreateItem", json!({"id": id(1), "item": item})).await;
    assert_eq!(created["payload"], payload);
    let read = answer(&server, "ItemService/GetItem", json!({"id": id(1)})).await;
    assert_eq!(read, created);

    // Replaced as a whole, cleared by a mask that names it, kept by one that doesn't.
    let update = |payload: Value, paths: &[&str]| {
        let item = with(json!({"id": id(1), "name": "cup"}), json!({"payload": payload}));
        json!({"item": item, "update_mask": mask(paths)})
    };
    let change = update(json!({"a": 1.0}), &["payload"]);
    let changed = answer(&server, "ItemService/UpdateItem", change).await;
    assert_eq!(changed["payload"], json!({"a": 1.0}));
    let kept = answer(&server, "ItemService/UpdateItem", update(Value::Null, &["name"])).await;
    assert_eq!(kept["payload"], json!({"a": 1.0}));
    let gone = answer(&server, "ItemService/UpdateItem", update(Value::Null, &["payload"])).await;
    assert_eq!(gone.get("payload"), None);
    assert_eq!(server.database().value("SELECT payload FROM items").await, "{}");
}

async fn filter_by_payload_path_finds_its_items(engine: Engine) {
    let server = TestServer::start(engine).await;
    let new = |name: &str, status: &str, payload: Value| json!({"item": {"name": name, "status": status, "payload": payload}});
    let requests = json!({"requests": [
        new("a", "draft", json!({"colour": "red", "size": 10, "maker": {"city": "Oslo"}})),
        new("b", "on sale", json!({"colour": "blue", "size": 2.5, "maker": {"city": null}})),
        new("c", "on sale", json!({"colour": 7, "tags": ["red"]})),
        new("d", "gone", json!({})),
    ]});
    answer(&server, "ItemService/BatchCreateItems", requests).await;
    for (filter, wanted) in [
        ("payload.colour = red", "a"),
        ("payload.colour = 7", "c"),
        ("payload.colour = \"7\"", ""),
        ("payload.colour != red", "bc"),
        ("payload.size > 2.5", "a"),
        ("payload.size >= 2.5", "ab"),
        ("payload.maker.city:*", "ab"),
        ("NOT payload.maker.city:*", "cd"),
        ("payload.tags = red", ""),
        ("status = \"on sale\" payload.size:*", "b"),
        ("status = o*", "bc"),
    ] {
        let request = json!({"filter": filter, "order_by": "name"});
        let page = answer(&server, "ItemService/ListItems", request).await;
        let rows = page["items"].as_array().cloned().unwrap_or_default();
        let names: String = rows.iter().filter_map(|row| row["name"].as_str()).collect();
        assert_eq!(names, wanted, "{filter}");
    }
    if engine == Engine::Postgres {
        let index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'items_payload_idx'";
        assert!(
            server.database().value(index).await.contains("USING gin (payload jsonb_path_ops)")
        );
    }
}
