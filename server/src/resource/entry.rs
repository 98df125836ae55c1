//! The registration of a resource.

use bookstore_query::field::ResourceFields;
use tonic::service::RoutesBuilder;

use crate::rpc::{calls::Calls, registry::Registry};

/// The registration of a resource: its health name, its methods, its service.
pub struct Entry {
    /// The service's full name, which is also its name in health checks.
    pub name: &'static str,
    /// The fields by which its lists filter and sort; none if there is no list.
    pub fields: Option<ResourceFields>,
    /// Adds the methods to the registry.
    pub register: fn(&mut Registry),
    /// Adds the service to the server.
    pub serve: fn(&mut RoutesBuilder, Calls),
}
