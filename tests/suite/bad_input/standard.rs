//! Refusals that the standard methods of every resource share.

use bookstore_proto::DESCRIPTOR_POOL;
use serde_json::{Value, json};

use super::{Case, bad, categories_and_books};
use crate::client::{FICTION, SCIENCE, a_book, id, with};

/// A resource's names, and its rows.
pub(crate) struct Kind {
    /// `BookService`.
    pub(crate) service: &'static str,
    /// `Book`, as in the names of methods.
    pub(crate) one: &'static str,
    /// `Books`, as in the names of methods.
    pub(crate) many: &'static str,
    /// `book`, as in the names of fields.
    pub(crate) field: &'static str,
    /// Rows that exist.
    pub(crate) ids: fn() -> [String; 2],
    /// A resource that can be created.
    pub(crate) valid: fn() -> Value,
    /// The required fields of a new one.
    pub(crate) required: &'static [&'static str],
    /// Those among them that are input only, and that an update by `*` may leave out.
    pub(crate) input_only: &'static [&'static str],
    /// A text field that an update may change, and its longest length.
    pub(crate) text: (&'static str, usize),
    /// Another such field, if there is one.
    pub(crate) other: Option<(&'static str, usize)>,
    /// Another sortable field than `create_time`.
    pub(crate) sortable: &'static str,
    /// Requests that create the rows of the test, those of `ids` included unless migrations create
    /// them.
    pub(crate) rows: fn() -> Vec<Value>,
    /// Refusals by the resource's own rules.
    pub(crate) own: fn() -> Vec<Case>,
}

pub(super) const BOOK: Kind = Kind {
    service: "BookService",
    one: "Book",
    many: "Books",
    field: "book",
    ids: || [id(1), id(2)],
    valid: || a_book("new"),
    required: &["title", "author", "price"],
    input_only: &[],
    text: ("title", 255),
    other: Some(("description", 10_000)),
    sortable: "title",
    rows: || {
        let first = json!({"category_id": FICTION, "description": "x", "attributes": {"a": 1}});
        vec![
            json!({"id": id(1), "book": with(a_book("first"), first)}),
            json!({"id": id(2), "book": a_book("second")}),
        ]
    },
    own: categories_and_books::of_books,
};

pub(super) const CATEGORY: Kind = Kind {
    service: "CategoryService",
    one: "Category",
    many: "Categories",
    field: "category",
    ids: || [FICTION.to_owned(), SCIENCE.to_owned()],
    valid: || json!({"name": "new"}),
    required: &["name"],
    input_only: &[],
    text: ("name", 255),
    other: Some(("description", 10_000)),
    sortable: "name",
    rows: Vec::new,
    own: categories_and_books::of_categories,
};

impl Kind {
    /// The other text field, or the same one if there is no other.
    pub(crate) fn other(&self) -> (&'static str, usize) {
        self.other.unwrap_or(self.text)
    }

    /// The resource's table.
    pub(super) fn table(&self) -> String {
        self.many.to_lowercase()
    }

    /// `BookService/BatchGetBooks` for `BatchGet` and many.
    pub(crate) fn method(&self, verb: &str) -> String {
        let many = verb == "List" || verb.starts_with("Batch");
        format!("{}/{verb}{}", self.service, if many { self.many } else { self.one })
    }

    /// Whether the contract has the method. A resource may lack some of the standard ones.
    pub(crate) fn has(&self, verb: &str) -> bool {
        let method = self.method(verb);
        let (service, name) = method.split_once('/').expect("Service/Method");
        let service = DESCRIPTOR_POOL.get_service_by_name(&format!("bookstore.v1.{service}"));
        service.expect("a service").methods().any(|method| method.name() == name)
    }

    /// An update of an existing row.
    pub(crate) fn update(&self, members: Value) -> Value {
        let [first, _] = (self.ids)();
        let resource = with(json!({"id": first, self.text.0: "changed"}), members);
        json!({self.field: resource})
    }
}

/// Texts that are no id.
pub(crate) fn bad_ids() -> Vec<String> {
    let id = id(10);
    vec![
        "x".to_owned(),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        format!("{id}\n"),
        format!(" {id}"),
        format!("{id}0"),
        id[1..].to_owned(),
        format!("{}\0", &id[1..]),
        "00000000-0000-0000-0000-00000000000g".to_owned(),
        "٠٠٠٠٠٠٠٠-0000-0000-0000-000000000000".to_owned(),
        "x".repeat(100_000),
    ]
}

pub(super) fn cases(kind: &Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    one_by_id(kind, &mut cases);
    cases.extend(lists(kind, &kind.method("List")));
    batch_gets(kind, &mut cases);
    if kind.has("Create") {
        deletes(kind, &mut cases);
        writes(kind, &mut cases);
        batches(kind, &mut cases);
    }
    cases
}

fn one_by_id(kind: &Kind, cases: &mut Vec<Case>) {
    for verb in ["Get", "Delete"].into_iter().filter(|verb| kind.has(verb)) {
        let method = kind.method(verb);
        cases.push(bad(&method, json!({}), &["id"]));
        cases.push(bad(&method, json!({"id": id(404)}), &["id"]).missing());
        for id in bad_ids() {
            cases.push(bad(&method, json!({"id": id}), &["id"]));
        }
    }
}

fn deletes(kind: &Kind, cases: &mut Vec<Case>) {
    let [first, _] = (kind.ids)();
    let delete = kind.method("Delete");
    for etag in ["garbage", "\"", "🦀", &"x".repeat(100_000)] {
        let request = json!({"id": first, "etag": etag, "allow_missing": true});
        cases.push(bad(&delete, request, &["etag"]).stale());
    }
    cases.push(bad(&delete, json!({"id": first, "etag": "\0"}), &["etag"]));
    cases.push(bad(&delete, json!({"etag": "\0", "allow_missing": true}), &["etag", "id"]));
}

/// Refusals of a list of the kind, by this method.
pub(crate) fn lists(kind: &Kind, method: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let (text, sortable) = (kind.text.0, kind.sortable);
    for size in [-1, i32::MIN] {
        cases.push(bad(method, json!({"page_size": size}), &["page_size"]));
        cases.push(bad(method, json!({"skip": size}), &["skip"]));
    }
    for skip in [10_001, i32::MAX] {
        cases.push(bad(method, json!({"skip": skip}), &["skip"]));
    }
    for mode in [4, 77, -1] {
        cases.push(bad(method, json!({"total_size_mode": mode}), &["total_size_mode"]));
    }
    for filter in [
        "isbn = 5",
        "= 5",
        text,
        &format!("{text} ="),
        &format!("{text} = \"x"),
        &format!("({text} = x"),
        &format!("{text} = x)"),
        &format!("{text} = x AND"),
        &format!("{text} = \"a\0b\""),
        &format!("{}{text} = x{}", "(".repeat(17), ")".repeat(17)),
        &format!("{}{text} = x{}", "(".repeat(2_000), ")".repeat(2_000)),
        &format!("{}{text} = x", "NOT ".repeat(1_000)),
        &format!("{text} = \"{}\"", "𝔘".repeat(4_096)),
        "id = x",
        "id > 01930000-0000-7000-8000-000000000001",
        "create_time > yesterday",
        "create_time > 2001",
        "version = 1",
        "created_at > \"2001-02-03T04:05:06Z\"",
        "'; DROP TABLE books; --",
        "1 = 1",
    ] {
        cases.push(bad(method, json!({"filter": filter}), &["filter"]));
    }
    for order in [
        "isbn",
        "id",
        "created_at",
        &format!("{sortable} up"),
        &format!("{sortable}, {sortable} desc"),
        &format!("{sortable},,create_time"),
        &format!("{sortable} desc desc"),
        &format!("{sortable}; DROP TABLE books"),
        &format!("{sortable}\0"),
        &format!("{sortable}{}", " ".repeat(1_025)),
        "a, b, c, d, e",
        ",",
    ] {
        cases.push(bad(method, json!({"order_by": order}), &["order_by"]));
    }
    for token in ["x", "AAAA", "\0", "🦀", &"A".repeat(16_385), &"é".repeat(2_000)] {
        cases.push(bad(method, json!({"page_token": token}), &["page_token"]));
    }
    let all = json!({"page_size": -1, "skip": -1, "filter": "x", "order_by": "x",
        "page_token": "\0", "total_size_mode": 9});
    let fields = ["page_size", "skip", "filter", "order_by", "page_token", "total_size_mode"];
    cases.push(bad(method, all, &fields));
    cases
}

fn writes(kind: &Kind, cases: &mut Vec<Case>) {
    let Kind { field, text: (text, longest), .. } = kind;
    let (other, longest_other) = &kind.other();
    let [first, _] = (kind.ids)();
    let path = |name: &str| format!("{field}.{name}");
    let required: Vec<String> = kind.required.iter().map(|name| path(name)).collect();
    let required: Vec<&str> = required.iter().map(String::as_str).collect();

    let create = kind.method("Create");
    cases.push(bad(&create, json!({}), &[field]));
    cases.push(bad(&create, json!({*field: {}}), &required));
    cases.push(bad(&create, json!({"id": "x", *field: {}}), &[&required[..], &["id"]].concat()));
    cases.push(bad(&create, json!({"id": first, *field: (kind.valid)()}), &["id"]).taken());
    for id in bad_ids() {
        cases.push(bad(&create, json!({"id": id, *field: (kind.valid)()}), &["id"]));
    }
    for name in [text, other] {
        let request = json!({*field: with((kind.valid)(), json!({*name: "a\0b"}))});
        cases.push(bad(&create, request, &[&path(name)]));
    }
    for (name, length) in [(text, longest + 1), (text, 300_000), (other, longest_other + 1)] {
        for character in ["x", "𝔘"] {
            let long = json!({*name: character.repeat(length)});
            let request = json!({*field: with((kind.valid)(), long)});
            cases.push(bad(&create, request, &[&path(name)]));
        }
    }

    let update = kind.method("Update");
    cases.push(bad(&update, json!({}), &[field]));
    cases.push(bad(&update, json!({*field: {}}), &[&path("id")]));
    cases.push(bad(
        &update,
        json!({*field: (kind.valid)(), "allow_missing": true}),
        &[&path("id")],
    ));
    for id in bad_ids() {
        let request = json!({*field: {"id": id, *text: "x"}});
        cases.push(bad(&update, request, &[&path("id")]));
    }
    cases
        .push(bad(&update, json!({*field: {"id": id(404), *text: "x"}}), &[&path("id")]).missing());
    for etag in ["garbage", &"x".repeat(100_000)] {
        let request = kind.update(json!({"etag": etag}));
        cases.push(bad(&update, request, &[&path("etag")]).stale());
    }
    cases.push(bad(&update, kind.update(json!({*text: "\0"})), &[&path(text)]));
    cases.push(bad(&update, kind.update(json!({*text: "x".repeat(longest + 1)})), &[&path(text)]));
    let upsert = json!({*field: {"id": id(404), *other: "x"}, "allow_missing": true});
    let unset: Vec<&str> = required.iter().copied().filter(|name| *name != path(other)).collect();
    cases.push(bad(&update, upsert, &unset));
    let upsert = with((kind.valid)(), json!({"id": id(404), "etag": "garbage"}));
    let upsert = json!({*field: upsert, "allow_missing": true});
    cases.push(bad(&update, upsert, &[&path("etag")]).stale());
}

fn batch_gets(kind: &Kind, cases: &mut Vec<Case>) {
    let [first, second] = (kind.ids)();
    let get = kind.method("BatchGet");
    cases.push(bad(&get, json!({}), &["ids"]));
    cases.push(bad(&get, json!({"ids": vec![&first; 1_001]}), &["ids"]));
    cases.push(bad(&get, json!({"ids": ["", first, "X", "\0"]}), &["ids[0]", "ids[2]", "ids[3]"]));
    cases.push(bad(&get, json!({"ids": [first, second, id(404), id(405)]}), &["ids[2]"]).missing());
}

fn batches(kind: &Kind, cases: &mut Vec<Case>) {
    let Kind { field, text: (text, _), .. } = kind;
    let note = &kind.other().0;
    let [first, second] = (kind.ids)();
    let new = |id: &str| json!({"id": id, *field: (kind.valid)()});
    let change = |id: &str, etag: &str| json!({*field: {"id": id, "etag": etag, *note: "x"}});
    let gone = |id: &str, etag: &str| json!({"id": id, "etag": etag});
    for (verb, entry) in [
        ("BatchCreate", new("")),
        ("BatchUpdate", change(&first, "")),
        ("BatchDelete", gone(&first, "")),
    ] {
        let method = kind.method(verb);
        cases.push(bad(&method, json!({}), &["requests"]));
        cases.push(bad(&method, json!({"requests": []}), &["requests"]));
        // Too many, and a duplicate besides: the first reported violation is the number.
        if verb == "BatchCreate" {
            cases.push(bad(&method, json!({"requests": vec![entry; 1_001]}), &["requests"]));
        }
    }
    let create = kind.method("BatchCreate");
    let requests = json!([new(&id(20)), new("X"), {}, new(&id(20))]);
    let at = |index: usize, name: &str| format!("requests[{index}].{name}");
    let fields = [at(1, "id"), at(2, field), at(3, "id")];
    cases.push(bad(&create, json!({"requests": requests}), &fields.each_ref().map(String::as_str)));
    let taken = json!([new(&id(20)), {"id": second, *field: other(kind)}]);
    cases.push(bad(&create, json!({"requests": taken}), &["requests[1].id"]).taken());

    let update = kind.method("BatchUpdate");
    let key = |index: usize| at(index, &format!("{field}.id"));
    let requests = json!([change(&first, ""), change("", ""), {}, change(&first, "")]);
    let fields = [key(1), at(2, field), key(3)];
    cases.push(bad(&update, json!({"requests": requests}), &fields.each_ref().map(String::as_str)));
    let requests = json!([change(&first, ""), change(&id(404), ""), change(&second, "")]);
    cases.push(bad(&update, json!({"requests": requests}), &[&key(1)]).missing());
    let requests = json!([change(&first, ""), change(&second, "garbage")]);
    let etag = at(1, &format!("{field}.etag"));
    cases.push(bad(&update, json!({"requests": requests}), &[&etag]).stale());
    if kind.required.contains(text) {
        let nothing = with(change(&second, ""), json!({"update_mask": text}));
        let requests = json!([change(&first, ""), nothing]);
        let text = at(1, &format!("{field}.{text}"));
        cases.push(bad(&update, json!({"requests": requests}), &[&text]));
    }

    let delete = kind.method("BatchDelete");
    let requests = json!([gone(&first, ""), gone("X", ""), {}, gone(&first, "")]);
    let fields = [at(1, "id"), at(2, "id"), at(3, "id")];
    cases.push(bad(&delete, json!({"requests": requests}), &fields.each_ref().map(String::as_str)));
    let requests = json!([gone(&first, ""), gone(&id(404), ""), gone(&second, "")]);
    cases.push(bad(&delete, json!({"requests": requests}), &["requests[1].id"]).missing());
    let requests = json!([gone(&first, ""), gone(&second, "garbage")]);
    cases.push(bad(&delete, json!({"requests": requests}), &["requests[1].etag"]).stale());
}

/// A second resource that can be created beside the first.
pub(crate) fn other(kind: &Kind) -> Value {
    with((kind.valid)(), json!({kind.text.0: "another"}))
}
