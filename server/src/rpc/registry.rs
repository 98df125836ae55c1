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
    method::{CallMeter, Method, MethodKind},
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
type Prepare = fn(&Calls, &[u8], Option<Measure>) -> Result<Prepared, Refused>;

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
        self.add::<R>(MethodKind::Read, |calls, bytes, measure| {
            Ok(Prepared::Read(Box::new(calls.prepare_read(decode::<R>(bytes, measure)?, None)?)))
        });
    }

    /// Adds the method that takes this writing request.
    pub fn write<R: WriteRequest>(&mut self) {
        self.add::<R>(MethodKind::Write, |calls, bytes, measure| {
            Ok(Prepared::Write(Box::new(calls.prepare_write(decode::<R>(bytes, measure)?)?)))
        });
    }

    /// Adds a method that its service implements itself; it can't be prepared.
    pub fn direct<R: Name>(&mut self) {
        self.add::<R>(MethodKind::Direct, |_, _, _| Err(Refused::Malformed));
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
                let method = Method {
                    path,
                    kind,
                    answer,
                    unary,
                    streams_requests,
                    request: name,
                    idempotent,
                    calls: CallMeter::new(path),
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
        match contract().map(|method| path(&method)).find(|path| self.at(path).is_none()) {
            Some(path) => Err(format!("{path} isn't registered")),
            None => Ok(self),
        }
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
    /// Decodes and checks an encoded request of the method.
    ///
    /// # Errors
    /// All its violations.
    pub fn prepare(&self, calls: &Calls, request: &[u8]) -> Result<Prepared, Refused> {
        self.prepare_measured(calls, request, self.measure(request))
    }

    /// The same for a request whose measure is known.
    ///
    /// # Errors
    /// All its violations.
    pub fn prepare_measured(
        &self,
        calls: &Calls,
        request: &[u8],
        measure: Option<Measure>,
    ) -> Result<Prepared, Refused> {
        (self.prepare)(calls, request, measure)
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

/// The methods of the contract; each request type belongs to one of them.
fn contract() -> impl Iterator<Item = MethodDescriptor> {
    let services = DESCRIPTOR_POOL.services().filter(|it| it.package_name() == "bookstore.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>())
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}
