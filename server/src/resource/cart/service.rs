//! `CartService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    AddCartItemRequest, Cart, CheckoutRequest, ClearCartRequest, GetCartRequest, ListCartsRequest,
    ListCartsResponse, Order, RemoveCartItemRequest, UpdateCartItemRequest,
    cart_service_server::{CartService, CartServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(CartServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl CartService for Service {
    async fn get_cart(&self, request: Request<GetCartRequest>) -> Result<Response<Cart>, Status> {
        self.0.read(request).await
    }

    async fn list_carts(
        &self,
        request: Request<ListCartsRequest>,
    ) -> Result<Response<ListCartsResponse>, Status> {
        self.0.read(request).await
    }

    async fn add_item(
        &self,
        request: Request<AddCartItemRequest>,
    ) -> Result<Response<Cart>, Status> {
        self.0.write(request).await
    }

    async fn update_item(
        &self,
        request: Request<UpdateCartItemRequest>,
    ) -> Result<Response<Cart>, Status> {
        self.0.write(request).await
    }

    async fn remove_item(
        &self,
        request: Request<RemoveCartItemRequest>,
    ) -> Result<Response<Cart>, Status> {
        self.0.write(request).await
    }

    async fn clear(&self, request: Request<ClearCartRequest>) -> Result<Response<Cart>, Status> {
        self.0.write(request).await
    }

    async fn checkout(&self, request: Request<CheckoutRequest>) -> Result<Response<Order>, Status> {
        self.0.write(request).await
    }
}
