//! `BookService` as tonic calls it: every method is one line.

use bookstore_proto::v1::{
    BatchCreateBooksRequest, BatchCreateBooksResponse, BatchDeleteBooksRequest,
    BatchGetBooksRequest, BatchGetBooksResponse, BatchUpdateBooksRequest, BatchUpdateBooksResponse,
    Book, CreateBookRequest, DeleteBookRequest, GetBookRequest, ListBooksRequest,
    ListBooksResponse, SearchBooksRequest, SearchBooksResponse, UpdateBookRequest,
    book_service_server::{BookService, BookServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::rpc::calls::Calls;

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(BookServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl BookService for Service {
    async fn get_book(&self, request: Request<GetBookRequest>) -> Result<Response<Book>, Status> {
        self.0.read(request).await
    }

    async fn list_books(
        &self,
        request: Request<ListBooksRequest>,
    ) -> Result<Response<ListBooksResponse>, Status> {
        self.0.read(request).await
    }

    async fn search_books(
        &self,
        request: Request<SearchBooksRequest>,
    ) -> Result<Response<SearchBooksResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_book(
        &self,
        request: Request<CreateBookRequest>,
    ) -> Result<Response<Book>, Status> {
        self.0.write(request).await
    }

    async fn update_book(
        &self,
        request: Request<UpdateBookRequest>,
    ) -> Result<Response<Book>, Status> {
        self.0.write(request).await
    }

    async fn delete_book(
        &self,
        request: Request<DeleteBookRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_books(
        &self,
        request: Request<BatchGetBooksRequest>,
    ) -> Result<Response<BatchGetBooksResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_books(
        &self,
        request: Request<BatchCreateBooksRequest>,
    ) -> Result<Response<BatchCreateBooksResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_books(
        &self,
        request: Request<BatchUpdateBooksRequest>,
    ) -> Result<Response<BatchUpdateBooksResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_books(
        &self,
        request: Request<BatchDeleteBooksRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }
}
