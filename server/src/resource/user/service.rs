//! `UserService` as tonic calls it: every method is one line, but for the one that is logged.

use bookstore_proto::v1::{
    BatchCreateUsersRequest, BatchCreateUsersResponse, BatchDeleteUsersRequest,
    BatchGetUsersRequest, BatchGetUsersResponse, BatchUpdateUsersRequest, BatchUpdateUsersResponse,
    CreateUserRequest, DeleteUserRequest, ErrorReason, GetUserRequest, ListUserOrderCountsRequest,
    ListUserOrderCountsResponse, ListUsersRequest, ListUsersResponse, UpdateUserRequest, User,
    VerifyPasswordRequest, VerifyPasswordResponse,
    user_service_server::{UserService, UserServiceServer},
};
use tonic::{Request, Response, Status, async_trait, service::RoutesBuilder};

use crate::{
    rpc::{
        calls::{self, Calls},
        status,
    },
    security::audit,
};

/// Adds the service to the server.
pub fn serve(routes: &mut RoutesBuilder, calls: Calls) {
    let limit = calls.max_message_size();
    routes.add_service(UserServiceServer::new(Service(calls)).max_decoding_message_size(limit));
}

struct Service(Calls);

#[async_trait]
impl UserService for Service {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        self.0.read(request).await
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        self.0.read(request).await
    }

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<User>, Status> {
        self.0.write(request).await
    }

    async fn update_user(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<User>, Status> {
        self.0.write(request).await
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        self.0.read(request).await
    }

    async fn batch_create_users(
        &self,
        request: Request<BatchCreateUsersRequest>,
    ) -> Result<Response<BatchCreateUsersResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_update_users(
        &self,
        request: Request<BatchUpdateUsersRequest>,
    ) -> Result<Response<BatchUpdateUsersResponse>, Status> {
        self.0.write(request).await
    }

    async fn batch_delete_users(
        &self,
        request: Request<BatchDeleteUsersRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.write(request).await
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let context = calls::context(&request)?;
        let answer = self.0.read(request).await;
        let (is_right, user) = match &answer {
            Ok(answer) => (true, answer.get_ref().user.as_ref().map(|user| user.id.as_str())),
            Err(status) if status::has_reason(status, ErrorReason::PasswordMismatch) => {
                (false, None)
            }
            // Whether the password is right is not known.
            Err(_) => return answer,
        };
        audit::login(context.caller(), context.peer, &context.request_id, is_right, user);
        answer
    }

    async fn list_user_order_counts(
        &self,
        request: Request<ListUserOrderCountsRequest>,
    ) -> Result<Response<ListUserOrderCountsResponse>, Status> {
        self.0.read(request).await
    }
}
