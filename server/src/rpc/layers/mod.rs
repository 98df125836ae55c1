//! What every call passes through, as one list, outermost first.

mod deadline;
mod house_form;
mod load;
mod observe;
mod readiness;
mod receive;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use tower::ServiceBuilder;

use crate::budget::Budget;

use super::{context::Consistency, health::Readiness, load::Load, registry::Registry};

/// What the layers look at.
#[derive(Clone)]
pub struct Shared {
    /// The methods of the service.
    pub registry: Arc<Registry>,
    /// Whether the database can be used.
    pub readiness: Readiness,
    /// The calls in flight.
    pub load: Load,
    /// The memory that calls may hold.
    pub budget: Arc<Budget>,
    /// Within what a call's one request must come whole.
    pub request_timeout: Duration,
    /// Within what the next message of a stream must come.
    pub stream_idle_timeout: Duration,
    /// The most that a request may be, in bytes.
    pub max_message_size: usize,
    /// Which node may answer a read that says nothing about it.
    pub consistency: Consistency,
    /// What seals positions; none until the schema has been found right.
    pub sealing_key: Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>,
}

pub use self::receive::WINDOW;

/// Puts the layers around the services.
pub fn around(services: Router, shared: Shared) -> Router {
    let layers = ServiceBuilder::new()
        // Outermost, so that every answer has its request id and its line in the log: reads
        // the metadata into the RequestContext and writes out what the call has learned.
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        // Inside, so that the log tells the code that the caller sees: gives the transport's
        // own errors the form that the contract promises.
        .layer(from_fn_with_state(shared.clone(), house_form::house_form))
        // Needs the RequestContext, and must answer in time whatever stands below.
        .layer(from_fn_with_state(shared.clone(), deadline::deadline))
        // Health and reflection answer without a database.
        .layer(from_fn_with_state(shared.clone(), readiness::readiness))
        // What is refused above is not read. Below, the one request of a call is there as a whole.
        .layer(from_fn_with_state(shared.clone(), receive::receive))
        // Innermost: a permit is taken once the request is there, and the deadline bounds the wait.
        .layer(from_fn_with_state(shared, load::load));
    services.layer(layers)
}

/// Whether a path belongs to the contract, not to health or reflection.
fn is_ours(path: &str) -> bool {
    !path.starts_with("/grpc.health.v1.") && !path.starts_with("/grpc.reflection.")
}

/// The methods beside the contract's: those of health and reflection, by path.
const BESIDE: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
