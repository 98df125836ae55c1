//! Messages that are held against their bounds.

use prost::Message as _;

use super::*;
use crate::v1::{BatchCreateBooksRequest, Book, CreateBookRequest, ExecuteRequest};

fn description(measure: &Measure) -> Vec<&str> {
    measure.violations.iter().map(|violation| violation.field.as_str()).collect()
}

/// A book whose attributes are a list of so many empty objects with a key each.
fn crowded(objects: usize) -> Book {
    let entry = [0x0a, 0x08, 0x2a, 0x06, 0x0a, 0x04, 0x0a, 0x00, 0x12, 0x00];
    let list = entry.repeat(objects);
    let mut value = vec![0x32];
    prost::encoding::encode_varint(list.len() as u64, &mut value);
    value.extend(list);
    let mut pair = vec![0x0a, 0x01, b'k', 0x12];
    prost::encoding::encode_varint(value.len() as u64, &mut pair);
    pair.extend(value);
    let mut data = vec![0x0a];
    prost::encoding::encode_varint(pair.len() as u64, &mut data);
    data.extend(pair);
    let attributes = prost_types::Struct::decode(&*data).unwrap();
    Book { attributes: Some(attributes), ..Book::default() }
}

#[test]
fn lists_are_counted_before_they_are_looked_into() {
    let bytes = [0x0a, 0].repeat(1_000);
    let measured = measure("BatchCreateBooksRequest", &bytes).unwrap();
    assert!(measured.violations.is_empty() && measured.decoded > 1_000 * MESSAGE);
    let bytes = [0x0a, 0].repeat(100_000);
    let measured = measure("BatchCreateBooksRequest", &bytes).unwrap();
    assert_eq!(description(&measured), ["requests"]);
    assert!(measured.decoded <= MESSAGE, "nothing was looked into");
    assert!(measure("Book", &bytes).is_none(), "no method takes it");
}

#[test]
fn requests_inside_others_are_measured_too() {
    let batch = BatchCreateBooksRequest { requests: vec![CreateBookRequest::default(); 900] };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/bookstore.v1.BatchCreateBooksRequest".to_owned(),
        value: batch.encode_to_vec(),
    };
    let execute = ExecuteRequest { requests: vec![any; 100] };
    let measured = measure("ExecuteRequest", &execute.encode_to_vec()).unwrap();
    assert!(measured.decoded > 90_000 * MESSAGE, "{}", measured.decoded);
}

#[test]
fn free_form_data_is_counted_by_its_values() {
    let create = |objects| {
        let book = Some(crowded(objects));
        CreateBookRequest { book, ..Default::default() }.encode_to_vec()
    };
    let measured = measure("CreateBookRequest", &create(1_000)).unwrap();
    assert!(measured.violations.is_empty(), "{:?}", measured.violations);
    assert!(measured.decoded > 1_000 * OBJECT);
    assert_eq!(measured.free_form[0].field, "book.attributes");
    let bytes = create(1_000);
    let inside = &bytes[measured.free_form[0].bytes.clone()];
    assert_eq!(Some(prost_types::Struct::decode(inside).unwrap()), crowded(1_000).attributes);
    let measured = measure("CreateBookRequest", &create(11_000)).unwrap();
    assert_eq!(description(&measured), ["book.attributes"]);
}

#[test]
fn what_is_kept_of_a_request_depends_on_no_password() {
    use crate::v1::{CreateUserRequest, User};
    let create = |name: &str, password: &str| {
        let (username, password) = (name.to_owned(), password.to_owned());
        CreateUserRequest {
            user: Some(User { username, password, ..User::default() }),
            id: "x".to_owned(),
        }
        .encode_to_vec()
    };
    let kept = |bytes: &[u8]| without_passwords("CreateUserRequest", bytes);
    assert_eq!(kept(&create("a", "short")), kept(&create("a", "a far longer password")));
    assert_ne!(kept(&create("a", "short")), kept(&create("b", "short")));
    let within = |password| ExecuteRequest {
        requests: vec![prost_types::Any {
            type_url: "type.googleapis.com/bookstore.v1.CreateUserRequest".to_owned(),
            value: create("a", password),
        }],
    };
    let kept = |password| without_passwords("ExecuteRequest", &within(password).encode_to_vec());
    assert_eq!(kept("short"), kept("a far longer password"));
    let books = BatchCreateBooksRequest { requests: vec![CreateBookRequest::default(); 3] };
    let bytes = books.encode_to_vec();
    assert_eq!(without_passwords("BatchCreateBooksRequest", &bytes), bytes);
}

#[test]
fn passwords_are_counted_wherever_they_are() {
    use crate::v1::{BatchCreateUsersRequest, CreateUserRequest, User};
    let user = User { password: "correct horse".to_owned(), ..User::default() };
    let one = CreateUserRequest { user: Some(user), ..Default::default() };
    let batch = BatchCreateUsersRequest { requests: vec![one; 60] };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/bookstore.v1.BatchCreateUsersRequest".to_owned(),
        value: batch.encode_to_vec(),
    };
    let measured = |count| {
        let execute = ExecuteRequest { requests: vec![any.clone(); count] };
        measure("ExecuteRequest", &execute.encode_to_vec()).unwrap()
    };
    assert_eq!((measured(1).passwords, measured(1).violations.len()), (60, 0));
    assert_eq!(description(&measured(2)), ["requests"]);
}

#[test]
fn bytes_that_cannot_be_read_are_left_to_the_decoder() {
    for bytes in [&[0x0a][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff; 20]] {
        assert!(measure("CreateBookRequest", bytes).unwrap().violations.is_empty());
    }
}
