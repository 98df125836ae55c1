//! What every call passes through, as one list, innermost first.

mod authenticate;
mod deadline;
mod house_form;
mod load;
mod observe;
mod readiness;
mod receive;
mod shared;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use futures_util::future::BoxFuture;
use http_body::Body as HttpBody;
use tower::{BoxError, Service};

pub use self::{
    receive::WINDOW,
    shared::{LayerContext, REFLECTION_PATHS},
};

/// The services inside the layers. It is one service, so that a call allocates one future for all
/// layers.
#[derive(Clone)]
pub struct Layered {
    services: Router,
    shared: Arc<LayerContext>,
}

/// Puts the layers around the services.
pub fn around(services: Router, shared: Arc<LayerContext>) -> Layered {
    Layered { services, shared }
}

impl<B> Service<http::Request<B>> for Layered
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self { services, shared } = self.clone();
        Box::pin(async move { Ok(pass(&shared, services, request.map(Body::new)).await) })
    }
}

/// Passes a call through the layers.
async fn pass(shared: &LayerContext, mut services: Router, request: Request) -> Response {
    let services = |request| async move {
        services.call(request).await.unwrap_or_else(|never| match never {})
    };
    // Innermost: what is refused above is not read. A unary request is received whole, then the
    // call takes its permit of load; the deadline bounds both waits.
    let receive = |request| receive::receive(shared, request, services);
    // Before anything is received and before a call takes a permit: a caller without right
    // credentials takes none. It may wait for an issuer's keys, within the deadline.
    let authenticate = |request| authenticate::authenticate(shared, request, receive);
    // Health and reflection answer without a database.
    let readiness = |request| readiness::readiness(shared, request, authenticate);
    // Needs the RequestContext, and must answer in time, also if a layer below hangs.
    let deadline = |request| deadline::deadline(shared, request, readiness);
    // Inside, so that the log has the caller's code: gives the transport's own errors the form
    // that the contract promises.
    let house_form = |request| house_form::house_form(shared, request, deadline);
    // Outermost, so that every answer has its request id and its line in the log: reads the
    // metadata into the RequestContext and writes out what the call has learned.
    observe::observe(shared, request, house_form).await
}
