//! `TransactionService` as tonic calls it.

use std::sync::Arc;

use bookstore_proto::v1::{
    ExecuteRequest, ExecuteResponse, GetOutcomeRequest, GetOutcomeResponse,
    transaction_service_server::{TransactionService, TransactionServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use super::convert;
use crate::rpc::{calls::Calls, registry::Registry};

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls, registry: Arc<Registry>) {
    let limit = calls.max_message_size();
    let service = TransactionServiceServer::new(Service { calls, registry });
    routes.add_service(service.max_decoding_message_size(limit));
}

struct Service {
    calls: Calls,
    registry: Arc<Registry>,
}

#[async_trait]
impl TransactionService for Service {
    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        convert::execute(&self.calls, &self.registry, request).await
    }

    async fn get_outcome(
        &self,
        request: Request<GetOutcomeRequest>,
    ) -> Result<Response<GetOutcomeResponse>, Status> {
        self.calls.write(request).await
    }
}
