//! The rules of a message's fields: their values', their presence and their behaviour.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};

use super::{
    expressions::{EXPRESSIONS, Holds},
    options::{bound, expressions, sub},
    value::ValueRule,
};
use crate::rpc::behavior::{Behavior, behaviors, option};

/// The rules of every message of the contract, by its full name.
pub(super) type Messages = HashMap<String, Vec<FieldRules>>;

/// The rules of one field.
pub(super) struct FieldRules {
    /// The field.
    pub(super) field: FieldDescriptor,
    /// Whether only the service sets it.
    pub(super) output_only: bool,
    /// Whether the caller must give a value.
    pub(super) required: bool,
    /// Whether the zero value keeps every rule.
    pub(super) passes_zero: bool,
    /// The rules of its value.
    pub(super) rule: ValueRule,
    /// The rules of each entry of a list.
    pub(super) items: Option<ValueRule>,
    /// The rules of its message, each with its description for callers.
    pub(super) expressions: Vec<(Holds, String)>,
}

impl FieldRules {
    /// Reads the options of a field.
    ///
    /// # Errors
    /// If a rule isn't known here or can't be read: an error of the build.
    pub(super) fn read(field: FieldDescriptor) -> Result<Self, String> {
        let behaviors = behaviors(&field);
        let options = option(field.options(), "buf.validate.field");
        let own = options.as_ref().and_then(Value::as_message);
        let mut expressions = own.map(expressions_of).transpose()?.unwrap_or_default();
        if let Kind::Message(message) = field.kind() {
            let options = option(message.options(), "buf.validate.message");
            if let Some(rules) = options.as_ref().and_then(Value::as_message) {
                expressions.extend(expressions_of(rules)?);
            }
        }
        let items = own
            .and_then(|own| sub(own, "repeated"))
            .and_then(|repeated| sub(&repeated, "items"))
            .map(|items| ValueRule::read(&items, field.kind()))
            .transpose()?;
        let own_value = |name| own.and_then(|own| bound(own, name));
        Ok(Self {
            output_only: behaviors.contains(&Behavior::OutputOnly),
            required: behaviors.contains(&Behavior::Required)
                || own_value("required") == Some(Value::Bool(true)),
            passes_zero: own_value("ignore") == Some(Value::EnumNumber(1)),
            rule: own
                .map(|own| ValueRule::read(own, field.kind()))
                .transpose()?
                .unwrap_or_default(),
            items,
            expressions,
            field,
        })
    }
}

/// The expressions of a field's or a message's options.
fn expressions_of(rules: &DynamicMessage) -> Result<Vec<(Holds, String)>, String> {
    let known = |id: &str| EXPRESSIONS.iter().find(|(known, _)| *known == id);
    let read = expressions(rules).into_iter().map(|expression| {
        let id = &expression.id;
        let (_, holds) =
            known(id).ok_or_else(|| format!("the contract's rule {id} isn't known"))?;
        Ok((*holds, expression.message))
    });
    read.collect()
}
