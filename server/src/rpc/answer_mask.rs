//! The fields of an answer that a caller asks for (metadata `field-mask`, AIP-157).
//!
//! It is read against the answer's descriptor and applied to the encoded answer: no answer is
//! decoded by reflection.

use std::{collections::BTreeMap, sync::Arc};

use bookstore_query::field::shown;
use prost::{
    DecodeError,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
    },
};
use prost_reflect::{Kind, MessageDescriptor};

/// The most paths that a mask may name.
const MOST_PATHS: usize = 100;

/// The selected fields of an answer. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerMask(Arc<SelectedFields>);

/// The wanted fields of a message, by their numbers.
type SelectedFields = BTreeMap<u32, FieldSelection>;

#[derive(Debug, Default, PartialEq, Eq)]
struct FieldSelection {
    name: String,
    /// The selected fields of its message; none is all of them. Fields without a message have none.
    inner: Option<SelectedFields>,
}

impl AnswerMask {
    /// Reads a mask: paths with the contract's names, separated by commas, each beginning in
    /// the answer. None if it is `*`, which asks for everything.
    ///
    /// # Errors
    /// Why it can't be used, as a phrase that follows the mask's name.
    pub fn parse(text: &str, answer: &MessageDescriptor) -> Result<Option<Self>, String> {
        if text.trim() == "*" {
            return Ok(None);
        }
        let paths: Vec<&str> = text.split(',').map(str::trim).collect();
        if paths.len() > MOST_PATHS {
            return Err(format!("must have at most {MOST_PATHS} paths; it has {}", paths.len()));
        }
        let mut fields = SelectedFields::new();
        for path in paths {
            match path {
                "" => return Err("must be `*` or paths separated by commas".to_owned()),
                "*" => return Err("must be `*` alone or paths without it".to_owned()),
                path => insert(&mut fields, steps(answer, path)?),
            }
        }
        Ok(Some(Self(Arc::new(fields))))
    }

    /// Whether a field or anything below it is selected: the field of this name in the message at a
    /// path, which is empty for the answer itself.
    pub fn wants(&self, path: &str, name: &str) -> bool {
        let mut fields = &*self.0;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            match fields.values().find(|field| field.name == name) {
                Some(FieldSelection { inner: Some(inner), .. }) => fields = inner,
                Some(FieldSelection { inner: None, .. }) => return true,
                None => return false,
            }
        }
        fields.values().any(|field| field.name == name)
    }

    /// The selected fields of an encoded answer.
    ///
    /// # Errors
    /// If it isn't an encoded message.
    pub fn prune(&self, answer: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut kept = Vec::new();
        prune(&self.0, answer, &mut kept)?;
        Ok(kept)
    }
}

