//! The ids in an encoded message: those of the resources that a write has changed, for the log.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{Kind, MessageDescriptor};

use crate::{DESCRIPTOR_POOL, bounds::wire};

/// How many ids are kept. Of the others only the number is.
pub const SHOWN: usize = 3;

/// The ids in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIds {
    /// The first [`SHOWN`] ids.
    pub first: Vec<String>,
    /// The number of all.
    pub count: usize,
}

/// Where the ids of a message stand, by the numbers of the fields.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// Its own `id`.
    own: Option<u32>,
    /// A list of messages with an `id`, and the number of that.
    list: Option<(u32, u32)>,
    /// A list of `google.protobuf.Any`.
    parts: Option<u32>,
}

impl MessageIds {
    /// Adds the ids in an encoded message with this full name: its own `id`, or else those of the
    /// messages of its list. A message that the contract does not have has none.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let shape = SHAPES.get(name).copied().unwrap_or_default();
        if let Some(own) = shape.own {
            return self.add_text(own, bytes);
        }
        wire::for_each(bytes, |number, part| {
            if let Some((_, own)) = shape.list.filter(|(list, _)| *list == number) {
                self.add_text(own, part);
            }
        });
    }

    /// The ids in each `google.protobuf.Any` of an encoded message with this full name.
    pub fn of_parts(name: &str, bytes: &[u8]) -> Vec<Self> {
        let parts = SHAPES.get(name).and_then(|shape| shape.parts);
        let mut all = Vec::new();
        wire::for_each(bytes, |number, part| {
            if parts == Some(number) {
                let (mut url, mut value) = (&[][..], &[][..]);
                wire::for_each(part, |number, bytes| match number {
                    1 => url = bytes,
                    2 => value = bytes,
                    _ => {}
                });
                all.push(Self::of_part(std::str::from_utf8(url).unwrap_or_default(), value));
            }
        });
        all
    }

    /// The ids in the message of a `google.protobuf.Any`.
    pub fn of_part(type_url: &str, value: &[u8]) -> Self {
        let mut ids = Self::default();
        ids.add(type_url.rsplit('/').next().unwrap_or_default(), value);
        ids
    }

    /// Adds other ids behind these.
    pub fn extend(&mut self, others: &Self) {
        self.count += others.count;
        let room = SHOWN.saturating_sub(self.first.len());
        self.first.extend(others.first.iter().take(room).cloned());
    }

    fn add_text(&mut self, wanted: u32, bytes: &[u8]) {
        let mut found = &[][..];
        wire::for_each(bytes, |number, part| {
            if number == wanted {
                found = part;
            }
        });
        self.push(found);
    }

    fn push(&mut self, id: &[u8]) {
        let Some(id) = std::str::from_utf8(id).ok().filter(|id| !id.is_empty()) else { return };
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(id.to_owned());
        }
    }

    /// The ids as the log shows them: `ID`, `ID, ID`, `ID, ID, ID and 97 more`. `None` without ids.
    pub fn text(&self) -> Option<String> {
        let shown = self.first.join(", ");
        match self.count.saturating_sub(self.first.len()) {
            _ if self.first.is_empty() => None,
            0 => Some(shown),
            more => Some(format!("{shown} and {more} more")),
        }
    }
}

static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    let ours = DESCRIPTOR_POOL.all_messages().filter(|it| it.package_name() == "bookstore.v1");
    ours.map(|message| (message.full_name().to_owned(), Shape::of(&message))).collect()
});

impl Shape {
    fn of(message: &MessageDescriptor) -> Self {
        let mut shape = Self { own: id_of(message), ..Self::default() };
        for field in message.fields().filter(|field| field.is_list()) {
            let Kind::Message(entry) = field.kind() else { continue };
            if entry.full_name() == "google.protobuf.Any" {
                shape.parts = Some(field.number());
            } else if let Some(id) = id_of(&entry) {
                shape.list.get_or_insert((field.number(), id));
            }
        }
        shape
    }
}

fn id_of(message: &MessageDescriptor) -> Option<u32> {
    let id = message.get_field_by_name("id")?;
    (matches!(id.kind(), Kind::String) && !id.is_list()).then(|| id.number())
}

#[cfg(test)]
mod tests {
    use prost::{Message, Name};

    use super::*;
    use crate::v1::{
        BatchCreateBooksResponse, Book, Cart, CartItem, DeleteBookRequest, ExecuteResponse, Review,
    };

    fn text<M: Message + Name>(message: &M) -> Option<String> {
        let mut ids = MessageIds::default();
        ids.add(&M::full_name(), &message.encode_to_vec());
        ids.text()
    }

    fn book(id: &str) -> Book {
        let latest_reviews = vec![Review { id: "r".to_owned(), ..Default::default() }];
        Book { id: id.to_owned(), latest_reviews, ..Default::default() }
    }

    #[test]
    fn the_ids_of_a_message_are_its_own_or_those_of_its_list() {
        assert_eq!(text(&book("a")).as_deref(), Some("a"));
        let items = vec![CartItem { book_id: "b".to_owned(), ..Default::default() }];
        let cart = Cart { id: "c".to_owned(), items, ..Default::default() };
        assert_eq!(text(&cart).as_deref(), Some("c"));
        let delete = DeleteBookRequest { id: "d".to_owned(), ..Default::default() };
        assert_eq!(text(&delete).as_deref(), Some("d"));
        for (count, wanted) in [
            (0, None),
            (1, Some("0")),
            (3, Some("0, 1, 2")),
            (4, Some("0, 1, 2 and 1 more")),
            (1_000, Some("0, 1, 2 and 997 more")),
        ] {
            let books = (0..count).map(|number| book(&number.to_string())).collect();
            assert_eq!(text(&BatchCreateBooksResponse { books }).as_deref(), wanted);
        }
    }

    #[test]
    fn the_ids_of_parts_are_those_of_their_messages() {
        let any = |book: &Book| prost_types::Any {
            type_url: "type.googleapis.com/bookstore.v1.Book".to_owned(),
            value: book.encode_to_vec(),
        };
        let empty = prost_types::Any {
            type_url: "type.googleapis.com/google.protobuf.Empty".to_owned(),
            value: Vec::new(),
        };
        let execute = ExecuteResponse { responses: vec![any(&book("a")), empty, any(&book("b"))] };
        let parts = MessageIds::of_parts(&ExecuteResponse::full_name(), &execute.encode_to_vec());
        let texts: Vec<_> = parts.iter().map(MessageIds::text).collect();
        assert_eq!(texts, [Some("a".to_owned()), None, Some("b".to_owned())]);
        let mut all = MessageIds::default();
        [0, 2, 0, 2].into_iter().for_each(|at| all.extend(&parts[at]));
        assert_eq!(all.text().as_deref(), Some("a, b, a and 1 more"));
    }
}
