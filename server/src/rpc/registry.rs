//! The methods of the service by path and by request type: the one list of what can be called.
//!
//! Each resource adds its requests in its `mod.rs`; code that dispatches by a request's type, or
//! needs a method before its handler runs, uses it.

use std::collections::HashMap;

use bookstore_proto::{
    DESCRIPTOR_POOL,
    bounds::{self, Measure},
    codec::{self, Refusal},
};
use bookstore_store::Write;
use prost::Name;
use prost_reflect::{MethodDescriptor, prost_types::method_options::IdempotencyLevel};

use super::{
    calls::Calls,
    method::{CallMeter, EntryMethod, Method, MethodKind},
    refused::Refused,
    request::{Read, ReadRequest, WriteRequest},
    rules::field_violations,
};

/// A request that was decoded and checked, ready to run on a connection.
pub enum Prepared {
    /// A query.
    Read(Box<dyn Read>),
    /// An operation.
    Write(Box<dyn Write>),
}

/// Decodes and checks an encoded request.
type Prepare = fn(&Calls, Option<&str>, &[u8], Option<Measure>) -> Result<Prepared, Refused>;

/// A method with what decodes its requests.
pub struct Registered {
    /// The method.
    pub method: Method,
    prepare: Prepare,
}

/// All methods.
#[derive(Default)]
pub struct Registry {
    methods: Vec<Registered>,
    by_request: HashMap<String, usize>,
    /// The paths, by their lengths and then by their texts. Every layer of a call looks its method
    /// up, and most lengths occur once or twice.
    by_path: Vec<(&'static str, usize)>,
    unknown: Vec<String>,
}

impl Registry {
    /// Adds the method that takes this reading request.
    pub fn read<R: ReadRequest>(&mut self) {
        self.add::<R>(MethodKind::Read, |calls, principal, bytes, measure| {
            let request = decode::<R>(bytes, measure)?;
            Ok(Prepared::Read(Box::new(calls.prepare_read(request, principal, None)?)))
        });
    }

    /// Adds the method that takes this reading request and can't be part of a transaction.
    pub fn read_alone<R: ReadRequest>(&mut self) {
        self.read::<R>();
        if let Some(&index) = self.by_request.get(&R::full_name()) {
            self.methods[index].method.stands_alone = true;
        }
    }

    /// Adds the method that takes this writing request.
    pub fn write<R: WriteRequest>(&mut self) {
        self.add::<R>(MethodKind::Write, |calls, principal, bytes, measure| {
            let request = decode::<R>(bytes, measure)?;
            Ok(Prepared::Write(Box::new(calls.prepare_write(request, principal)?)))
        });
    }

    /// Adds a method that its service implements itself; it can't be prepared.
    pub fn direct<R: Name>(&mut self) {
        self.add::<R>(MethodKind::Direct, |_, _, _, _| Err(Refused::Malformed));
    }

    fn add<R: Name>(&mut self, kind: MethodKind, prepare: Prepare) {
        let request = R::full_name();
        match contract().find(|method| method.input().full_name() == request) {
            Some(method) => {
                // There are a few dozen of them, for as long as the program runs.
                let path: &'static str = path(&method).leak();
                let answer = method.output().full_name().to_owned();
                let unary = !method.is_client_streaming() && !method.is_server_streaming();
                let streams_requests = method.is_client_streaming();
                let name = request.as_str().into();
                let options = method.method_descriptor_proto().options.as_ref();
                let level = options.map(|options| options.idempotency_level());
                let idempotent = level.is_some_and(|it| it != IdempotencyLevel::IdempotencyUnknown);
                let entries = entries(&method);
                let method = Method {
                    path,
                    kind,
                    stands_alone: kind == MethodKind::Direct,
                    answer,
                    unary,
                    streams_requests,
                    request: name,
                    idempotent,
                    calls: CallMeter::new(path),
                    entries,
                };
                let index = self.methods.len();
                self.methods.push(Registered { method, prepare });
                self.by_request.insert(request, index);
                if let Err(place) = self.place(path) {
                    self.by_path.insert(place, (path, index));
                }
            }
            None => self.unknown.push(request),
        }
    }

