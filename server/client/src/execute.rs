//! Several writes as one transaction in one call (Execute).

use bookstore_proto::v1::{ExecuteRequest, ExecuteResponse};
use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Request};

use crate::{client::Client, error::Error};

/// A message with its type's name, as a field of type `google.protobuf.Any` holds it.
#[must_use]
pub fn to_any<M: Message + Name>(message: &M) -> Any {
    let type_url = format!("type.googleapis.com/{}", M::full_name());
    Any { type_url, value: message.encode_to_vec() }
}

/// The message of a type that an `Any` holds.
///
/// # Errors
/// If it holds a message of another type.
pub fn from_any<M: Message + Name + Default>(any: &Any) -> Result<M, Error> {
    let name = any.type_url.rsplit_once('/').map_or(any.type_url.as_str(), |(_, name)| name);
    let message = (name == M::full_name()).then(|| M::decode(any.value.as_slice()).ok()).flatten();
    message.ok_or_else(|| {
        let message = format!("the answer is a {name} and no {}", M::full_name());
        Error::of_client(Code::Internal, message)
    })
}

/// Writes that are carried out in one transaction, in their order: all of them or none.
///
/// ```ignore
/// let answers = client.execute().request(&create_book).request(&create_category).send().await?;
/// let book: Book = answers.get(0)?;
/// ```
#[derive(Debug)]
pub struct Execute {
    client: Client,
    call: Request<ExecuteRequest>,
}

impl Execute {
    /// Adds the request of a method that writes. At most 1,000 can be added.
    #[must_use]
    pub fn request<M: Message + Name>(mut self, request: &M) -> Self {
        self.call.get_mut().requests.push(to_any(request));
        self
    }

    /// Sets the options of the call: a deadline, an idempotency key.
    #[must_use]
    pub fn with(
        self,
        set: impl FnOnce(Request<ExecuteRequest>) -> Request<ExecuteRequest>,
    ) -> Self {
        Self { call: set(self.call), ..self }
    }

    /// Carries them out. The transaction is serializable; it is repeated where it collides with
    /// others.
    ///
    /// # Errors
    /// That of the write that fails: its fields are named as `requests[3].book.title`.
    pub async fn send(self) -> Result<Responses, Error> {
        let answer = self.client.transactions().execute(self.call).await?;
        Ok(Responses(answer.into_inner()))
    }
}

/// The responses of the requests of an [`Execute`], in their order.
#[derive(Clone, Debug)]
pub struct Responses(ExecuteResponse);

impl Responses {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.responses.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.responses.is_empty()
    }

    /// The response at an index, counted from 0.
    ///
    /// # Errors
    /// If there is none, or it has another type.
    pub fn get<M: Message + Name + Default>(&self, index: usize) -> Result<M, Error> {
        let any = self.0.responses.get(index);
        let any = any.ok_or_else(|| {
            Error::of_client(Code::OutOfRange, format!("there is no response {index}"))
        })?;
        from_any(any)
    }
}

impl Client {
    /// Starts a builder of writes that are executed as one transaction.
    #[must_use]
    pub fn execute(&self) -> Execute {
        Execute { client: self.clone(), call: Request::new(ExecuteRequest::default()) }
    }
}

#[cfg(test)]
mod tests {
    use bookstore_proto::v1::{Book, Category};

    use super::*;

    #[test]
    fn an_any_holds_one_type() {
        let any = to_any(&Category { name: "Poetry".into(), ..Default::default() });
        assert_eq!(any.type_url, "type.googleapis.com/bookstore.v1.Category");
        assert_eq!(from_any::<Category>(&any).unwrap().name, "Poetry");
        assert_eq!(from_any::<Book>(&any).unwrap_err().code(), Code::Internal);
    }
}
