//! The contract's value rules (`buf.validate`, field behaviour), enforced on every request.
//!
//! They are read from the descriptors once, at start. Requests are checked by reflection.

mod expressions;
mod field;
mod free_form;
mod options;
mod ranges;
mod text;
mod value;

use bookstore_proto::{DESCRIPTOR_POOL, bounds};
use bookstore_store::FieldViolation;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use self::{
    field::{FieldRules, Messages},
    free_form::{forbid_nul, pass_over},
    ranges::join,
    text::NUL,
};

/// The rules of every message of the contract.
pub struct Rules(Messages);

impl Rules {
    /// Reads the rules of the contract.
    ///
    /// # Errors
    /// If a rule's expression isn't known here or a pattern can't be read: an error of the build.
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
    /// The parts of the request that are too long to be checked; nothing else is checked then.
    pub fn violations(
        &self,
        request: &impl ReflectMessage,
    ) -> Result<Vec<FieldViolation>, Vec<FieldViolation>> {
        let mut bytes = request.encode_to_vec();
        let mut violations = Vec::new();
        let descriptor = request.descriptor();
        if let Some(measure) = bounds::measure(descriptor.name(), &bytes) {
            if !measure.violations.is_empty() {
                return Err(field_violations(measure.violations));
            }
            // Free-form data has no rules but this one, and would take a hundred times its bytes.
            for data in measure.free_form {
                if data.has_nul {
                    violations.push(FieldViolation::new(data.field, NUL));
                }
                pass_over(&mut bytes[data.bytes]);
            }
        }
        let message = DynamicMessage::decode(descriptor, bytes.as_slice());
        let message =
            message.map_err(|_| vec![FieldViolation::new("", "can't be decoded again")])?;
        self.check_message(&message, "", &mut violations);
        Ok(violations)
    }

    /// The violation of the length of a message's list.
    pub fn violation_of_count<M: ReflectMessage + Default>(
        &self,
        field: &str,
        count: usize,
    ) -> Option<FieldViolation> {
        let fields = self.0.get(M::default().descriptor().full_name())?;
        let rules = fields.iter().find(|rules| rules.field.name() == field)?;
        let description = rules.rule.count_violation(count as u64)?;
        Some(FieldViolation::new(field, description))
    }

    fn check_message(
        &self,
        message: &DynamicMessage,
        path: &str,
        violations: &mut Vec<FieldViolation>,
    ) {
        let descriptor = message.descriptor();
        let Some(fields) = self.0.get(descriptor.full_name()) else {
            // A well-known type: it has no rules, but texts all the same.
            for (_, value) in message.fields() {
                forbid_nul(value, path, violations);
            }
            return;
        };
        // Fields that only the service sets are ignored in requests.
        for rules in fields.iter().filter(|rules| !rules.output_only) {
            let path = join(path, rules.field.name());
            let value = message.get_field(&rules.field);
            let set = match rules.field.supports_presence() {
                true => message.has_field(&rules.field),
                false => *value != Value::default_value_for_field(&rules.field),
            };
            if rules.required && !set {
                violations.push(FieldViolation::new(path, "is required"));
            } else if set || !(rules.field.supports_presence() || rules.passes_zero) {
                rules.rule.check(&value, &path, violations);
                self.descend(rules, &value, &path, violations);
            }
        }
    }

    fn descend(
        &self,
        rules: &FieldRules,
        value: &Value,
        path: &str,
        violations: &mut Vec<FieldViolation>,
    ) {
        match value {
            Value::Message(message) => {
                for (_, description) in
                    rules.expressions.iter().filter(|(holds, _)| !holds(message))
                {
                    violations.push(FieldViolation::new(path, description.as_str()));
                }
                self.check_message(message, path, violations);
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if let Some(rule) = &rules.items {
                        rule.check(item, &path, violations);
                    }
                    self.descend(rules, item, &path, violations);
                }
            }
            _ => {}
        }
    }
}

/// What the decoder refuses, as the rules tell it.
pub fn field_violations(found: Vec<bounds::Violation>) -> Vec<FieldViolation> {
    found.into_iter().map(|it| FieldViolation::new(it.field, it.description)).collect()
}