/// The fields that a path goes through, by their numbers and names.
fn steps(answer: &MessageDescriptor, path: &str) -> Result<Vec<(u32, String)>, String> {
    let mut message = answer.clone();
    let mut steps = Vec::new();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let Some(field) = message.get_field_by_name(name) else {
            let there: Vec<String> = message.fields().map(|it| it.name().to_owned()).collect();
            let there = match there.as_slice() {
                [] => "there is nothing but `*`".to_owned(),
                there => format!("there are {}", there.join(", ")),
            };
            let place = message.name();
            return Err(format!("names {}, which isn't in {place}: {there}", shown(path)));
        };
        steps.push((field.number(), name.to_owned()));
        match field.kind() {
            // Other packages' messages, such as a Struct or a Timestamp, are one value each.
            Kind::Message(inner) if inner.package_name() == answer.package_name() => {
                message = inner;
            }
            _ if names.peek().is_some() => {
                let description = format!("{name} is answered as a whole or not at all");
                return Err(format!("names {}: {description}", shown(path)));
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn insert(mut fields: &mut SelectedFields, steps: Vec<(u32, String)>) {
    let last = steps.len().saturating_sub(1);
    for (at, (number, name)) in steps.into_iter().enumerate() {
        let inner = Some(SelectedFields::new());
        let field = fields.entry(number).or_insert(FieldSelection { name, inner });
        if at == last {
            field.inner = None;
        }
        // A field that is selected as a whole ignores paths below it.
        let Some(inner) = &mut field.inner else { return };
        fields = inner;
    }
}

fn prune(fields: &SelectedFields, mut rest: &[u8], kept: &mut Vec<u8>) -> Result<(), DecodeError> {
    while !rest.is_empty() {
        let from_key = rest;
        let (tag, wire_type) = decode_key(&mut rest)?;
        let from_value = rest;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        let before = |from: &[u8]| from.len() - rest.len();
        match fields.get(&tag) {
            Some(FieldSelection { inner: Some(inner), .. })
                if wire_type == WireType::LengthDelimited =>
            {
                let mut part = &from_value[..before(from_value)];
                decode_varint(&mut part)?;
                let mut inside = Vec::with_capacity(part.len());
                prune(inner, part, &mut inside)?;
                encode_key(tag, wire_type, kept);
                encode_varint(inside.len() as u64, kept);
                kept.extend_from_slice(&inside);
            }
            Some(_) => kept.extend_from_slice(&from_key[..before(from_key)]),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bookstore_proto::v1::{Book, ListBooksResponse, Money};
    use prost::Message;
    use prost_reflect::ReflectMessage;

    use super::AnswerMask;

    fn list() -> ListBooksResponse {
        let price = |units| Some(Money { currency_code: "USD".into(), units, nanos: 1_000 });
        let book = |title: &str, units| Book {
            title: title.into(),
            stock: 3,
            price: price(units),
            ..Default::default()
        };
        ListBooksResponse {
            books: vec![book("a", 1), Book::default(), book("b", 0)],
            next_page_token: "next".into(),
            total_size: Some(0),
        }
    }

    fn pruned(mask: &str) -> ListBooksResponse {
        let mask = AnswerMask::parse(mask, &ListBooksResponse::default().descriptor());
        let kept = mask.unwrap().unwrap().prune(&list().encode_to_vec()).unwrap();
        ListBooksResponse::decode(&*kept).unwrap()
    }

    #[test]
    fn an_answer_keeps_the_selected_fields() {
        let whole = list();
        assert_eq!(pruned("books,next_page_token,total_size"), whole);
        assert_eq!(pruned("books.title, books"), pruned("books"));
        assert_eq!(pruned("books,books.title"), pruned("books"));
        assert_eq!(
            pruned("total_size"),
            ListBooksResponse { total_size: Some(0), ..Default::default() }
        );
        let some = pruned("books.price.units,books.title,next_page_token");
        let mut wanted = whole;
        wanted.total_size = None;
        for book in &mut wanted.books {
            book.stock = 0;
            if let Some(price) = &mut book.price {
                *price = Money { units: price.units, ..Default::default() };
            }
        }
        assert_eq!(some, wanted);
    }

    #[test]
    fn a_mask_with_unknown_paths_is_refused() {
        let parse =
            |text: &str| AnswerMask::parse(text, &ListBooksResponse::default().descriptor());
        assert_eq!(parse("*"), Ok(None));
        for (text, description) in [
            ("", "separated by commas"),
            ("books,,total_size", "separated by commas"),
            ("*,books", "alone"),
            ("title", "`title`, which isn't in ListBooksResponse: there are books, next_page"),
            ("books.Title", "`books.Title`, which isn't in Book: there are id, title"),
            ("books.*", "isn't in Book"),
            ("books.", "isn't in Book"),
            ("books.title.x", "title is answered as a whole"),
            ("books.attributes.language", "attributes is answered as a whole"),
            ("books.create_time.seconds", "create_time is answered as a whole"),
            (&"books,".repeat(101), "at most 100 paths"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(description), "{text}: {refused}");
        }
    }

    #[test]
    fn selected_fields_are_found_by_path() {
        let parse = |text: &str| {
            AnswerMask::parse(text, &ListBooksResponse::default().descriptor()).unwrap().unwrap()
        };
        for (text, wanted) in [
            ("books", true),
            ("books.description", true),
            ("books.title,books.description", true),
            ("books.title", false),
            ("next_page_token", false),
        ] {
            assert_eq!(parse(text).wants("books", "description"), wanted, "{text}");
        }
        assert!(parse("total_size").wants("", "total_size"));
        assert!(!parse("total_size").wants("", "books"));
    }
}
