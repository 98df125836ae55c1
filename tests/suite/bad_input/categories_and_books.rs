//! Refusals by the rules of books and of categories.

use bookstore_proto::v1::CreateBookRequest;
use prost_reflect::{
    prost::Message,
    prost_types::{self, ListValue, Struct, value::Kind},
};
use serde_json::{Value, json};

use super::{Case, bad, raw, standard};
use crate::client::{FICTION, SCIENCE, a_book, create, id, mask, with};

pub(super) fn of_books() -> Vec<Case> {
    let mut cases = Vec::new();
    values_of_books(&mut cases);
    prices(&mut cases);
    attributes(&mut cases);
    references(&mut cases);
    filters_of_books(&mut cases);
    views_of_books(&mut cases);
    cases.extend(crate::book::search::cases());
    cases
}

pub(super) fn of_categories() -> Vec<Case> {
    let mut cases = Vec::new();
    names_of_categories(&mut cases);
    cases.extend(standard::lists(&standard::CATEGORY, "CategoryService/GetCategoryStats"));
    cases
}

const CREATE: &str = "BookService/CreateBook";
const UPDATE: &str = "BookService/UpdateBook";

/// A new book with these members.
fn new(members: Value) -> Value {
    json!({"book": with(a_book("new"), members)})
}

fn values_of_books(cases: &mut Vec<Case>) {
    for (members, field) in [
        (json!({"author": "x".repeat(256)}), "book.author"),
        (json!({"author": "𝔘".repeat(256)}), "book.author"),
        (json!({"author": "\0"}), "book.author"),
        (json!({"author": ""}), "book.author"),
        (json!({"title": ""}), "book.title"),
        (json!({"stock": -1}), "book.stock"),
        (json!({"stock": i32::MIN}), "book.stock"),
        (json!({"cover_image": "x".repeat(501)}), "book.cover_image"),
        (json!({"cover_image": "𝔘".repeat(501)}), "book.cover_image"),
        (json!({"cover_image": "\0"}), "book.cover_image"),
        (json!({"category_id": ""}), "book.category_id"),
        (json!({"category_id": "Fiction"}), "book.category_id"),
        (json!({"category_id": FICTION.to_uppercase().replace('0', "A")}), "book.category_id"),
        (json!({"category_id": "\0"}), "book.category_id"),
    ] {
        cases.push(bad(CREATE, new(members.clone()), &[field]));
        // An update that names the field, among valid ones.
        let name = field.trim_start_matches("book.");
        let book = with(json!({"id": id(1), "description": "fine"}), members);
        let paths = mask(&["description", name]);
        cases.push(bad(UPDATE, json!({"book": book, "update_mask": paths}), &[field]));
    }
    let all = json!({
        "title": "x".repeat(256),
        "author": "\0",
        "description": "x".repeat(10_001),
        "price": {"currency_code": "$", "units": -1, "nanos": -1},
        "stock": -1,
        "category_id": "x",
        "cover_image": "x".repeat(501),
        "attributes": {"\0": 1},
    });
    let fields = [
        "book.title",
        "book.author",
        "book.description",
        "book.price",
        "book.price.currency_code",
        "book.price.units",
        "book.price.nanos",
        "book.stock",
        "book.category_id",
        "book.cover_image",
        "book.attributes",
    ];
    cases.push(bad(CREATE, json!({"book": all}), &fields));
    let everything = json!({"book": with(all, json!({"id": id(1)})), "update_mask": "*"});
    cases.push(bad(UPDATE, everything, &fields));
}

fn prices(cases: &mut Vec<Case>) {
    let price = |currency_code: &str, units: i64, nanos: i32| {
        new(json!({"price": {"currency_code": currency_code, "units": units, "nanos": nanos}}))
    };
    for (request, fields) in [
        (new(json!({"price": {}})), &["book.price.currency_code"][..]),
        (price("", 1, 0), &["book.price.currency_code"]),
        (price("usd", 1, 0), &["book.price.currency_code"]),
        (price("USDX", 1, 0), &["book.price.currency_code"]),
        (price("US", 1, 0), &["book.price.currency_code"]),
        (price("USÐ", 1, 0), &["book.price.currency_code"]),
        (price("USD\n", 1, 0), &["book.price.currency_code"]),
        (price("US\0", 1, 0), &["book.price.currency_code"]),
        (price("USD", -1, 0), &["book.price.units"]),
        (price("USD", i64::MIN, 0), &["book.price.units"]),
        (price("USD", 10_000_001, 0), &["book.price"]),
        (price("USD", i64::MAX, 0), &["book.price"]),
        (price("USD", 10_000_000, 1_000), &["book.price"]),
        (price("USD", 1, 1), &["book.price"]),
        (price("USD", 1, 999_999_999), &["book.price"]),
        (price("USD", 1, 1_000_000_000), &["book.price.nanos"]),
        (price("USD", 1, -1_000), &["book.price.nanos"]),
        (price("USD", 1, i32::MIN), &["book.price", "book.price.nanos"]),
        (price("usd", -1, 1), &["book.price", "book.price.currency_code", "book.price.units"]),
    ] {
        cases.push(bad(CREATE, request, fields));
    }
}

