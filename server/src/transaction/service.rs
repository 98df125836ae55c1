//! `TransactionService` as tonic calls it.

use std::sync::Arc;

use bookstore_proto::v1::{
    ExecuteRequest, ExecuteResponse, GetOutcomeRequest, GetOutcomeResponse, TransactRequest,
    TransactResponse,
    transaction_service_server::{TransactionService, TransactionServiceServer},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait, service::RoutesBuilder};

use super::{convert, limits::TransactionLimits, session};
use crate::rpc::{calls::Calls, registry::Registry};

/// Adds the service to the server.
pub fn serve(
    routes: &mut RoutesBuilder,
    calls: Calls,
    registry: Arc<Registry>,
    limits: TransactionLimits,
) {
    let limit = calls.max_message_size();
    let service = TransactionServiceServer::new(Service { calls, registry, limits });
    routes.add_service(service.max_decoding_message_size(limit));
}

struct Service {
    calls: Calls,
    registry: Arc<Registry>,
    limits: TransactionLimits,
}

#[async_trait]
impl TransactionService for Service {
    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        convert::execute(&self.calls, &self.registry, request).await
    }

    type TransactStream = ReceiverStream<Result<TransactResponse, Status>>;

    async fn transact(
        &self,
        request: Request<Streaming<TransactRequest>>,
    ) -> Result<Response<Self::TransactStream>, Status> {
        session::transact(self.calls.clone(), self.registry.clone(), self.limits, request)
    }

    async fn get_outcome(
        &self,
        request: Request<GetOutcomeRequest>,
    ) -> Result<Response<GetOutcomeResponse>, Status> {
        self.calls.write(request).await
    }
}
