//! The ids that a write has made or changed, for the line of its call in the log.

use std::sync::Arc;

use bookstore_proto::{
    ids::MessageIds,
    v1::{ExecuteRequest, ExecuteResponse},
};
use prost::{Message, Name};

/// Where the ids of a write are found: in its response, or in its request if the response is empty, as
/// after a deletion.
#[derive(Debug, Default)]
pub struct WrittenIds {
    answer: String,
    of_request: MessageIds,
    of_parts: Vec<MessageIds>,
}

impl WrittenIds {
    /// Of a request that is answered with `A`.
    pub fn of<R: Message + Name, A: Name>(request: &R) -> Self {
        let mut of_request = MessageIds::default();
        if A::full_name() == <() as Name>::full_name() {
            of_request.add(&R::full_name(), &request.encode_to_vec());
        }
        Self { answer: A::full_name(), of_request, of_parts: Vec::new() }
    }

    /// Of the requests of an Execute. Each has its ids in its own response, or in itself.
    pub fn of_execute(request: &ExecuteRequest) -> Self {
        let parts = request.requests.iter();
        let of_parts = parts.map(|part| MessageIds::of_part(&part.type_url, &part.value)).collect();
        let (answer, of_request) = (ExecuteResponse::full_name(), MessageIds::default());
        Self { answer, of_request, of_parts }
    }

    /// The ids as the log shows them, at most three and the number of the others.
    pub fn text(self, answer: &[u8]) -> Option<Arc<str>> {
        let mut ids = self.of_request;
        if self.of_parts.is_empty() {
            ids.add(&self.answer, answer);
        } else {
            for (answered, asked) in
                MessageIds::of_parts(&self.answer, answer).iter().zip(&self.of_parts)
            {
                ids.extend(if answered.count == 0 { asked } else { answered });
            }
        }
        ids.text().map(Arc::from)
    }
}
