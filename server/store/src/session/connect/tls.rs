//! Opens PostgreSQL sessions as `sslmode` says (PostgreSQL, 34.19. SSL Support).
//!
//! The driver's TLS library, rustls, reads certificates of version 3 alone, also where nothing is
//! to be verified. `openssl x509 -req` made others for years. So if `prefer` or `require` meets such
//! a certificate, this file encrypts the connection itself and verifies nothing, as libpq does.

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

/// The class of errors with which `pg_hba.conf` refuses a connection that is, or is not, encrypted
/// (invalid_authorization_specification).
const REFUSED_AS_IT_IS: &str = "28000";

/// What the certificate of a server must be.
const CERTIFICATE: &str = "sslmode=verify-ca and verify-full need a certificate of version 3 that \
    is not an authority itself and is signed by an authority of sslrootcert; verify-full also needs \
    the host in its subjectAltName";

/// Why a certificate of the client is not sent.
const CLIENT_CERTIFICATE: &str = "with sslcert and sslkey the server's certificate must be of \
    version 3";

/// Opens a session.
///
/// # Errors
/// If the server can't be reached or refuses the session, or the encryption is not what `sslmode`
/// asks for.
#[expect(clippy::disallowed_methods, reason = "a part of the one place that opens connections")]
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let plain = || options.clone().ssl_mode(PgSslMode::Disable);
    match options.get_ssl_mode() {
        PgSslMode::Disable => options.connect().await,
        PgSslMode::Require => unverified(options).await,
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => options.connect().await.map_err(explained),
        PgSslMode::Allow => match plain().connect().await {
            Err(error) if is_refused_as_it_is(&error) => {
                unverified(&options.clone().ssl_mode(PgSslMode::Require)).await
            }
            opened => opened,
        },
        PgSslMode::Prefer => match unverified(options).await {
            Err(error) if is_refused_as_it_is(&error) || tls_error(&error).is_some() => {
                // The first error tells more if this fails as well.
                plain().connect().await.map_err(|_| error)
            }
            opened => opened,
        },
    }
}

/// Opens a session that takes any certificate.
#[expect(clippy::disallowed_methods, reason = "a part of the one place that opens connections")]
async fn unverified(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match options.connect().await {
        Err(error) if is_unreadable(&error) && has_client_certificate(options) => {
            Err(sqlx::Error::Tls(CLIENT_CERTIFICATE.into()))
        }
        Err(error) if is_unreadable(&error) => relay::open(options).await,
        opened => opened,
    }
}

/// Whether the client has a certificate, from the URL or the environment. The relay sends none.
fn has_client_certificate(options: &PgConnectOptions) -> bool {
    options.to_url_lossy().query_pairs().any(|(name, _)| name == "sslcert")
}

/// The error of TLS within an error of the driver.
fn tls_error(error: &sqlx::Error) -> Option<&rustls::Error> {
    match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
        sqlx::Error::Tls(error) => error.downcast_ref(),
        _ => None,
    }
}

/// Whether the server's certificate can't be read.
fn is_unreadable(error: &sqlx::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

fn is_refused_as_it_is(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == REFUSED_AS_IT_IS)
}

/// The same error with what the operator can do about it.
fn explained(error: sqlx::Error) -> sqlx::Error {
    match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let message =
                format!("the server's certificate is refused ({reason:?}): {CERTIFICATE}");
            sqlx::Error::Tls(message.into())
        }
        _ => error,
    }
}

#[cfg(target_os = "linux")]
mod relay {
    //! Encrypts a connection in place of the driver. The driver speaks to a socket of this process.

    use std::{
        io,
        os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener as StdUnixListener},
        },
        sync::Arc,
    };

    use rustls::{
        ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    };
    use sqlx::{
        ConnectOptions as _, PgConnection,
        postgres::{PgConnectOptions, PgSslMode},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
        net::{TcpStream, UnixListener, UnixStream},
    };
    use tokio_rustls::{TlsConnector, client::TlsStream};
    use uuid::Uuid;

    /// SSLRequest (PostgreSQL, 55.7. Message Formats): its length and its code.
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

    /// Opens a session through a relay, which lives as long as the session.
    #[expect(clippy::disallowed_methods, reason = "a part of the one place that opens connections")]
    pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let (host, port) = (options.get_host(), options.get_port());
        let mut server = encrypted(host, port).await?;
        // In the abstract namespace, which leaves no file behind.
        let name = format!("bookstore-{}", Uuid::new_v4().simple());
        let address = SocketAddr::from_abstract_name(format!("{name}/.s.PGSQL.{port}"))?;
        let listener = StdUnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let relay = async {
            let mut driver = accept_own(&listener).await?;
            drop(listener);
            tokio::spawn(async move {
                // Each side sees how the other one ended.
                let _ = copy_bidirectional(&mut driver, &mut server).await;
            });
            Ok::<_, sqlx::Error>(())
        };
        let options = options.clone().ssl_mode(PgSslMode::Disable).socket(format!("\0{name}"));
        let ((), session) = tokio::try_join!(relay, options.connect())?;
        Ok(session)
    }

    /// The first connection that comes from this process.
    async fn accept_own(listener: &UnixListener) -> io::Result<UnixStream> {
        let own = i32::try_from(std::process::id()).ok();
        loop {
            let (stream, _) = listener.accept().await?;
            if stream.peer_cred()?.pid() == own {
                return Ok(stream);
            }
        }
    }

    fn failed(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
        sqlx::Error::Tls(Box::new(error))
    }

    async fn encrypted(host: &str, port: u16) -> Result<TlsStream<TcpStream>, sqlx::Error> {
        let mut server = TcpStream::connect((host, port)).await?;
        server.set_nodelay(true)?;
        server.write_all(&SSL_REQUEST).await?;
        if server.read_u8().await? != b'S' {
            return Err(sqlx::Error::Tls("the server does not support TLS".into()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(failed)?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, server).await?)
    }

    /// Takes every certificate. So the signature of the handshake proves nothing either: an attacker
    /// in between can present a certificate of its own.
    #[derive(Debug)]
    struct AnyCertificate(Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod relay {
    //! Sockets that leave no file behind exist on Linux alone.

    use sqlx::{PgConnection, postgres::PgConnectOptions};

    /// Refuses the certificate.
    pub(super) async fn open(_: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let message =
            "the server's certificate can't be read: on this system it must be of version 3";
        Err(sqlx::Error::Tls(message.into()))
    }
}
