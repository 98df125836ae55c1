//! `ReviewService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchCreateReviewsRequest, BatchCreateReviewsResponse, BatchDeleteReviewsRequest,
    BatchGetReviewsRequest, BatchGetReviewsResponse, BatchUpdateReviewsRequest,
    BatchUpdateReviewsResponse, CreateReviewRequest, DeleteReviewRequest, GetReviewRequest,
    ListReviewsRequest, ListReviewsResponse, Review, UpdateReviewRequest,
    review_service_server::{ReviewService, ReviewServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(ReviewServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl ReviewService for Service {
    async fn get_review(
        &self,
        request: Request<GetReviewRequest>,
    ) -> Result<Response<Review>, Status> {
        self.0.read(request).await
    }

    async fn list_reviews(
        &self,
        request: Request<ListReviewsRequest>,
    ) -> Result<Response<ListReviewsResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_review(
        &self,
        request: Request<CreateReviewRequest>,
    ) -> Result<Response<Review>, Status> {
        self.0.write(request).await
    }

    async fn update_review(
        &self,
        request: Request<UpdateReviewRequest>,
    ) -> Result<Response<Review>, Status> {
        self.0.write(request).await
    }

    async fn delete_review(
        &self,
        request: Request<DeleteReviewRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_reviews(
        &self,
        request: Request<BatchGetReviewsRequest>,
    ) -> Result<Response<BatchGetReviewsResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_reviews(
        &self,
        request: Request<BatchCreateReviewsRequest>,
    ) -> Result<Response<BatchCreateReviewsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_reviews(
        &self,
        request: Request<BatchUpdateReviewsRequest>,
    ) -> Result<Response<BatchUpdateReviewsResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_reviews(
        &self,
        request: Request<BatchDeleteReviewsRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }
}
