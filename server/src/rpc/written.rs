//! The ids that a write has made or changed, for the line of its call in the log.

use std::sync::Arc;

use bookstore_proto::ids::MessageIds;
use prost::{Message, Name};

/// Where the ids of a write are found: in its response, or in its request if the response is empty, as
/// after a deletion.
#[derive(Debug, Default)]
pub struct WrittenIds {
    answer: String,
    of_request: MessageIds,
}

impl WrittenIds {
    /// Of a request that is answered with `A`.
    pub fn of<R: Message + Name, A: Name>(request: &R) -> Self {
        let mut of_request = MessageIds::default();
        if A::full_name() == <() as Name>::full_name() {
            of_request.add(&R::full_name(), &request.encode_to_vec());
        }
        Self { answer: A::full_name(), of_request }
    }

    /// The ids as the log shows them, at most three and the number of the others.
    pub fn text(mut self, answer: &[u8]) -> Option<Arc<str>> {
        self.of_request.add(&self.answer, answer);
        self.of_request.text().map(Arc::from)
    }
}
