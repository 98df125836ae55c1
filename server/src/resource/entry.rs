//! What a resource's folder gives to the service.

use bookstore_query::field::ResourceFields;
use tonic::service::RoutesBuilder;

use crate::rpc::{calls::Calls, registry::Registry};

/// A resource's place in the service: its health name, its methods, its service.
pub struct Entry {
    /// The service's full name, which is also its name in health checks.
    pub name: &'static str,
    /// What its lists filter and sort by; none if there is no list.
    pub fields: Option<ResourceFields>,
    /// Adds the methods to the registry.
    pub register: fn(&mut Registry),
    /// Adds the service to the server.
    pub serve: fn(&mut RoutesBuilder, Calls),
}
