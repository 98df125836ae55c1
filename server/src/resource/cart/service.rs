//! `CartService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    Cart, GetCartRequest,
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
}
