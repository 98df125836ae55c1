//! The contract's value rules (`buf.validate`, field behaviour), enforced on every request.
//!
//! They are read from the descriptors once, at start; requests are looked at by reflection.

mod expressions;
mod field;
mod lengths;
mod options;
mod ranges;
mod text;
mod value;

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_store::Fault;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use self::{
    field::{FieldRules, Messages},
    ranges::join,
    text::NUL,
};

/// The rules of every message of the contract.
pub struct Rules(Messages);

impl Rules {
    /// Reads the rules of the contract.
    ///
    /// # Errors
    /// If a rule's expression isn't known here or a pattern can't be read: a fault of the build.
    pub fn of_contract() -> Result<Self, String> {
        let messages = DESCRIPTOR_POOL.all_messages();
        let ours = messages.filter(|message| message.package_name() == "bookstore.v1");
        let read = ours.map(|message| {
            let fields: Result<Vec<_>, _> = message.fields().map(FieldRules::read).collect();
            Ok((message.full_name().to_owned(), fields?))
        });
        read.collect::<Result<_, String>>().map(Self)
    }

    /// Every rule that a request breaks, each at its field's path.
    ///
    /// # Errors
    /// What of the request is too long to be looked into; nothing else was looked at then.
    pub fn faults(&self, request: &impl ReflectMessage) -> Result<Vec<Fault>, Vec<Fault>> {
        let bytes = request.encode_to_vec();
        let mut faults = Vec::new();
        lengths::look_at(&self.0, &request.descriptor(), &bytes, "", &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let message = DynamicMessage::decode(request.descriptor(), bytes.as_slice());
        let message = message.map_err(|_| vec![Fault::new("", "can't be decoded again")])?;
        self.look_at(&message, "", &mut faults);
        Ok(faults)
    }

    /// What is wrong with the length of a message's list, whatever it holds.
    pub fn fault_of_count<M: ReflectMessage + Default>(
        &self,
        field: &str,
        count: usize,
    ) -> Option<Fault> {
        let fields = self.0.get(M::default().descriptor().full_name())?;
        let rules = fields.iter().find(|rules| rules.field.name() == field)?;
        let told = rules.rule.count_told(count as u64)?;
        Some(Fault::new(field, told))
    }

    fn look_at(&self, message: &DynamicMessage, path: &str, faults: &mut Vec<Fault>) {
        let descriptor = message.descriptor();
        let Some(fields) = self.0.get(descriptor.full_name()) else {
            // A well-known type: it has no rules, but texts all the same.
            for (_, value) in message.fields() {
                forbid_nul(value, path, faults);
            }
            return;
        };
        // What only the service sets is passed over, whatever a caller sends there.
        for rules in fields.iter().filter(|rules| !rules.output_only) {
            let path = join(path, rules.field.name());
            let value = message.get_field(&rules.field);
            let set = match rules.field.supports_presence() {
                true => message.has_field(&rules.field),
                false => *value != Value::default_value_for_field(&rules.field),
            };
            if rules.required && !set {
                faults.push(Fault::new(path, "is required"));
            } else if set || !(rules.field.supports_presence() || rules.passes_zero) {
                rules.rule.check(&value, &path, faults);
                self.descend(rules, &value, &path, faults);
            }
        }
    }

    fn descend(&self, rules: &FieldRules, value: &Value, path: &str, faults: &mut Vec<Fault>) {
        match value {
            Value::Message(message) => {
                for (_, told) in rules.expressions.iter().filter(|(holds, _)| !holds(message)) {
                    faults.push(Fault::new(path, told.as_str()));
                }
                self.look_at(message, path, faults);
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if let Some(rule) = &rules.items {
                        rule.check(item, &path, faults);
                    }
                    self.descend(rules, item, &path, faults);
                }
            }
            _ => {}
        }
    }
}

/// Texts inside well-known types, such as a Struct's names and values.
fn forbid_nul(value: &Value, path: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) if text.contains('\0') => faults.push(Fault::new(path, NUL)),
        Value::Message(message) => {
            message.fields().for_each(|(_, value)| forbid_nul(value, path, faults));
        }
        Value::List(items) => items.iter().for_each(|item| forbid_nul(item, path, faults)),
        Value::Map(entries) => {
            for (key, value) in entries {
                if key.as_str().is_some_and(|key| key.contains('\0')) {
                    faults.push(Fault::new(path, NUL));
                }
                forbid_nul(value, path, faults);
            }
        }
        _ => {}
    }
}
