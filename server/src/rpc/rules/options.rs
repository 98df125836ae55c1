//! Reads the values of `buf.validate` options from the contract's descriptors.

use prost_reflect::{DynamicMessage, ExtensionDescriptor, Value};

use crate::rpc::behavior::option;

/// A `buf.validate.Rule`: an expression with its id and its message for callers.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) id: String,
    pub(super) message: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "tools of other languages evaluate it"))]
    pub(super) expression: String,
}

/// A message in a field, if it is set.
pub(super) fn sub(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    bound(message, name).and_then(|value| value.as_message().cloned())
}

/// A field, if it is set.
pub(super) fn bound(message: &DynamicMessage, name: &str) -> Option<Value> {
    message
        .has_field_by_name(name)
        .then(|| message.get_field_by_name(name))?
        .map(|v| v.into_owned())
}

/// A signed integer of either width.
pub(super) fn integer_of(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

/// The expressions in the field `cel`.
pub(super) fn expressions(rules: &DynamicMessage) -> Vec<Expression> {
    let list = bound(rules, "cel");
    let list = list.as_ref().and_then(Value::as_list).unwrap_or_default();
    let read = |rule: &DynamicMessage| {
        let text = |name| {
            let text = bound(rule, name);
            text.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Expression { id: text("id"), message: text("message"), expression: text("expression") }
    };
    list.iter().filter_map(Value::as_message).map(read).collect()
}

/// The expressions of a predefined rule's declaration.
pub(super) fn predefined(rule: &ExtensionDescriptor) -> Vec<Expression> {
    let meaning = option(rule.options(), "buf.validate.predefined");
    meaning.as_ref().and_then(Value::as_message).map(expressions).unwrap_or_default()
}
