//! The client and its options.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bookstore_proto::v1::{self, GetOutcomeRequest, Outcome};
use prost_types::Any;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    balancer::Balancer,
    endpoint::{Connecting, InvalidAddress},
    error::Error,
    retry::Throttle,
    service_config::ServiceConfig,
    tls::{ClientTls, TokenFile},
    token::Session,
    transport::{ClientState, Transport},
};

/// The options of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The addresses of the service's instances, `http://HOST:PORT`, `https://HOST:PORT` or
    /// `unix:/PATH`; at least one. Calls go to those that are ready, one after another.
    pub addresses: Vec<String>,
    /// The deadline of calls that set none, all attempts together; streams have none by default.
    /// Default: none, so that `timeout` of the service config holds (30 s).
    pub timeout: Option<Duration>,
    /// How long a connection may take to be established. Default: 5 s.
    pub connect_timeout: Duration,
    /// How often a connection is pinged (HTTP/2 PING, gRFC A8). Default: 10 s.
    pub keepalive_time: Duration,
    /// How long the answer to a ping may take before the connection is closed. Default: 10 s.
    pub keepalive_timeout: Duration,
    /// The largest answer that is accepted, in bytes. Default: 64 MiB, the largest that a service
    /// can be configured to send.
    pub max_receive_message_size: usize,
    /// Timeouts, retries and health checking. Default: the repository's
    /// `deploy/service-config.json`.
    pub service_config: ServiceConfig,
    /// The files of TLS; then all addresses must begin with `https://`. Default: none, so that
    /// `https://` means TLS with the authorities of Mozilla's root program.
    pub tls: Option<ClientTls>,
    /// The file of the token that calls carry: a static token or a JWT. It is read again each
    /// second. Default: none.
    pub token_file: Option<PathBuf>,
}

impl ClientOptions {
    /// The defaults for these addresses.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            timeout: None,
            connect_timeout: Duration::from_secs(5),
            keepalive_time: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(10),
            max_receive_message_size: 64 << 20,
            service_config: ServiceConfig::of_the_service(),
            tls: None,
            token_file: None,
        }
    }

    /// Sets the deadline of calls that set none.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets another service config.
    #[must_use]
    pub fn service_config(mut self, config: ServiceConfig) -> Self {
        self.service_config = config;
        self
    }

    /// Sets the files of TLS.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the file of the calls' token.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    pub(crate) fn connecting(&self) -> Connecting {
        Connecting {
            timeout: self.connect_timeout,
            keepalive_time: self.keepalive_time,
            keepalive_timeout: self.keepalive_timeout,
            tls: self.tls.clone(),
        }
    }

    /// Makes a client. It returns at once and connects in the background; calls wait for that.
    /// It must be called within a tokio runtime.
    ///
    /// # Errors
    /// If there is no address, or one is malformed, or the files of TLS can't be used.
    pub fn connect(self) -> Result<Client, InvalidAddress> {
        let connecting = self.connecting();
        let instances = self.addresses.iter().map(|address| connecting.instance(address));
        let instances = instances.collect::<Result<Vec<_>, _>>()?;
        if instances.is_empty() {
            return Err(InvalidAddress::default());
        }
        let config = self.service_config;
        let shared = ClientState {
            balancer: Balancer::start(instances, config.health_check_service.clone()),
            throttle: config.retry_throttling.map(Throttle::new),
            config,
            timeout: self.timeout,
            token: self.token_file.map(TokenFile::new),
        };
        let transport = Transport::new(Arc::new(shared), Session::default());
        Ok(Client { transport, max_receive_message_size: self.max_receive_message_size })
    }
}

/// A client of the service: the connections to its instances, and the latest consistency token.
///
/// Its clones share both. Its services are tonic's generated clients over [`Transport`], so
/// every method of the contract is there with its own types.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    max_receive_message_size: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A method for each service of the contract.
macro_rules! services {
    ($($name:ident: $module:ident::$client:ident;)+) => {
        impl Client {
            $(#[doc = concat!("The generated client `v1::", stringify!($module), "::",
                stringify!($client), "`.")]
            #[must_use]
            pub fn $name(&self) -> v1::$module::$client<Transport> {
                v1::$module::$client::new(self.transport.clone())
                    .max_decoding_message_size(self.max_receive_message_size)
            })+
        }
    };
}

services! {
    books: book_service_client::BookServiceClient;
    book_transfer: book_transfer_service_client::BookTransferServiceClient;
    carts: cart_service_client::CartServiceClient;
    categories: category_service_client::CategoryServiceClient;
    items: item_service_client::ItemServiceClient;
    orders: order_service_client::OrderServiceClient;
    posts: post_service_client::PostServiceClient;
    reviews: review_service_client::ReviewServiceClient;
    transactions: transaction_service_client::TransactionServiceClient;
    users: user_service_client::UserServiceClient;
}

impl Client {
    /// A client of one instance with all defaults; see [`ClientOptions`] for others.
    ///
    /// # Errors
    /// If the address is none of `http://HOST:PORT`, `https://HOST:PORT` and `unix:/PATH`.
    pub fn connect(address: impl Into<String>) -> Result<Self, InvalidAddress> {
        ClientOptions::new([address]).connect()
    }

    /// Waits until an instance is ready. Calls do so by themselves. Use this to check the
    /// connection at the start of a program.
    ///
    /// # Errors
    /// If none is ready in time: UNAVAILABLE, with the reason of each.
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        let balancer = &self.transport.shared().balancer;
        match timeout(within, balancer.pick(true)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(none)) => Err(Error::of_client(tonic::Code::Unavailable, none.0)),
            Err(_) => Err(Error::of_client(tonic::Code::Unavailable, balancer.failures())),
        }
    }

    /// The session: the token of what this client has written and read, which its reads carry.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.transport.session()
    }

    /// A client over the same connections with an empty session: its reads don't wait for what
    /// others have written.
    #[must_use]
    pub fn new_session(&self) -> Self {
        let transport = Transport::new(Arc::clone(self.transport.shared()), Session::default());
        Self { transport, ..self.clone() }
    }

    /// The outcome of the write that was sent with this key (GetOutcome), and the response that it
    /// was answered with if it was committed. With `fence` a write that hasn't happened never will:
    /// `OUTCOME_NOT_FOUND` becomes `OUTCOME_ABORTED`.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn outcome(&self, key: Uuid, fence: bool) -> Result<(Outcome, Option<Any>), Error> {
        let request = GetOutcomeRequest { idempotency_key: key.to_string(), fence };
        let answer = self.transactions().get_outcome(request).await?.into_inner();
        Ok((answer.outcome(), answer.response))
    }
}
