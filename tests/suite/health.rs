//! `grpc.health.v1`, as probes use it.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

on_every_engine!(health_of_every_name_is_serving);

/// The service's own health names, and the name of every gRPC service of the contract, which
/// clients with health checking ask for.
async fn health_of_every_name_is_serving(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut health = HealthClient::new(server.channel());
    let services = bookstore_proto::DESCRIPTOR_POOL.services();
    let services = services.map(|service| service.full_name().to_owned());
    let own = ["", "live", "ready", "write"].map(str::to_owned);
    for service in own.into_iter().chain(services.filter(|name| name.starts_with("bookstore."))) {
        let answer = health.check(HealthCheckRequest { service: service.clone() }).await;
        let status =
            answer.map(|answer| answer.into_inner().status()).map_err(|error| error.code());
        assert_eq!(status, Ok(ServingStatus::Serving), "health of {service:?}");
    }
}
