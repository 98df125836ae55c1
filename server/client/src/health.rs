//! A single health check of one instance, for probes.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{client::ClientOptions, endpoint::InvalidAddress, error::Error};

/// Why the health of an instance isn't known.
#[derive(Debug)]
pub enum HealthError {
    /// The address is malformed.
    Address(InvalidAddress),
    /// There is no connection to it: refused, or not in time.
    Connection(String),
    /// It didn't answer in time.
    Timeout,
    /// It answered with an error.
    Answer(Error),
}

/// Asks the first instance for the health of a name (`grpc.health.v1.Health/Check`): `ready`,
/// `live`, `write`, a service, or the empty text. Answers the name of the status, such as
/// `SERVING`. Connection and answer may take `timeout` together. The call carries no token, since
/// health needs none.
///
/// # Errors
/// If the health can't be read; see [`HealthError`].
pub async fn check_health(
    options: &ClientOptions,
    name: &str,
    timeout: Duration,
) -> Result<&'static str, HealthError> {
    let over = Instant::now() + timeout;
    let address = options.addresses.first().map(String::as_str).unwrap_or_default();
    let instance = options.connecting().instance(address).map_err(HealthError::Address)?;
    let channel = match timeout_at(over, instance.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(reason)) => return Err(HealthError::Connection(reason)),
        Err(_) => return Err(HealthError::Connection("no connection in time".to_owned())),
    };
    let request = HealthCheckRequest { service: name.to_owned() };
    match timeout_at(over, HealthClient::new(channel).check(request)).await {
        Err(_) => Err(HealthError::Timeout),
        Ok(Err(status)) => Err(HealthError::Answer(status.into())),
        Ok(Ok(answer)) => Ok(ServingStatus::as_str_name(&answer.into_inner().status())),
    }
}