fn attributes(cases: &mut Vec<Case>) {
    for value in [
        json!({"a": "x".repeat(65_529)}),
        json!({"x".repeat(70_000): 1}),
        json!({"a": "𝔘".repeat(16_383)}),
        json!({"a": vec![1; 40_000]}),
        json!({"\0": 1}),
        json!({"a": "\0"}),
        json!({"a": [{"b": ["x", "\0"]}]}),
        json!({"a": {"b": {"c\0": null}}}),
    ] {
        cases.push(bad(CREATE, new(json!({"attributes": value})), &["book.attributes"]));
        let book = json!({"id": id(1), "attributes": value});
        let request = json!({"book": book, "update_mask": "attributes"});
        cases.push(bad(UPDATE, request, &["book.attributes"]));
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for nested in [false, true] {
            let mut value = prost_types::Value { kind: Some(Kind::NumberValue(number)) };
            if nested {
                value.kind = Some(Kind::ListValue(ListValue { values: vec![value.clone()] }));
            }
            let mut request: CreateBookRequest = create("", a_book("new"));
            let book = request.book.as_mut().expect("a book");
            book.attributes = Some(Struct { fields: [("a".to_owned(), value)].into() });
            let shown = format!("attributes with {number}");
            cases.push(raw(CREATE, request.encode_to_vec(), shown, &["book.attributes"]));
        }
    }
}

fn references(cases: &mut Vec<Case>) {
    let lost = json!({"category_id": id(404)});
    cases.push(bad(CREATE, new(lost.clone()), &["book.category_id"]).no_reference());
    let book = json!({"id": id(1), "category_id": id(404)});
    let update = json!({"book": book, "update_mask": mask(&["category_id"])});
    cases.push(bad(UPDATE, update.clone(), &["book.category_id"]).no_reference());
    let upsert = with(a_book("new"), json!({"id": id(405), "category_id": id(404)}));
    let upsert = json!({"book": upsert, "allow_missing": true});
    cases.push(bad(UPDATE, upsert, &["book.category_id"]).no_reference());
    let entries = json!({"requests": [new(json!({})), new(lost.clone()), new(json!({"category_id": SCIENCE})), new(lost)]});
    let fields = ["requests[1].book.category_id", "requests[3].book.category_id"];
    cases.push(bad("BookService/BatchCreateBooks", entries, &fields).no_reference());
    let other = json!({"book": {"id": id(2), "stock": 3}});
    let entries = json!({"requests": [other, update]});
    let fields = ["requests[1].book.category_id"];
    cases.push(bad("BookService/BatchUpdateBooks", entries, &fields).no_reference());
}

fn filters_of_books(cases: &mut Vec<Case>) {
    for filter in [
        "stock = many",
        "stock = 2.5",
        "price = 0.1234567",
        "price = USD",
        "price.units = 1",
        "price_micros = 1",
        "category_id = Fiction",
        "category_id > 01930000-0000-7000-8000-000000000001",
        "attributes = 5",
        "attributes.language:eng",
        "attributes.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1",
        "cover_image = x",
        "description = null",
        "regex(title, \"D\")",
    ] {
        let request = json!({"filter": filter});
        cases.push(bad("BookService/ListBooks", request, &["filter"]));
    }
    for order in
        ["description", "category_id", "price.currency_code", "attributes.a", "update_time"]
    {
        let request = json!({"order_by": order});
        cases.push(bad("BookService/ListBooks", request, &["order_by"]));
    }
    let five = json!({"order_by": "title, author, price, stock, create_time"});
    cases.push(bad("BookService/ListBooks", five, &["order_by"]));
}

fn views_of_books(cases: &mut Vec<Case>) {
    let ids = json!([id(1)]);
    for view in [-1, 4, 99] {
        let get = json!({"id": id(1), "view": view});
        cases.push(bad("BookService/GetBook", get, &["view"]));
        cases.push(bad("BookService/ListBooks", json!({"view": view}), &["view"]));
        cases.push(bad("BookService/BatchGetBooks", json!({"ids": ids, "view": view}), &["view"]));
    }
    let detail = json!({"view": "BOOK_VIEW_DETAIL", "skip": -1});
    cases.push(bad("BookService/ListBooks", detail, &["skip"]));
    let detail = json!({"view": "BOOK_VIEW_DETAIL", "ids": ids});
    cases.push(bad("BookService/BatchGetBooks", detail, &["view"]));
    for member in ["category", "latest_reviews", "review_count", "mean_rating"] {
        let update = json!({"book": {"id": id(1)}, "update_mask": mask(&[member])});
        cases.push(bad(UPDATE, update, &["update_mask"]));
    }
}

fn names_of_categories(cases: &mut Vec<Case>) {
    let name = |name: &str| json!({"category": {"name": name}});
    let create = "CategoryService/CreateCategory";
    cases.push(bad(create, name("Fiction"), &["category.name"]).taken());
    let rename = json!({"category": {"id": FICTION, "name": "Science"}});
    let update = "CategoryService/UpdateCategory";
    cases.push(bad(update, rename.clone(), &["category.name"]).taken());
    let upsert = json!({"category": {"id": id(404), "name": "Science"}, "allow_missing": true});
    cases.push(bad(update, upsert, &["category.name"]).taken());
    let entries = json!({"requests": [name("new"), name("Fiction"), name("new"), name("other")]});
    let fields = ["requests[1].category.name", "requests[2].category.name"];
    cases.push(bad("CategoryService/BatchCreateCategories", entries, &fields).taken());
    let other = json!({"category": {"id": SCIENCE, "description": "x"}});
    let entries = json!({"requests": [other, rename]});
    let fields = ["requests[1].category.name"];
    cases.push(bad("CategoryService/BatchUpdateCategories", entries, &fields).taken());
}
