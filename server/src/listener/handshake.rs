//! The handshake of TLS before a connection's preface: bounded in time, in number, and in the cores
//! that it takes.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, thread::available_parallelism};

use opentelemetry::KeyValue;
use rustls::{CertificateError, Error, PeerIncompatible};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    meters,
    security::{
        audit::{self, PeerAddress},
        tls::{PeerCertificate, Tls},
    },
};

/// Handshakes that may be begun at the same time. Further connections are closed.
const MOST: usize = 1000;

/// What the TLS library may hold of a connection's answers that its peer hasn't taken, in bytes of
/// plaintext: a record of TLS (RFC 8446, 5.1). It isn't part of the connection's account.
const UNSENT: usize = 16 * 1024;

/// Makes the handshakes of a port.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    tls: Tls,
    /// The handshakes that are begun.
    begun: Arc<Semaphore>,
    /// The steps of handshakes that are computed at this moment: at most on half of the cores, so
    /// that a flood of handshakes doesn't keep calls waiting. A permit is held for one step alone.
    /// A peer that is silent in the middle of its handshake has none.
    steps: Arc<Semaphore>,
}

/// Why a handshake failed, as an attribute of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandshakeFailure(&'static str);

impl HandshakeFailure {
    /// Whether the caller's certificate is at fault.
    fn is_of_certificate(self) -> bool {
        self.0.starts_with("certificate_") || self.0.starts_with("revocation_list_")
    }
}

impl Handshakes {
    pub(super) fn new(tls: Tls) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            tls,
            begun: Arc::new(Semaphore::new(MOST)),
            steps: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }

    /// A place for one more handshake; none if there are too many.
    pub(super) fn begin(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.begun.clone().try_acquire_owned().ok();
        if place.is_none() {
            failed(HandshakeFailure("too_many"));
        }
        place
    }

    /// Makes the handshake until `deadline`. Returns the encrypted connection and the peer's
    /// certificate.
    ///
    /// # Errors
    /// The reason, which has been counted and logged.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<(TlsStream<TcpStream>, Option<PeerCertificate>), HandshakeFailure> {
        let peer = stream.peer_addr().map_or(PeerAddress::Unknown, PeerAddress::Tcp);
        let config = self.tls.config();
        let accept = TlsAcceptor::from(config.clone())
            .accept_with(stream, |connection| connection.set_buffer_limit(Some(UNSENT)));
        let (reason, error) = match timeout_at(deadline, in_steps(accept, &self.steps)).await {
            Err(_) => (HandshakeFailure("timeout"), "it took too long".to_owned()),
            Ok(Err(error)) => (reason(&error), error.to_string()),
            Ok(Ok(stream)) => match self.tls.peer(stream.get_ref().1, &config) {
                Ok(certificate) => return Ok((stream, certificate)),
                Err(error) => (of_tls(&error), error.to_string()),
            },
        };
        failed(reason);
        match reason.is_of_certificate() {
            true => audit::certificate_refused(peer, reason.0, &error),
            false => {
                tracing::debug!(%peer, reason = reason.0, error, "a handshake of TLS failed");
            }
        }
        Err(reason)
    }
}

fn failed(reason: HandshakeFailure) {
    meters::TLS_HANDSHAKES_FAILED.add(1, &[KeyValue::new("reason", reason.0)]);
}

/// Polls a future with a permit for each poll.
async fn in_steps<F: Future>(future: F, permits: &Semaphore) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Nothing closes the semaphore.
        let permit = permits.acquire().await;
        let step = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        drop(permit);
        if let Poll::Ready(output) = step {
            return output;
        }
        // Until the future wakes this task.
        let mut was_polled = false;
        poll_fn(|_| match std::mem::replace(&mut was_polled, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.map_or(HandshakeFailure("closed"), of_tls)
}

fn of_tls(error: &Error) -> HandshakeFailure {
    HandshakeFailure(match error {
        Error::NoApplicationProtocol => "alpn",
        Error::NoCertificatesPresented => "certificate_missing",
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "version",
        Error::PeerIncompatible(_) => "parameters",
        Error::AlertReceived(_) => "alert",
        _ => "protocol",
    })
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate_expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate_not_yet_valid"
        }
        CertificateError::Revoked => "certificate_revoked",
        CertificateError::UnknownIssuer => "certificate_unknown_issuer",
        CertificateError::UnknownRevocationStatus => "revocation_list_missing",
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "revocation_list_expired",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate_purpose"
        }
        _ => "certificate_invalid",
    }
}
