//! `CategoryService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchCreateCategoriesRequest, BatchCreateCategoriesResponse, BatchDeleteCategoriesRequest,
    BatchGetCategoriesRequest, BatchGetCategoriesResponse, BatchUpdateCategoriesRequest,
    BatchUpdateCategoriesResponse, Category, CreateCategoryRequest, DeleteCategoryRequest,
    GetCategoryRequest, GetCategoryStatsRequest, GetCategoryStatsResponse, ListCategoriesRequest,
    ListCategoriesResponse, UpdateCategoryRequest,
    category_service_server::{CategoryService, CategoryServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(CategoryServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl CategoryService for Service {
    async fn get_category(
        &self,
        request: Request<GetCategoryRequest>,
    ) -> Result<Response<Category>, Status> {
        self.0.read(request).await
    }

    async fn list_categories(
        &self,
        request: Request<ListCategoriesRequest>,
    ) -> Result<Response<ListCategoriesResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_category(
        &self,
        request: Request<CreateCategoryRequest>,
    ) -> Result<Response<Category>, Status> {
        self.0.write(request).await
    }

    async fn update_category(
        &self,
        request: Request<UpdateCategoryRequest>,
    ) -> Result<Response<Category>, Status> {
        self.0.write(request).await
    }

    async fn delete_category(
        &self,
        request: Request<DeleteCategoryRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_categories(
        &self,
        request: Request<BatchGetCategoriesRequest>,
    ) -> Result<Response<BatchGetCategoriesResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_categories(
        &self,
        request: Request<BatchCreateCategoriesRequest>,
    ) -> Result<Response<BatchCreateCategoriesResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_categories(
        &self,
        request: Request<BatchUpdateCategoriesRequest>,
    ) -> Result<Response<BatchUpdateCategoriesResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_categories(
        &self,
        request: Request<BatchDeleteCategoriesRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn get_category_stats(
        &self,
        request: Request<GetCategoryStatsRequest>,
    ) -> Result<Response<GetCategoryStatsResponse>, Status> {
        self.0.read(request).await
    }
}
