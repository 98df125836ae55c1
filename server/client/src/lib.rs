//! Typed clients of the bookstore's data service.
//!
//! [`Client`] holds connections to one or more instances of the service. Its services, such as
//! [`Client::orders`], are tonic's generated clients of the contract. Every call goes through one
//! [`Transport`], which
//!
//! - sets a deadline: the call's own, the client's, or that of the service config;
//! - retries failed attempts by the policy of `deploy/service-config.json` (gRFC A6), after the
//!   service's pushback;
//! - gives each write an idempotency key and keeps it over the attempts, so that the write happens
//!   once;
//! - carries consistency tokens, so that a read sees what this client has written and read;
//! - balances calls round robin over the instances that are ready, by their health (gRFC A17).
//!
//! A failed call is a `tonic::Status`, which `?` turns into an [`Error`] with its [`Reason`].
//! `docs/clients/rust.md` has a whole program.

mod balancer;
mod client;
mod endpoint;
mod error;
mod execute;
mod health;
mod method;
mod request;
mod resume;
mod retry;
mod service_config;
mod tls;
mod token;
mod transact;
mod transport;
mod wire;

pub use bookstore_proto::v1;
pub use uuid::Uuid;

pub use self::{
    client::{Client, ClientOptions},
    endpoint::InvalidAddress,
    error::{Error, Reason},
    execute::{Execute, Responses, from_any, to_any},
    health::{HealthError, check_health},
    method::{Repeat, repeat},
    request::{CallOptions, IntoCall},
    resume::ResumeTimer,
    service_config::{
        InvalidServiceConfig, MethodConfig, RetryPolicy, RetryThrottling, ServiceConfig,
    },
    tls::ClientTls,
    token::{Consistency, Session},
    transact::{Start, Transaction},
    transport::Transport,
};
