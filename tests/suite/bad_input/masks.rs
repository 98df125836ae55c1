//! Paths that an update mask may not name.

use prost_reflect::{DynamicMessage, Kind as FieldKind, Value, prost::Message};
use serde_json::json;

use super::{Case, bad, descriptor, raw, standard::Kind};
use crate::client::{dynamic, mask, with};

/// Paths that are no updatable fields. JSON can't write all of them.
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
    "*.*",
    "**",
    ".",
    "title,author",
    "\0",
    "na\0me",
    "🦀",
    "'; DROP TABLE books; --",
];

pub(super) fn cases(kind: &Kind) -> Vec<Case> {
    if !kind.has("Update") {
        return Vec::new();
    }
    let method = kind.method("Update");
    let longest = "x".repeat(200_000);
    let many: Vec<String> = (0..1_000).map(|at| format!("unknown_{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut cases = Vec::new();
    let (text, other) = (kind.text.0, kind.other().0);
    let below = format!("{other}.x");
    for path in PATHS.iter().copied().chain([longest.as_str(), &below]) {
        let shown = path.chars().take(40).collect();
        cases.push(raw(&method, encoded(kind, &[path]), shown, &["update_mask"]));
    }
    for paths in [&[other, "isbn"][..], &["*", other], &[other, "*"], &["*", "*"], &many] {
        let shown = format!("{:?}", paths.iter().take(3).collect::<Vec<_>>());
        cases.push(raw(&method, encoded(kind, paths), shown, &["update_mask"]));
    }

    // Fields of the mask are validated, whatever else is wrong with the mask.
    let bad_text = with(
        kind.update(json!({text: "x".repeat(kind.text.1 + 1)})),
        json!({"update_mask": mask(&[text, "isbn"])}),
    );
    let at_text = format!("{}.{text}", kind.field);
    cases.push(bad(&method, bad_text, &["update_mask", &at_text]));
    if kind.required.contains(&text) {
        // Cleared although it is required.
        let cleared = with(
            kind.update(json!({text: null, other: "x"})),
            json!({"update_mask": mask(&[text, other])}),
        );
        cases.push(bad(&method, cleared, &[&at_text]));
    }
    let all = with(kind.update(json!({text: null})), json!({"update_mask": "*"}));
    let required: Vec<String> = kind
        .required
        .iter()
        .filter(|name| !kind.input_only.contains(name))
        .map(|name| format!("{}.{name}", kind.field))
        .collect();
    cases.push(bad(&method, all, &required.iter().map(String::as_str).collect::<Vec<_>>()));

    let entry = json!({kind.field: {"id": (kind.ids)()[1]}, "update_mask": "isbn"});
    let good = kind.update(json!({}));
    let requests = json!({"requests": [good, entry]});
    cases.push(bad(&kind.method("BatchUpdate"), requests, &["requests[1].update_mask"]));
    cases
}

/// An update of an existing row with this mask.
fn encoded(kind: &Kind, paths: &[&str]) -> Vec<u8> {
    let input = descriptor(&kind.method("Update")).input();
    let field = input.get_field_by_name("update_mask").expect("a mask");
    let FieldKind::Message(mask) = field.kind() else { panic!("a message: {field:?}") };
    let mut mask = DynamicMessage::new(mask);
    let paths = paths.iter().map(|path| Value::String((*path).to_owned()));
    mask.set_field_by_name("paths", Value::List(paths.collect()));
    let fine = kind.update(json!({kind.other().0: "x"}));
    let mut update = dynamic(input, fine);
    update.set_field(&field, Value::Message(mask));
    update.encode_to_vec()
}
