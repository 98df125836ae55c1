//! Transactions over the wire: several writes as one, and the outcome of writes.

mod convert;
mod limits;
mod operations;
mod service;
mod session;
mod timing;
mod written;

use std::sync::Arc;

use bookstore_proto::v1::{
    ExecuteRequest, GetOutcomeRequest, TransactRequest, transaction_service_server,
};
use tonic::service::RoutesBuilder;

pub use self::limits::TransactionLimits;
use crate::rpc::{calls::Calls, registry::Registry};

/// The service's full name, which is also its name in health checks.
pub const NAME: &str = transaction_service_server::SERVICE_NAME;

/// Adds the methods to the registry. None can be part of another transaction.
pub fn register(registry: &mut Registry) {
    registry.direct::<ExecuteRequest>();
    registry.direct::<TransactRequest>();
    registry.direct::<GetOutcomeRequest>();
}

/// Adds the service to the server. It carries out the methods of the registry.
pub fn serve(
    routes: &mut RoutesBuilder,
    calls: Calls,
    registry: Arc<Registry>,
    limits: TransactionLimits,
) {
    service::serve(routes, calls, registry, limits);
}
