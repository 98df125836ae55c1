//! How the suite talks to the service: clients, requests written as JSON, and parsed errors.

use std::{collections::HashMap, fmt::Debug};

use bookstore_proto::v1::{
    self, book_service_client::BookServiceClient, category_service_client::CategoryServiceClient,
};
use bookstore_tests::{Engine, TestServer};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use serde_json::{Value, json};
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt;

/// A client of `BookService`.
pub(crate) type Books = BookServiceClient<Channel>;

/// A client of `CategoryService`.
pub(crate) type Categories = CategoryServiceClient<Channel>;

/// Categories that the first migration creates.
pub(crate) const FICTION: &str = "01930000-0000-7000-8000-000000000001";
pub(crate) const SCIENCE: &str = "01930000-0000-7000-8000-000000000003";

pub(crate) fn books(server: &TestServer) -> Books {
    Books::new(server.channel())
}

pub(crate) fn categories(server: &TestServer) -> Categories {
    Categories::new(server.channel())
}

/// A message of the contract from protobuf's JSON.
///
/// # Panics
/// If the JSON doesn't match the message.
#[track_caller]
pub(crate) fn message<M: ReflectMessage + Default>(json: Value) -> M {
    dynamic(M::default().descriptor(), json).transcode_to().expect("the same message")
}

#[track_caller]
pub(crate) fn dynamic(descriptor: MessageDescriptor, json: Value) -> DynamicMessage {
    let shown = json.to_string();
    DynamicMessage::deserialize(descriptor, json)
        .unwrap_or_else(|error| panic!("{error}: {}", shown.chars().take(500).collect::<String>()))
}

/// A field mask in JSON's form, from paths in the contract's form.
pub(crate) fn mask(paths: &[&str]) -> Value {
    let mut text = String::new();
    let mut upper = false;
    for c in paths.join(",").chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                text.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => text.push(c),
        }
    }
    json!(text)
}

/// A valid new book, as JSON.
pub(crate) fn a_book(title: &str) -> Value {
    json!({
        "title": title,
        "author": "Frank Herbert",
        "price": {"currency_code": "USD", "units": 12, "nanos": 990_000_000},
    })
}

/// JSON with some members replaced or added; null removes a member.
pub(crate) fn with(mut json: Value, members: Value) -> Value {
    let (Some(object), Value::Object(members)) = (json.as_object_mut(), members) else {
        panic!("two JSON objects");
    };
    for (name, value) in members {
        match value {
            Value::Null => object.remove(&name),
            value => object.insert(name, value),
        };
    }
    json
}

/// A unique id for each number.
pub(crate) fn id(number: u32) -> String {
    format!("0195a000-0000-4000-8000-{number:012x}")
}

/// An id as a literal of SQL.
pub(crate) fn literal(engine: Engine, id: &str) -> String {
    match engine {
        Engine::Postgres => format!("'{id}'"),
        Engine::Sqlite => format!("x'{}'", id.replace('-', "")),
    }
}

/// Creates a book; `book` as in [`a_book`].
#[track_caller]
pub(crate) fn create(id: &str, book: Value) -> v1::CreateBookRequest {
    message(json!({"id": id, "book": book}))
}

/// Creates books with the ids [`id`] of 1 and so on, in batches that fit a request.
pub(crate) async fn create_all(books: &mut Books, all: &[Value]) -> Vec<v1::Book> {
    let mut created = Vec::new();
    let mut number = 0;
    for piece in all.chunks(50) {
        let requests = piece.iter().map(|book| {
            number += 1;
            create(&id(number), book.clone())
        });
        let request = v1::BatchCreateBooksRequest { requests: requests.collect() };
        let answer = books.batch_create_books(request).await.expect("a batch of books");
        created.extend(answer.into_inner().books);
    }
    created
}

/// A parsed error.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) reason: String,
    pub(crate) domain: String,
    /// The metadata of `ErrorInfo`.
    pub(crate) metadata: HashMap<String, String>,
    /// The fields of `BadRequest`, each once, in their order.
    pub(crate) fields: Vec<String>,
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let info =
            details.error_info().cloned().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let mut fields: Vec<String> = Vec::new();
        for violation in violations.unwrap_or_default() {
            if !fields.contains(&violation.field) {
                fields.push(violation.field.clone());
            }
        }
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.reason,
            domain: info.domain,
            metadata: info.metadata,
            fields,
        }
    }
}

impl Refusal {
    /// Fails unless code, reason and the set of fields are these.
    #[track_caller]
    pub(crate) fn is(&self, code: Code, reason: &str, fields: &[&str]) -> &Self {
        assert_eq!((self.code, self.reason.as_str()), (code, reason), "{self:?}");
        let (mut actual, mut wanted) = (self.fields.clone(), fields.to_vec());
        actual.sort();
        wanted.sort_unstable();
        assert_eq!(actual, wanted, "{self:?}");
        self
    }

    /// Fails unless these fields, and no others, break rules of the contract.
    #[track_caller]
    pub(crate) fn is_invalid(&self, fields: &[&str]) -> &Self {
        self.is(Code::InvalidArgument, "FIELD_INVALID", fields)
    }

    /// Fails unless a resource is missing, named at these fields.
    #[track_caller]
    pub(crate) fn is_missing(&self, fields: &[&str]) -> &Self {
        self.is(Code::NotFound, "RESOURCE_NOT_FOUND", fields)
    }

    /// Fails unless references at these fields point to no row.
    #[track_caller]
    pub(crate) fn has_no_reference(&self, fields: &[&str]) -> &Self {
        self.is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND", fields)
    }

    /// Fails unless the values of these fields violate uniqueness.
    #[track_caller]
    pub(crate) fn is_taken(&self, fields: &[&str]) -> &Self {
        self.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS", fields)
    }

    /// Fails unless the etag at this field is outdated.
    #[track_caller]
    pub(crate) fn is_stale(&self, field: &str) -> &Self {
        self.is(Code::Aborted, "ETAG_MISMATCH", &[field])
    }

    /// Fails unless `ErrorInfo` has this metadata.
    #[track_caller]
    pub(crate) fn says(&self, key: &str, value: &str) -> &Self {
        assert_eq!(self.metadata.get(key).map(String::as_str), Some(value), "{self:?}");
        self
    }
}

/// The error of a call that must fail.
#[track_caller]
pub(crate) fn refused<T: Debug>(answer: Result<Response<T>, Status>) -> Refusal {
    match answer {
        Err(status) => Refusal::from(&status),
        Ok(answer) => panic!("the call succeeded: {:?}", answer.get_ref()),
    }
}

/// The answer of a call that must succeed.
#[track_caller]
pub(crate) fn done<T>(answer: Result<Response<T>, Status>) -> T {
    match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => panic!("refused: {:?}", Refusal::from(&status)),
    }
}
