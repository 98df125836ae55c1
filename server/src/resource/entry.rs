//! The registration of a resource.

use bookstore_query::list::ListDefinition;
use tonic::service::RoutesBuilder;

use crate::rpc::{calls::Calls, registry::Registry};

/// The registration of a resource: its health name, its methods, its service.
pub struct Entry {
    /// The service's full name, which is also its name in health checks.
    pub name: &'static str,
    /// Its list, with the fields to filter and sort by; none if there is no list.
    pub list: Option<ListDefinition>,
    /// Adds the methods to the registry.
    pub register: fn(&mut Registry),
    /// Adds the service to the server.
    pub serve: fn(&mut RoutesBuilder, Calls),
}
