//! Large answers without their resources: each resource is replaced by its id, and put back from
//! a batch read.
//!
//! A resource is a message type that a `BatchGet` method returns. All functions work on encoded
//! messages and pass over what they can't read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use prost_reflect::{Kind, MethodDescriptor};

use crate::{
    DESCRIPTOR_POOL,
    bounds::{
        shapes::{Inside, SHAPES, Shape, is_ours},
        wire::{for_each, next, put},
    },
};

/// The number of the field `id` in every resource.
const ID: u32 = 1;

/// The deepest nesting. prost decodes no more than 100 levels.
const DEPTH: u32 = 100;

/// How resources of one type are read.
struct Reader {
    /// The full name of the batch request, whose field 1 is the list of ids.
    request: String,
}

/// The resource types by full name.
static READERS: LazyLock<HashMap<String, Reader>> = LazyLock::new(|| {
    let services = DESCRIPTOR_POOL.services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.filter_map(|method| reader(&method)).collect()
});

fn reader(method: &MethodDescriptor) -> Option<(String, Reader)> {
    let (input, output) = (method.input(), method.output());
    if !method.name().starts_with("BatchGet") || !is_ours(&input) {
        return None;
    }
    input.get_field(ID).filter(|field| field.name() == "ids")?;
    let Kind::Message(resource) = output.get_field(1).filter(|it| it.is_list())?.kind() else {
        return None;
    };
    resource.get_field(ID).filter(|field| field.name() == "id")?;
    Some((resource.full_name().to_owned(), Reader { request: input.full_name().to_owned() }))
}

/// A resource: the full name of its type and its id.
pub type Resource = (String, String);

/// The answer with nothing but the id in each resource. `name` is the full name of its type.
pub fn abridge(name: &str, answer: &[u8]) -> Vec<u8> {
    let mut id_alone = |_: &str, resource: &[u8]| {
        let mut short = Vec::new();
        put(ID, id(resource), &mut short);
        short
    };
    replaced(name, answer, &mut id_alone, 0)
}

/// The ids in an abridged answer, by the type of the resource, each once.
pub fn ids(name: &str, abridged: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut note = |kind: &str, resource: &[u8]| {
        if let Ok(id) = str::from_utf8(id(resource)) {
            all.entry(kind.to_owned()).or_default().push(id.to_owned());
        }
        Vec::new()
    };
    replaced(name, abridged, &mut note, 0);
    for ids in all.values_mut() {
        ids.sort_unstable();
        ids.dedup();
    }
    all
}

/// The abridged answer with the resources that were found put back. The others stay ids.
pub fn restore(name: &str, abridged: &[u8], found: &HashMap<Resource, Vec<u8>>) -> Vec<u8> {
    let mut whole = |kind: &str, resource: &[u8]| {
        let id = String::from_utf8_lossy(id(resource)).into_owned();
        let found = found.get(&(kind.to_owned(), id));
        found.map_or_else(|| resource.to_vec(), Clone::clone)
    };
    replaced(name, abridged, &mut whole, 0)
}

/// The batch request that reads resources of a type: its full name, and the encoded message.
pub fn batch_get(kind: &str, ids: &[String]) -> Option<(&'static str, Vec<u8>)> {
    let reader = READERS.get(kind)?;
    let mut request = Vec::new();
    ids.iter().for_each(|id| put(1, id.as_bytes(), &mut request));
    Some((&reader.request, request))
}

/// The resources in the response of a batch request.
pub fn batch_got(kind: &str, response: &[u8]) -> Vec<(Resource, Vec<u8>)> {
    let mut all = Vec::new();
    for_each(response, |tag, part| {
        if tag == 1 {
            let id = String::from_utf8_lossy(id(part)).into_owned();
            all.push(((kind.to_owned(), id), part.to_vec()));
        }
    });
    all
}

type Replace<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Vec<u8>;

