//! The options of one call, in the metadata and the extensions of its `tonic::Request`.

use std::time::Duration;

use tonic::{Request, metadata::MetadataValue};
use uuid::Uuid;

use crate::{
    error::{IDEMPOTENCY_KEY, REQUEST_ID},
    token::Consistency,
};

/// Whether the call waits for a backend while there is none; in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitForReady(pub(crate) bool);

/// Options of one call, set on its request:
///
/// ```ignore
/// let request = PlaceOrderRequest { .. }.into_call().deadline(Duration::from_secs(5));
/// let order = client.orders().place_order(request.idempotency_key(key)).await?;
/// ```
///
/// What isn't set is the client's default.
pub trait CallOptions: Sized {
    /// How long the call may take, all attempts together. A shorter `timeout` of the service
    /// config wins. Default: [`ClientOptions::timeout`](crate::ClientOptions::timeout).
    #[must_use]
    fn deadline(self, timeout: Duration) -> Self;

    /// The key under which a write happens once, however often it is sent. The client makes one
    /// (a UUID of version 7) for each write that has none. Give your own, kept beside what the
    /// write is for, so that a later run of your program can send it again. Reads pass it over.
    #[must_use]
    fn idempotency_key(self, key: Uuid) -> Self;

    /// What a read must see. Default: [`Consistency::AtLeast`] what this client has seen.
    #[must_use]
    fn consistency(self, consistency: Consistency) -> Self;

    /// Whether the call waits for a backend while none is ready, until its deadline, rather
    /// than fail with UNAVAILABLE. Default: `waitForReady` of the service config, which is true.
    #[must_use]
    fn wait_for_ready(self, wait: bool) -> Self;

    /// The id of the call in the service's log: 1 to 128 visible ASCII characters. The client makes
    /// one for each call that has none, and keeps it over the attempts. An id of another form is
    /// ignored.
    #[must_use]
    fn request_id(self, id: &str) -> Self;
}

impl<T> CallOptions for Request<T> {
    fn deadline(mut self, timeout: Duration) -> Self {
        self.set_timeout(timeout);
        self
    }

    fn idempotency_key(mut self, key: Uuid) -> Self {
        if let Ok(value) = MetadataValue::try_from(key.to_string()) {
            self.metadata_mut().insert(IDEMPOTENCY_KEY, value);
        }
        self
    }

    fn consistency(mut self, consistency: Consistency) -> Self {
        let name = MetadataValue::from_static(consistency.name());
        self.metadata_mut().insert("consistency", name);
        self
    }

    fn wait_for_ready(mut self, wait: bool) -> Self {
        self.extensions_mut().insert(WaitForReady(wait));
        self
    }

    fn request_id(mut self, id: &str) -> Self {
        if let Ok(value) = MetadataValue::try_from(id) {
            self.metadata_mut().insert(REQUEST_ID, value);
        }
        self
    }
}

/// Makes a `tonic::Request` of a message, to set [`CallOptions`] on.
pub trait IntoCall: Sized {
    /// The request.
    fn into_call(self) -> Request<Self> {
        Request::new(self)
    }
}

impl<M: prost::Message> IntoCall for M {}
