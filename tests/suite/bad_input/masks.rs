//! What an update's mask may not name.

use bookstore_proto::v1::{Book, Category, UpdateBookRequest, UpdateCategoryRequest};
use prost_reflect::{prost::Message, prost_types::FieldMask};
use serde_json::json;

use super::{Case, bad, raw, standard::Kind};
use crate::client::{mask, with};

/// Paths that are no fields to change. JSON can't write all of them.
const PATHS: &[&str] = &[
    "",
    " ",
    "isbn",
    "Title",
    "name ",
    "id",
    "etag",
    "create_time",
    "update_time",
    "createTime",
    "version",
    "created_at",
    "create_time.seconds",
    "description.x",
    "*.*",
    "**",
    ".",
    "title,author",
    "\0",
    "descrip\0tion",
    "🦀",
    "'; DROP TABLE books; --",
];

pub(super) fn cases(kind: &Kind) -> Vec<Case> {
    let method = kind.method("Update");
    let longest = "x".repeat(200_000);
    let many: Vec<String> = (0..1_000).map(|at| format!("unknown_{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut cases = Vec::new();
    for path in PATHS.iter().copied().chain([longest.as_str()]) {
        let shown = path.chars().take(40).collect();
        cases.push(raw(&method, encoded(kind, &[path]), shown, &["update_mask"]));
    }
    for paths in [
        &["description", "isbn"][..],
        &["*", "description"],
        &["description", "*"],
        &["*", "*"],
        &many,
    ] {
        let shown = format!("{:?}", paths.iter().take(3).collect::<Vec<_>>());
        cases.push(raw(&method, encoded(kind, paths), shown, &["update_mask"]));
    }

    // What the mask names is looked at, whatever else is wrong with it.
    let bad_text = with(
        kind.update(json!({kind.text: "x".repeat(256)})),
        json!({"update_mask": mask(&[kind.text, "isbn"])}),
    );
    let text = format!("{}.{}", kind.field, kind.text);
    cases.push(bad(&method, bad_text, &["update_mask", &text]));
    // Cleared, though it must be there.
    let cleared = with(
        kind.update(json!({kind.text: null})),
        json!({"update_mask": mask(&[kind.text, "description"])}),
    );
    cases.push(bad(&method, cleared, &[&text]));
    let all = with(kind.update(json!({kind.text: null})), json!({"update_mask": "*"}));
    let required: Vec<String> =
        kind.required.iter().map(|name| format!("{}.{name}", kind.field)).collect();
    cases.push(bad(&method, all, &required.iter().map(String::as_str).collect::<Vec<_>>()));

    let entry = json!({kind.field: {"id": (kind.ids)()[1]}, "update_mask": "isbn"});
    let good = kind.update(json!({}));
    let requests = json!({"requests": [good, entry]});
    cases.push(bad(&kind.method("BatchUpdate"), requests, &["requests[1].update_mask"]));
    cases
}

/// An update of a row that is there, with this mask.
fn encoded(kind: &Kind, paths: &[&str]) -> Vec<u8> {
    let [id, _] = (kind.ids)();
    let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
    let update_mask = Some(mask);
    match kind.service {
        "BookService" => {
            let book = Some(Book { id, title: "changed".into(), ..Default::default() });
            UpdateBookRequest { book, update_mask, allow_missing: false }.encode_to_vec()
        }
        _ => {
            let category = Some(Category { id, name: "changed".into(), ..Default::default() });
            UpdateCategoryRequest { category, update_mask, allow_missing: false }.encode_to_vec()
        }
    }
}
