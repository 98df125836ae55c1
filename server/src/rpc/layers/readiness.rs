//! Refuses calls until the database has the schema that this program needs.

use axum::{extract::Request, response::Response};

use super::shared::{LayerContext, is_ours};
use crate::rpc::{health::DatabaseState, status};

/// The layer.
pub async fn readiness<F: Future<Output = Response>>(
    shared: &LayerContext,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if is_ours(request.uri().path()) {
        match &*shared.readiness.database() {
            DatabaseState::Unknown => return status::database_unavailable().into_http(),
            DatabaseState::Pending(revisions) => {
                return status::schema_pending(revisions).into_http();
            }
            DatabaseState::ShutOut(_) => return status::database_unavailable().into_http(),
            // Calls that don't need the missing objects are answered.
            DatabaseState::Incomplete(_) | DatabaseState::Right => {}
        }
    }
    next(request).await
}
