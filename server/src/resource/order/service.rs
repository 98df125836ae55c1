//! `OrderService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, ConfirmOrderRequest,
    DeliverOrderRequest, GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order,
    PlaceOrderRequest, ShipOrderRequest,
    order_service_server::{OrderService, OrderServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(OrderServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl OrderService for Service {
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.read(request).await
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_get_orders(
        &self,
        request: Request<BatchGetOrdersRequest>,
    ) -> Result<Response<BatchGetOrdersResponse>, Status> {
        self.0.read(request).await
    }

    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }

    async fn confirm_order(
        &self,
        request: Request<ConfirmOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }

    async fn ship_order(
        &self,
        request: Request<ShipOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }

    async fn deliver_order(
        &self,
        request: Request<DeliverOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }
}
