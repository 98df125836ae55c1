//! `ItemService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchCreateItemsRequest, BatchCreateItemsResponse, BatchDeleteItemsRequest,
    BatchGetItemsRequest, BatchGetItemsResponse, BatchUpdateItemsRequest, BatchUpdateItemsResponse,
    CreateItemRequest, DeleteItemRequest, GetItemRequest, Item, ListItemsRequest,
    ListItemsResponse, UpdateItemRequest,
    item_service_server::{ItemService, ItemServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(ItemServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl ItemService for Service {
    async fn get_item(&self, request: Request<GetItemRequest>) -> Result<Response<Item>, Status> {
        self.0.read(request).await
    }

    async fn list_items(
        &self,
        request: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_item(
        &self,
        request: Request<CreateItemRequest>,
    ) -> Result<Response<Item>, Status> {
        self.0.write(request).await
    }

    async fn update_item(
        &self,
        request: Request<UpdateItemRequest>,
    ) -> Result<Response<Item>, Status> {
        self.0.write(request).await
    }

    async fn delete_item(
        &self,
        request: Request<DeleteItemRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_items(
        &self,
        request: Request<BatchGetItemsRequest>,
    ) -> Result<Response<BatchGetItemsResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_items(
        &self,
        request: Request<BatchCreateItemsRequest>,
    ) -> Result<Response<BatchCreateItemsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_items(
        &self,
        request: Request<BatchUpdateItemsRequest>,
    ) -> Result<Response<BatchUpdateItemsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_items(
        &self,
        request: Request<BatchDeleteItemsRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }
}
