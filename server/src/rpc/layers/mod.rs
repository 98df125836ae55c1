//! What every call passes through, as one list, outermost first.

mod deadline;
mod house_form;
mod load;
mod observe;
mod readiness;
mod shared;

use axum::{Router, middleware::from_fn_with_state};
use tower::ServiceBuilder;

pub use self::shared::LayerContext;

/// Puts the layers around the services.
pub fn around(services: Router, shared: LayerContext) -> Router {
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
        // Innermost: calls that are refused above need no permit, and the deadline bounds the wait
        // for one.
        .layer(from_fn_with_state(shared, load::load));
    services.layer(layers)
}
