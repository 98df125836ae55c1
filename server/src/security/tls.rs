//! TLS on the port for calls (RFC 8446): the certificate, the authorities of callers' certificates
//! and the revocation lists in force, and who the holder of a caller's certificate is.

mod files;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bookstore_auth::{Certificate, PeerName};
use opentelemetry::KeyValue;
use rustls::{
    Error, HandshakeKind, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, UnixTime},
};
use tokio::{sync::watch, time::sleep};

use self::files::TlsInForce;
use super::reload::ReloadTask;
use crate::{config::TlsFiles, meters};

/// How long an open connection's certificate is left unverified, at least and at most.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(10);

/// The files in force. Clones follow the same files.
#[derive(Clone, Debug)]
pub struct Tls {
    in_force: watch::Receiver<Arc<TlsInForce>>,
}

/// The client certificate of a connection.
#[derive(Debug)]
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    expires: SystemTime,
    tls: Tls,
    /// The name of its holder; none if the certificate doesn't name one holder.
    pub name: Option<PeerName>,
}

impl Tls {
    /// Loads the files, which `reload` follows from then on.
    ///
    /// # Errors
    /// A sentence that names the file at fault.
    pub fn load(files: &TlsFiles, reload: &mut ReloadTask) -> Result<Self, String> {
        let files = files.clone();
        let load = move |reader: &mut _| files::load(&files, reader, SystemTime::now());
        Ok(Self { in_force: reload.follow("tls", load)? })
    }

    /// The configuration of new connections.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.in_force.borrow().config.clone()
    }

    /// The configuration of new connections to the admin address.
    #[must_use]
    pub fn admin_config(&self) -> Arc<ServerConfig> {
        self.in_force.borrow().admin.clone()
    }

    /// Reports when the certificates and lists in force expire, as a metric.
    pub fn observe(&self) {
        let in_force = self.in_force.clone();
        meters::TLS_EXPIRY.observe(move |gauge| {
            for (file, expires) in &in_force.borrow().expiry {
                let since_1970 = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                gauge.observe(since_1970.as_secs_f64(), &[KeyValue::new("file", *file)]);
            }
        });
    }

    /// The client certificate of a connection that has made its handshake with `used`; none if it
    /// has none.
    ///
    /// # Errors
    /// If the certificate is not accepted now. The handshake verified it with other files if they
    /// were read again meanwhile, and not at all if the connection resumes a session.
    pub fn peer(
        &self,
        connection: &ServerConnection,
        used: &Arc<ServerConfig>,
    ) -> Result<Option<PeerCertificate>, Error> {
        let Some(chain) = connection.peer_certificates() else { return Ok(None) };
        let malformed = || rustls::CertificateError::BadEncoding;
        let leaf = chain.first().ok_or_else(malformed)?;
        let certificate = Certificate::parse(leaf).map_err(|_| malformed())?;
        let mut tls = self.clone();
        // Later changes are noticed by `refused`.
        let has_changed = !Arc::ptr_eq(&tls.in_force.borrow_and_update().config, used);
        let peer = PeerCertificate {
            chain: chain.to_vec(),
            expires: certificate.not_after,
            tls,
            name: certificate.name.map(PeerName::new),
        };
        if has_changed || connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            peer.verify()?;
        }
        Ok(Some(peer))
    }
}

impl PeerCertificate {
    fn verify(&self) -> Result<(), Error> {
        let in_force = self.tls.in_force.borrow().clone();
        let (Some(verifier), [leaf, authorities @ ..]) = (&in_force.verifier, &*self.chain) else {
            return Ok(());
        };
        verifier.verify_client_cert(leaf, authorities, UnixTime::now()).map(|_| ())
    }

    /// Waits until the certificate is not accepted any more: it has expired, or it doesn't pass
    /// the authorities and revocation lists that have been read again. Its name is refused then.
    pub async fn refused(&mut self) -> Error {
        loop {
            let left = self.expires.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                // The clock may be set meanwhile, and revocation lists expire.
                () = sleep(left.clamp(SHORTEST, LONGEST)) => {}
                // An error means that the task that reads the files has ended.
                Ok(()) = self.tls.in_force.changed() => {}
            }
            if let Err(reason) = self.verify() {
                if let Some(name) = &self.name {
                    name.refuse();
                }
                return reason;
            }
        }
    }
}