    /// Makes sure that the registry and the contract hold the same methods.
    ///
    /// # Errors
    /// Names the first method that only one of them has, which is an error of the build.
    pub fn complete(self) -> Result<Self, String> {
        if let Some(request) = self.unknown.first() {
            return Err(format!("no method takes {request}"));
        }
        for method in contract() {
            let path = path(&method);
            let Some(registered) = self.at(&path) else {
                return Err(format!("{path} isn't registered"));
            };
            // Otherwise a policy couldn't judge the entries.
            if method.name().starts_with(BATCH) && registered.entries.is_none() {
                return Err(format!("no method does for one what {path} does for many"));
            }
        }
        Ok(self)
    }

    /// All methods.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter().map(|registered| &registered.method)
    }

    /// The method at a path.
    pub fn at(&self, path: &str) -> Option<&Method> {
        let (_, index) = self.by_path.get(self.place(path).ok()?)?;
        self.methods.get(*index).map(|registered| &registered.method)
    }

    /// The method that takes a request type, by the type's full name.
    pub fn taking(&self, request: &str) -> Option<&Registered> {
        self.by_request.get(request).and_then(|index| self.methods.get(*index))
    }

    /// Where a path stands, or where it would.
    fn place(&self, path: &str) -> Result<usize, usize> {
        let order = |(other, _): &(&'static str, usize)| {
            other.len().cmp(&path.len()).then_with(|| (*other).cmp(path))
        };
        self.by_path.binary_search_by(order)
    }
}

impl Registered {
    /// Decodes and checks an encoded request of the method, which a principal sends.
    ///
    /// # Errors
    /// All its violations.
    pub fn prepare(
        &self,
        calls: &Calls,
        principal: Option<&str>,
        request: &[u8],
    ) -> Result<Prepared, Refused> {
        self.prepare_measured(calls, principal, request, self.measure(request))
    }

    /// The same for a request whose measure is known.
    ///
    /// # Errors
    /// All its violations.
    pub fn prepare_measured(
        &self,
        calls: &Calls,
        principal: Option<&str>,
        request: &[u8],
        measure: Option<Measure>,
    ) -> Result<Prepared, Refused> {
        (self.prepare)(calls, principal, request, measure)
    }

    /// Measures an encoded request of the method.
    pub fn measure(&self, request: &[u8]) -> Option<Measure> {
        bounds::measure(self.method.request.strip_prefix("bookstore.v1.")?, request)
    }
}

fn decode<R: Name + Default>(bytes: &[u8], measure: Option<Measure>) -> Result<R, Refused> {
    codec::decode_measured(bytes, measure).map_err(|refusal| match refusal {
        Refusal::Malformed(_) => Refused::Malformed,
        Refusal::TooLarge(violations) => Refused::Invalid(field_violations(violations)),
    })
}

/// The full name of the message that answers the method at a path.
pub fn answer_of(method: &str) -> Option<String> {
    let found = contract().find(|it| path(it) == method)?;
    Some(found.output().full_name().to_owned())
}

/// What the names of methods begin with that do for many what another one does for one (AIP-231 to
/// 235).
const BATCH: &str = "Batch";

/// The method that does for one entry what this one does for many: the one that takes a message of
/// the field `requests`, or the Get that answers a message of the answer's list.
fn entries(method: &MethodDescriptor) -> Option<EntryMethod> {
    if !method.name().starts_with(BATCH) {
        return None;
    }
    let requests = method.input().get_field_by_name("requests").map(|field| field.kind());
    let (one, field) = match requests.as_ref().and_then(|kind| kind.as_message()) {
        Some(request) => (contract().find(|it| it.input() == *request), "requests[0]"),
        None => {
            let answer = method.output();
            let lists = answer.fields().filter(|field| field.is_list());
            let resources = lists.filter_map(|field| field.kind().as_message().cloned());
            let resources: Vec<_> = resources.collect();
            let mut own = method.parent_service().methods().collect::<Vec<_>>().into_iter();
            let get =
                own.find(|it| it.name().starts_with("Get") && resources.contains(&it.output()));
            (get, "ids[0]")
        }
    };
    // As those of the methods, for as long as the program runs.
    one.map(|one| EntryMethod { path: path(&one).leak(), field })
}

/// The methods of the contract; each request type belongs to one of them.
fn contract() -> impl Iterator<Item = MethodDescriptor> {
    let services = DESCRIPTOR_POOL.services().filter(|it| it.package_name() == "bookstore.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>())
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}
