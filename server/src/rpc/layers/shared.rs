//! The context of the layers.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use http::{HeaderMap, header::CONTENT_TYPE};
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, UdsConnectInfo},
};

use crate::{
    budget::{Budget, CallBudget},
    rpc::{consistency::Consistency, health::Readiness, load::Load, registry::Registry},
    security::{access::AccessControl, audit::PeerAddress},
};

/// What the layers look at.
pub struct LayerContext {
    /// Who may call what; none lets every caller call all.
    pub access: Option<Arc<AccessControl>>,
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
    /// Which node may answer a read without `consistency`.
    pub consistency: Consistency,
    /// What seals positions; none until the schema has been found right.
    pub sealing_key: Box<dyn Fn() -> Option<[u8; 32]> + Send + Sync>,
}

impl LayerContext {
    /// What a call may hold. The listener has begun it, except in tests without one.
    pub(super) fn budget_of(&self, request: &Request) -> Arc<CallBudget> {
        let begun = request.extensions().get::<Arc<CallBudget>>().cloned();
        begun.unwrap_or_else(|| self.budget.open().begin_call())
    }
}

/// The address of the other end of a request's connection.
pub(super) fn peer(request: &Request) -> PeerAddress {
    let extensions = request.extensions();
    let tcp = || extensions.get::<TcpConnectInfo>()?.remote_addr().map(PeerAddress::Tcp);
    let local = || Some(PeerAddress::User(extensions.get::<UdsConnectInfo>()?.peer_cred?.uid()));
    tcp().or_else(local).unwrap_or_default()
}

/// A status where an answer has begun already.
pub(super) fn trailers(status: Status) -> HeaderMap {
    let mut trailers = status.into_http::<Body>().into_parts().0.headers;
    // It stands in the headers.
    trailers.remove(CONTENT_TYPE);
    trailers
}

/// Whether the request names a compression of its messages.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    // There are few: to compare them costs less than to hash the key.
    let encoding = headers.iter().find(|(name, _)| name.as_str() == "grpc-encoding");
    encoding.is_some_and(|(_, encoding)| encoding != "identity")
}

/// The beginning of the paths of health.
pub(super) const HEALTH: &str = "/grpc.health.v1.";

/// The beginning of the paths of reflection, whose requests stream.
pub(super) const REFLECTION: &str = "/grpc.reflection.";

/// Whether a path belongs to the contract, not to health or reflection.
pub(super) fn is_ours(path: &str) -> bool {
    !path.starts_with(HEALTH) && !path.starts_with(REFLECTION)
}

/// The methods beside the contract's: those of health and reflection, by path.
pub(super) const BESIDE: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    REFLECTION_PATHS[0],
    REFLECTION_PATHS[1],
];

/// The methods of reflection, by path. The policy has one rule for both.
pub const REFLECTION_PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
