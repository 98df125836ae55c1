//! `PostService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchCreatePostsRequest, BatchCreatePostsResponse, BatchDeletePostsRequest,
    BatchGetPostsRequest, BatchGetPostsResponse, BatchUpdatePostsRequest, BatchUpdatePostsResponse,
    CreatePostRequest, DeletePostRequest, GetPostRequest, ListPostsRequest, ListPostsResponse,
    Post, UpdatePostRequest,
    post_service_server::{PostService, PostServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(PostServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl PostService for Service {
    async fn get_post(&self, request: Request<GetPostRequest>) -> Result<Response<Post>, Status> {
        self.0.read(request).await
    }

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<ListPostsResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<Post>, Status> {
        self.0.write(request).await
    }

    async fn update_post(
        &self,
        request: Request<UpdatePostRequest>,
    ) -> Result<Response<Post>, Status> {
        self.0.write(request).await
    }

    async fn delete_post(
        &self,
        request: Request<DeletePostRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_posts(
        &self,
        request: Request<BatchGetPostsRequest>,
    ) -> Result<Response<BatchGetPostsResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_posts(
        &self,
        request: Request<BatchCreatePostsRequest>,
    ) -> Result<Response<BatchCreatePostsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_posts(
        &self,
        request: Request<BatchUpdatePostsRequest>,
    ) -> Result<Response<BatchUpdatePostsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_posts(
        &self,
        request: Request<BatchDeletePostsRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }
}
