//! Reads the document at an https address: one GET over HTTP/1.1 (RFC 9112), without redirects.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// Within what the whole answer must be there.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest document that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// An address, and the authorities that may certify its server.
pub(super) struct HttpsAddress {
    uri: Uri,
    tls: Arc<ClientConfig>,
}

impl HttpsAddress {
    /// `authorities` are certificates (PEM) that alone are trusted; without them those that Mozilla
    /// trusts are.
    ///
    /// # Errors
    /// What is wrong with the address or the authorities.
    pub(super) fn new(address: &str, authorities: Option<&[u8]>) -> Result<Self, String> {
        let uri: Uri = address.parse().map_err(|error| format!("{address}: {error}"))?;
        if uri.scheme_str() != Some("https") || uri.host().is_none() {
            return Err(format!("{address} is no https address with a host"));
        }
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| error.to_string())?;
                    roots.add(certificate).map_err(|error| error.to_string())?;
                }
                if roots.is_empty() {
                    return Err("the file of authorities holds no certificate (PEM)".into());
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(default_provider().into());
        let tls = tls.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { uri, tls: Arc::new(tls) })
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Why it could not be read whole within 5 s.
    pub(super) async fn read(&self) -> Result<Bytes, String> {
        let read = timeout(TIMEOUT, self.get()).await;
        read.unwrap_or_else(|_| Err(format!("no whole answer within {TIMEOUT:?}")))
    }

    async fn get(&self) -> Result<Bytes, String> {
        let authority = self.uri.authority().ok_or("no host")?;
        // An IPv6 address stands in brackets (RFC 3986, 3.2.2).
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| format!("connecting: {error}"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::get(self.uri.path_and_query().map_or("/", |it| it.as_str()))
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            if answer.status() != StatusCode::OK {
                return Err(format!(
                    "the answer's status is {}, not 200",
                    answer.status().as_u16()
                ));
            }
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| format!("reading (at most 1 MiB): {error}"))?;
            Ok(body.to_bytes())
        };
        tokio::pin!(answer, connection);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                // The answer may be there whole.
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
