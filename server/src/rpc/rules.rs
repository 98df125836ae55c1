//! The contract's value rules (`buf.validate`, field behaviour), enforced on every request.
//!
//! They are read from the descriptors once, at start; requests are looked at by reflection.

mod lengths;

use std::{collections::HashMap, fmt::Write as _};

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_store::Fault;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage, Value};
use regex::Regex;

use super::behavior::{Behavior, behaviors, option};

/// A rule that the contract says in the Common Expression Language, by its id. What it means
/// is written here; its text stands in the contract for other languages' tools.
const EXPRESSIONS: &[(&str, Holds)] = &[
    ("money.whole_micros", |money| number(money, "nanos") % 1_000 == 0),
    ("book.price.limit", |price| {
        let units = number(price, "units");
        units < 10_000_000 || (units == 10_000_000 && number(price, "nanos") == 0)
    }),
];

/// Whether a message keeps a rule.
type Holds = fn(&DynamicMessage) -> bool;

/// What a caller is told where a pattern isn't kept; others are told the pattern.
const PATTERNS: &[(&str, &str)] = &[
    ("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "must be a lower-case UUID"),
    (r"^[^@\s]+@[^@\s]+$", "must have one @ with text before and behind it, and no white space"),
    ("^[A-Z]{3}$", "must be three capital letters, as in ISO 4217"),
];

/// The rules of every message of the contract, by its full name.
pub struct Rules(HashMap<String, Vec<FieldRules>>);

struct FieldRules {
    field: FieldDescriptor,
    output_only: bool,
    required: bool,
    passes_zero: bool,
    rule: Rule,
    items: Option<Rule>,
    expressions: Vec<Expression>,
}

#[derive(Default)]
struct Rule {
    length: Option<(u64, u64)>,
    pattern: Option<(Regex, String)>,
    bounds: Option<(i64, i64)>,
    double: Option<(f64, f64)>,
    /// The enum whose values alone are allowed.
    defined: Option<EnumDescriptor>,
    /// The values that are not allowed, each by its number and its name.
    not_in: Vec<(i32, String)>,
    count: Option<(u64, u64)>,
}

#[derive(Clone)]
struct Expression {
    holds: Holds,
    message: String,
}

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
        lengths::look_at(self, &request.descriptor(), &bytes, "", &mut faults);
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
                for expression in &rules.expressions {
                    if !(expression.holds)(message) {
                        faults.push(Fault::new(path, &*expression.message));
                    }
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

impl FieldRules {
    fn read(field: FieldDescriptor) -> Result<Self, String> {
        let behaviors = behaviors(&field);
        let options = option(field.options(), "buf.validate.field");
        let own = options.as_ref().and_then(Value::as_message);
        let mut expressions = Vec::new();
        if let Some(own) = own {
            read_expressions(own, &mut expressions)?;
        }
        if let Kind::Message(message) = field.kind() {
            let options = option(message.options(), "buf.validate.message");
            if let Some(rules) = options.as_ref().and_then(Value::as_message) {
                read_expressions(rules, &mut expressions)?;
            }
        }
        let items = own
            .and_then(|own| sub(own, "repeated"))
            .and_then(|repeated| sub(&repeated, "items"))
            .map(|items| Rule::read(&items, field.kind()))
            .transpose()?;
        let own_value = |name| own.and_then(|own| bound(own, name));
        Ok(Self {
            output_only: behaviors.contains(&Behavior::OutputOnly),
            required: behaviors.contains(&Behavior::Required)
                || own_value("required") == Some(Value::Bool(true)),
            passes_zero: own_value("ignore") == Some(Value::EnumNumber(1)),
            rule: own.map(|own| Rule::read(own, field.kind())).transpose()?.unwrap_or_default(),
            items,
            expressions,
            field,
        })
    }
}

impl Rule {
    fn read(rules: &DynamicMessage, kind: Kind) -> Result<Self, String> {
        let mut rule = Self::default();
        if let Some(string) = sub(rules, "string") {
            let least = bound(&string, "min_len").and_then(|value| value.as_u64());
            let most = bound(&string, "max_len").and_then(|value| value.as_u64());
            if least.is_some() || most.is_some() {
                rule.length = Some((least.unwrap_or(0), most.unwrap_or(u64::MAX)));
            }
            if let Some(pattern) = bound(&string, "pattern").as_ref().and_then(Value::as_str) {
                let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
                let told = PATTERNS.iter().find(|(known, _)| *known == pattern);
                let told = match told {
                    Some((_, told)) => (*told).to_owned(),
                    None => format!("must match {pattern}"),
                };
                rule.pattern = Some((regex, told));
            }
        }
        for (integer, min, max) in
            [("int32", i64::from(i32::MIN), i64::from(i32::MAX)), ("int64", i64::MIN, i64::MAX)]
        {
            if let Some(integer) = sub(rules, integer) {
                let of = |name| bound(&integer, name).as_ref().and_then(integer_of);
                rule.bounds = Some((of("gte").unwrap_or(min), of("lte").unwrap_or(max)));
            }
        }
        if let Some(double) = sub(rules, "double") {
            let of = |name| bound(&double, name).and_then(|value| value.as_f64());
            rule.double = Some((of("gte").unwrap_or(f64::MIN), of("lte").unwrap_or(f64::MAX)));
        }
        if let Some(list) = sub(rules, "repeated") {
            let of = |name| bound(&list, name).and_then(|value| value.as_u64());
            rule.count = Some((of("min_items").unwrap_or(0), of("max_items").unwrap_or(u64::MAX)));
        }
        if let (Some(of_enum), Kind::Enum(kind)) = (sub(rules, "enum"), kind) {
            let not_in = bound(&of_enum, "not_in");
            let numbers = not_in.as_ref().and_then(Value::as_list).unwrap_or_default();
            let named = |number| Some((number, kind.get_value(number)?.name().to_owned()));
            rule.not_in = numbers.iter().filter_map(Value::as_i32).filter_map(named).collect();
            if bound(&of_enum, "defined_only") == Some(Value::Bool(true)) {
                rule.defined = Some(kind);
            }
        }
        Ok(rule)
    }

    fn check(&self, value: &Value, path: &str, faults: &mut Vec<Fault>) {
        let mut fault = |description: String| faults.push(Fault::new(path, description));
        match value {
            Value::String(text) => {
                let length = text.chars().count() as u64;
                if let Some((least, most)) = self.length
                    && !(least..=most).contains(&length)
                {
                    fault(format!("must have {} characters; it has {length}", range(least, most)));
                }
                if let Some((pattern, told)) = &self.pattern
                    && !pattern.is_match(text)
                {
                    fault(told.clone());
                }
                if text.contains('\0') {
                    fault(NUL.into());
                }
            }
            Value::List(items) => {
                if let Some(told) = self.count_told(items.len() as u64) {
                    fault(told);
                }
            }
            Value::F64(number) => {
                if let Some((least, most)) = self.double
                    && !(least..=most).contains(number)
                {
                    fault(format!("must be from {least} to {most}; it is {number}"));
                }
            }
            Value::EnumNumber(number) => {
                if let Some(defined) = &self.defined
                    && defined.get_value(*number).is_none()
                {
                    fault(format!("must be a value of {}; {number} is none", defined.name()));
                }
                if let Some((_, name)) = self.not_in.iter().find(|(known, _)| known == number) {
                    fault(format!("must not be {name} here"));
                }
            }
            _ => {
                if let (Some((least, most)), Some(number)) = (self.bounds, integer_of(value))
                    && !(least..=most).contains(&number)
                {
                    let bounds = range_of_numbers(least, most);
                    fault(format!("must be {bounds}; it is {number}"));
                }
            }
        }
    }
}

impl Rule {
    fn count_told(&self, count: u64) -> Option<String> {
        let (least, most) = self.count?;
        let told = || format!("must have {} entries; it has {count}", range(least, most));
        (!(least..=most).contains(&count)).then(told)
    }
}

const NUL: &str = "must not hold a NUL character";

fn read_expressions(rules: &DynamicMessage, into: &mut Vec<Expression>) -> Result<(), String> {
    let Some(list) = rules.get_field_by_name("cel") else { return Ok(()) };
    for rule in list.as_list().unwrap_or_default() {
        let Some(rule) = rule.as_message() else { continue };
        let text =
            |name| rule.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
        let id = text("id").unwrap_or_default();
        let known = EXPRESSIONS.iter().find(|(known, _)| *known == id);
        let (_, holds) = known.ok_or_else(|| format!("the contract's rule {id} isn't known"))?;
        into.push(Expression { holds: *holds, message: text("message").unwrap_or_default() });
    }
    Ok(())
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

fn sub(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    bound(message, name).and_then(|value| value.as_message().cloned())
}

/// A field of a rule, if it is set.
fn bound(message: &DynamicMessage, name: &str) -> Option<Value> {
    message
        .has_field_by_name(name)
        .then(|| message.get_field_by_name(name))?
        .map(|v| v.into_owned())
}

fn number(message: &DynamicMessage, name: &str) -> i64 {
    message.get_field_by_name(name).and_then(|value| integer_of(&value)).unwrap_or_default()
}

fn integer_of(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

fn range(least: u64, most: u64) -> String {
    match (least, most) {
        (_, u64::MAX) => format!("at least {least}"),
        (0, _) => format!("at most {most}"),
        _ => format!("{least} to {most}"),
    }
}

fn range_of_numbers(least: i64, most: i64) -> String {
    match (least, most) {
        (_, i64::MAX) => format!("at least {least}"),
        (_, most) if most == i64::from(i32::MAX) => format!("at least {least}"),
        _ => format!("from {least} to {most}"),
    }
}

fn join(path: &str, name: &str) -> String {
    let mut joined = String::with_capacity(path.len() + name.len() + 1);
    let dot = if path.is_empty() { "" } else { "." };
    // Writing to a String can't fail.
    let _ = write!(joined, "{path}{dot}{name}");
    joined
}
