//! What every call passes through, as one list, outermost first.

mod deadline;
mod house_form;
mod load;
mod observe;
mod readiness;
mod receive;
mod shared;

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};
use tower::ServiceBuilder;

pub use self::{receive::WINDOW, shared::LayerContext};

/// Puts the layers around the services.
pub fn around(services: Router, shared: Arc<LayerContext>) -> Router {
    let layers = ServiceBuilder::new()
        // Outermost, so that every answer has its request id and its line in the log: reads
        // the metadata into the RequestContext and writes out what the call has learned.
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        // Inside, so that the log has the caller's code: gives the transport's own errors the form
        // that the contract promises.
        .layer(from_fn_with_state(shared.clone(), house_form::house_form))
        // Needs the RequestContext, and must answer in time, also if a layer below hangs.
        .layer(from_fn_with_state(shared.clone(), deadline::deadline))
        // Health and reflection answer without a database.
        .layer(from_fn_with_state(shared.clone(), readiness::readiness))
        // Innermost: what is refused above is not read. A unary request is received whole, then
        // the call takes its permit of load; the deadline bounds both waits.
        .layer(from_fn_with_state(shared, receive::receive));
    services.layer(layers)
}
