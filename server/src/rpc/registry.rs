//! The methods of the service by path and by request type: the one list of what can be called.
//!
//! Each resource adds its requests in its `mod.rs`; whatever dispatches by a request's type,
//! or has to know a method before its handler does, looks here.

use std::collections::HashMap;

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_store::Write;
use prost::Name;
use prost_reflect::MethodDescriptor;

use super::{
    calls::{Calls, Refused},
    request::{Read, ReadRequest, WriteRequest},
};

/// A method of the service.
pub struct Method {
    /// Its path: `/bookstore.v1.BookService/GetBook`.
    pub path: &'static str,
    /// Whether it changes anything.
    pub kind: MethodKind,
    /// The full name of the message that answers it.
    pub answer: String,
    /// Whether it takes one message and answers one.
    pub unary: bool,
    /// Decodes and checks an encoded request.
    prepare: fn(&Calls, &[u8]) -> Result<Prepared, Refused>,
}

/// Whether a method changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// It only reads: any fresh node may answer.
    Read,
    /// It writes: the primary alone may answer.
    Write,
    /// Its service carries it out by itself: a stream, or several methods at once.
    Direct,
}

/// A request that was decoded and checked, ready to run on a connection.
pub enum Prepared {
    /// A query.
    Read(Box<dyn Read>),
    /// An operation.
    Write(Box<dyn Write>),
}

/// All methods.
#[derive(Default)]
pub struct Registry {
    by_request: HashMap<String, Method>,
    by_path: HashMap<&'static str, String>,
    unknown: Vec<String>,
}

impl Registry {
    /// Adds the method that takes this reading request.
    pub fn read<R: ReadRequest>(&mut self) {
        self.add::<R>(MethodKind::Read, |calls, bytes| {
            Ok(Prepared::Read(Box::new(calls.prepare_read(decode::<R>(bytes)?, None)?)))
        });
    }

    /// Adds the method that takes this writing request.
    pub fn write<R: WriteRequest>(&mut self) {
        self.add::<R>(MethodKind::Write, |calls, bytes| {
            Ok(Prepared::Write(Box::new(calls.prepare_write(decode::<R>(bytes)?)?)))
        });
    }

    /// Adds a method that its service carries out by itself; it can't be prepared.
    pub fn direct<R: Name>(&mut self) {
        self.add::<R>(MethodKind::Direct, |_, _| Err(Refused::Malformed));
    }

    fn add<R: Name>(
        &mut self,
        kind: MethodKind,
        prepare: fn(&Calls, &[u8]) -> Result<Prepared, Refused>,
    ) {
        let request = R::full_name();
        match contract().find(|method| method.input().full_name() == request) {
            Some(method) => {
                // There are a few dozen of them, for as long as the program runs.
                let path: &'static str = path(&method).leak();
                self.by_path.insert(path, request.clone());
                let answer = method.output().full_name().to_owned();
                let unary = !method.is_client_streaming() && !method.is_server_streaming();
                let method = Method { path, kind, answer, unary, prepare };
                self.by_request.insert(request, method);
            }
            None => self.unknown.push(request),
        }
    }

    /// Makes sure that the registry and the contract hold the same methods.
    ///
    /// # Errors
    /// Names the first one that only one of them has: a fault of the build.
    pub fn complete(self) -> Result<Self, String> {
        if let Some(request) = self.unknown.first() {
            return Err(format!("no method takes {request}"));
        }
        match contract().map(|method| path(&method)).find(|path| self.at(path).is_none()) {
            Some(path) => Err(format!("{path} isn't registered")),
            None => Ok(self),
        }
    }

    /// All methods, in no order.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.by_request.values()
    }

    /// The method at a path.
    pub fn at(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).and_then(|request| self.by_request.get(request))
    }

    /// The method that takes a request type, by the type's full name.
    pub fn taking(&self, request: &str) -> Option<&Method> {
        self.by_request.get(request)
    }
}

impl Method {
    /// Decodes and checks an encoded request of the method.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn prepare(&self, calls: &Calls, request: &[u8]) -> Result<Prepared, Refused> {
        (self.prepare)(calls, request)
    }
}

fn decode<R: Name + Default>(bytes: &[u8]) -> Result<R, Refused> {
    R::decode(bytes).map_err(|_| Refused::Malformed)
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