fn replaced(name: &str, bytes: &[u8], replace: Replace<'_>, depth: u32) -> Vec<u8> {
    if READERS.contains_key(name) {
        return replace(name, bytes);
    }
    match SHAPES.get(name).filter(|_| depth <= DEPTH) {
        Some(shape) => replaced_inside(shape, bytes, replace, depth),
        None => bytes.to_vec(),
    }
}

fn replaced_inside(shape: &Shape, bytes: &[u8], replace: Replace<'_>, depth: u32) -> Vec<u8> {
    let (mut all, mut rest) = (Vec::new(), bytes);
    loop {
        let before = rest;
        let Some((tag, part)) = next(&mut rest) else { break };
        let inside = shape.fields.get(&tag).map(|field| &field.inside);
        let inner = match (inside, part) {
            (Some(Inside::Message(name)), Some(part)) => {
                Some(replaced(name, part, &mut *replace, depth + 1))
            }
            (Some(Inside::Any), Some(part)) => Some(in_any(part, &mut *replace, depth + 1)),
            _ => None,
        };
        match inner {
            Some(inner) => put(tag, &inner, &mut all),
            None => all.extend_from_slice(&before[..before.len() - rest.len()]),
        }
    }
    all
}

/// A `google.protobuf.Any`: its type is field 1, its value field 2.
fn in_any(bytes: &[u8], replace: Replace<'_>, depth: u32) -> Vec<u8> {
    let (mut url, mut value) = (&[][..], &[][..]);
    for_each(bytes, |tag, part| match tag {
        1 => url = part,
        2 => value = part,
        _ => {}
    });
    let name = str::from_utf8(url).unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let mut all = Vec::new();
    put(1, url, &mut all);
    put(2, &replaced(name, value, replace, depth), &mut all);
    all
}

fn id(resource: &[u8]) -> &[u8] {
    let mut id = &[][..];
    let mut rest = resource;
    while let Some((tag, part)) = next(&mut rest) {
        if let (ID, Some(part)) = (tag, part) {
            id = part;
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use prost::{Message, Name};

    use super::*;
    use crate::v1::{BatchCreateBooksResponse, BatchGetBooksRequest, Book, ExecuteResponse};

    fn book(id: &str) -> Book {
        Book { id: id.to_owned(), title: format!("The title of {id}"), ..Default::default() }
    }

    #[test]
    fn resources_become_ids_and_come_back() {
        let answer = BatchCreateBooksResponse { books: vec![book("a"), book("b"), book("c")] };
        let any = prost_types::Any {
            type_url: format!("type.googleapis.com/{}", BatchCreateBooksResponse::full_name()),
            value: answer.encode_to_vec(),
        };
        let execute = ExecuteResponse { responses: vec![any.clone(), any] };
        for (name, whole) in [
            (BatchCreateBooksResponse::full_name(), answer.encode_to_vec()),
            (Book::full_name(), book("a").encode_to_vec()),
            (ExecuteResponse::full_name(), execute.encode_to_vec()),
        ] {
            let short = abridge(&name, &whole);
            assert!(short.len() < whole.len() && !short.windows(5).any(|it| it == b"title"));
            let ids = ids(&name, &short);
            let books = &ids[&Book::full_name()];
            let found = books.iter().map(|id| book(id).encode_to_vec());
            let found = books.iter().map(|id| (Book::full_name(), id.clone())).zip(found);
            assert_eq!(restore(&name, &short, &found.collect()), whole, "{name}");
            assert_eq!(restore(&name, &short, &HashMap::new()), short, "none is there any more");
        }
    }

    #[test]
    fn a_batch_reads_them() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let (name, request) = batch_get(&Book::full_name(), &ids).unwrap();
        assert_eq!(name, BatchGetBooksRequest::full_name());
        let request = BatchGetBooksRequest::decode(request.as_slice()).unwrap();
        assert_eq!(request.ids, ids);
        let answer = BatchCreateBooksResponse { books: vec![book("a")] }.encode_to_vec();
        let key = (Book::full_name(), "a".to_owned());
        assert_eq!(batch_got(&Book::full_name(), &answer), [(key, book("a").encode_to_vec())]);
    }
}
