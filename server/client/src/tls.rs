//! TLS of connections, and the token of calls. The files are read again, so that certificates and
//! tokens can be rotated while the program runs.

use std::{
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;
use tonic::{
    Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

/// How long a token is used before its file is read again.
const TOKEN_AGE: Duration = Duration::from_secs(1);

/// The files of TLS, all in PEM. Each new connection reads them again. TLS is used for addresses
/// that begin with `https://`; the service's certificate must be valid for their host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities of the service's certificate. Default: those of Mozilla's root program.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, followed by the authorities between it and a root. Default: none
    /// is sent.
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key. Default: it is in `cert_file` as well.
    pub key_file: Option<PathBuf>,
}

impl ClientTls {
    /// The endpoint with TLS as the files say now.
    ///
    /// # Errors
    /// A sentence that names the file at fault.
    pub(crate) fn apply(&self, endpoint: Endpoint) -> Result<Endpoint, String> {
        let mut config = ClientTlsConfig::new();
        config = match &self.ca_file {
            None => config.with_webpki_roots(),
            Some(path) => {
                let authorities = read(path)?;
                if !has_section(&authorities, "CERTIFICATE") {
                    return Err(format!("{} holds no certificate in PEM", path.display()));
                }
                config.ca_certificate(Certificate::from_pem(authorities))
            }
        };
        match (&self.cert_file, &self.key_file) {
            (None, None) => {}
            (None, Some(_)) => return Err("a key needs its certificate".to_owned()),
            (Some(path), key_path) => {
                let certificate = read(path)?;
                let key_path = key_path.as_ref().unwrap_or(path);
                let key = read(key_path)?;
                if !has_section(&certificate, "CERTIFICATE") {
                    return Err(format!("{} holds no certificate in PEM", path.display()));
                }
                if !has_section(&key, "PRIVATE KEY") {
                    return Err(format!("{} holds no private key in PEM", key_path.display()));
                }
                config = config.identity(Identity::from_pem(certificate, key));
            }
        }
        endpoint
            .tls_config(config)
            .map_err(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether a file has a boundary line of a section of PEM whose label ends so (RFC 7468).
fn has_section(content: &[u8], label: &str) -> bool {
    let end = format!(" {label}-----");
    content
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"-----") && line.trim_ascii_end().ends_with(end.as_bytes()))
}

/// The token of calls: `authorization: Bearer TOKEN` (RFC 6750), from a file that is read again.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile {
    path: Arc<Path>,
    /// When the file was read, and the header of its token, which is never shown.
    read: Arc<Mutex<Option<(Instant, HeaderValue)>>>,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: path.into(), read: Arc::default() }
    }

    /// The header of the token. If the file can't be read any more, the last token is used.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the file was never read.
    pub(crate) async fn header(&self) -> Result<HeaderValue, Status> {
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, header)) = &known
            && at.elapsed() < TOKEN_AGE
        {
            return Ok(header.clone());
        }
        let path = Arc::clone(&self.path);
        // The file may be on a file system that hangs.
        let header = match tokio::task::spawn_blocking(move || token(&path)).await {
            Ok(header) => header,
            Err(error) => Err(error.to_string()),
        };
        let header = match (header, known) {
            (Ok(header), _) | (Err(_), Some((_, header))) => header,
            (Err(reason), None) => return Err(Status::unauthenticated(reason)),
        };
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), header.clone()));
        Ok(header)
    }
}

/// The header of the token in a file. Errors don't repeat the file's content.
pub(crate) fn token(path: &Path) -> Result<HeaderValue, String> {
    let shown = path.display();
    let content = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let token = content.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| is_token);
    let mut header = header.ok_or_else(|| format!("{shown} holds no token, or more than one"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_checked_and_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let section =
            |label: &str| format!("-----{} {label}-----\r\nAA==\n", ["BEG", "IN"].concat());
        fs::write(path("ca"), section("PRIVATE KEY")).unwrap();
        fs::write(path("cert"), section("CERTIFICATE")).unwrap();
        let endpoint = || Endpoint::from_static("https://books.example");
        let refused = |tls: ClientTls| tls.apply(endpoint()).unwrap_err();
        let no_file = ClientTls { ca_file: Some(path("no")), ..ClientTls::default() };
        assert!(refused(no_file).starts_with(path("no").to_str().unwrap()));
        let wrong = ClientTls { ca_file: Some(path("ca")), ..ClientTls::default() };
        assert!(refused(wrong).ends_with("ca holds no certificate in PEM"));
        let no_key = ClientTls { cert_file: Some(path("cert")), ..ClientTls::default() };
        assert!(refused(no_key).ends_with("cert holds no private key in PEM"));
        let alone = ClientTls { key_file: Some(path("ca")), ..ClientTls::default() };
        assert_eq!(refused(alone), "a key needs its certificate");
        assert!(ClientTls::default().apply(endpoint()).is_ok(), "the well-known authorities");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_again_and_the_last_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(path.clone());
        assert_eq!(file.header().await.unwrap_err().code(), tonic::Code::Unauthenticated);
        fs::write(&path, "bks_one\n").unwrap();
        let header = file.header().await.unwrap();
        assert_eq!(header, "Bearer bks_one");
        assert!(header.is_sensitive());
        fs::write(&path, "bks_two").unwrap();
        assert_eq!(file.header().await.unwrap(), "Bearer bks_one", "not yet");
        tokio::time::advance(TOKEN_AGE).await;
        assert_eq!(file.header().await.unwrap(), "Bearer bks_two");
        for unusable in ["", "two words", "two\nlines"] {
            fs::write(&path, unusable).unwrap();
            tokio::time::advance(TOKEN_AGE).await;
            assert_eq!(file.header().await.unwrap(), "Bearer bks_two", "{unusable:?}");
        }
    }
}
