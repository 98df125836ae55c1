//! Loads the files of TLS.

use std::{fmt, path::Path, sync::Arc, time::SystemTime};

use bookstore_auth::{Certificate, next_revocation_list};
use chrono::{DateTime, SecondsFormat, Utc};
use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{
        ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use crate::{
    config::{ClientCertificates, TlsFiles},
    security::reload::FileReader,
};

/// HTTP/2 over TLS (RFC 9113, 3.2). A client that offers other protocols alone gets an alert.
const ALPN: &[u8] = b"h2";

/// The protocols of the admin address: HTTP/2 for health checks, HTTP/1.1 for all else (RFC 9112).
const ADMIN_ALPN: [&[u8]; 2] = [ALPN, b"http/1.1"];

/// The versions of TLS.
const FROM_12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const FROM_13: &[&SupportedProtocolVersion] = &[&TLS13];

/// What the files say.
pub(super) struct TlsInForce {
    pub(super) config: Arc<ServerConfig>,
    /// The configuration of the admin address: the same certificate, no client certificates.
    pub(super) admin: Arc<ServerConfig>,
    /// Verifies callers' certificates; none if they aren't asked for.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When what a file holds expires, by the setting that names the file.
    pub(super) expiry: Vec<(&'static str, SystemTime)>,
}

impl fmt::Debug for TlsInForce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsInForce").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// Loads all files. Nothing of an earlier configuration is shared with this one, in particular not
/// the keys of session tickets: a session that was begun before can't be resumed, so its client's
/// certificate is verified again.
///
/// # Errors
/// A sentence that names the file at fault. It repeats nothing of the file's content.
pub(super) fn load(
    files: &TlsFiles,
    reader: &mut FileReader,
    now: SystemTime,
) -> Result<TlsInForce, String> {
    let provider = Arc::new(ring::default_provider());
    let mut expiry = Vec::new();
    let own = own_certificate(files, reader, &provider, now)?;
    expiry.push(("tls_cert_file", own.1));
    let verifier = match &files.client {
        None => None,
        Some(client) => Some(verifier(client, reader, &provider, &mut expiry)?),
    };
    let versions = if files.allow_tls12 { FROM_12 } else { FROM_13 };
    let wrong = |error: rustls::Error| format!("TLS can't be set up: {error}");
    let certificate = Arc::new(SingleCertAndKey::from(own.0));
    let config = |verifier: Option<Arc<dyn ClientCertVerifier>>, protocols: &[&[u8]]| {
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(certificate.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.ticketer = ring::Ticketer::new()?;
        Ok::<_, rustls::Error>(Arc::new(config))
    };
    let admin = config(None, &ADMIN_ALPN).map_err(wrong)?;
    let config = config(verifier.clone(), &[ALPN]).map_err(wrong)?;
    Ok(TlsInForce { config, admin, verifier, expiry })
}

/// The service's certificate with its key, and when it expires.
fn own_certificate(
    files: &TlsFiles,
    reader: &mut FileReader,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(CertifiedKey, SystemTime), String> {
    let path = &files.cert;
    let chain: Vec<CertificateDer<'static>> = read_all(path, "certificate", reader)?;
    let mut validity = None;
    for certificate in &chain {
        let wrong = |error| format!("{}: a certificate is of no use: {error}", path.display());
        ParsedCertificate::try_from(certificate).map_err(|error| wrong(error.to_string()))?;
        let parsed = Certificate::parse(certificate).map_err(|error| wrong(error.to_string()))?;
        validity.get_or_insert((parsed.not_before, parsed.not_after));
    }
    let (not_before, not_after) =
        validity.ok_or_else(|| format!("{} holds no certificate", path.display()))?;
    if now < not_before {
        let from = time(not_before);
        return Err(format!("{}: the certificate is valid from {from} on", path.display()));
    }
    if now >= not_after {
        let at = time(not_after);
        return Err(format!("{}: the certificate has expired at {at}", path.display()));
    }
    let shown = files.key.display();
    let key = PrivateKeyDer::from_pem_slice(&reader.read(&files.key)?);
    let key = key.map_err(|error| format!("{shown} holds no private key: {}", reason(&error)))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("{shown} is not the key of the certificate in {}", path.display())
        }
        error => format!("{shown}: the key is of no use: {error}"),
    })?;
    Ok((key, not_after))
}

/// What verifies callers' certificates.
fn verifier(
    files: &ClientCertificates,
    reader: &mut FileReader,
    provider: &Arc<CryptoProvider>,
    expiry: &mut Vec<(&'static str, SystemTime)>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let path = &files.authorities;
    let wrong = |what: String| format!("{}: {what}", path.display());
    let mut authorities = RootCertStore::empty();
    let mut earliest = None;
    for certificate in read_all::<CertificateDer<'static>>(path, "certificate", reader)? {
        let unusable = |error: String| wrong(format!("an authority is of no use: {error}"));
        let parsed =
            Certificate::parse(&certificate).map_err(|error| unusable(error.to_string()))?;
        earliest = earliest.into_iter().chain([parsed.not_after]).min();
        authorities.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    expiry.extend(earliest.map(|earliest| ("tls_client_ca_file", earliest)));
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider.clone());
    if let Some(path) = &files.revocation_lists {
        let lists: Vec<CertificateRevocationListDer<'static>> =
            read_all(path, "revocation list", reader)?;
        let next = lists.iter().map(|list| next_revocation_list(list));
        let next = next.collect::<Result<Vec<_>, _>>();
        let next = next.map_err(|error| format!("{}: {error}", path.display()))?;
        let earliest = next.into_iter().flatten().min();
        expiry.extend(earliest.map(|earliest| ("tls_client_crl_file", earliest)));
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !files.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| match (error, &files.revocation_lists) {
        (VerifierBuilderError::InvalidCrl(error), Some(lists)) => {
            format!("{}: a revocation list is of no use: {error:?}", lists.display())
        }
        (error, _) => wrong(error.to_string()),
    })
}

/// All objects of a kind in a file, at least one. Objects of other kinds are passed over.
fn read_all<T: PemObject>(
    path: &Path,
    kind: &str,
    reader: &mut FileReader,
) -> Result<Vec<T>, String> {
    let content = reader.read(path)?;
    let all = T::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| format!("{} is no PEM: {}", path.display(), reason(&error)))?;
    match all.is_empty() {
        true => Err(format!("{} holds no {kind}", path.display())),
        false => Ok(all),
    }
}

/// What is wrong with a file of PEM. The library's own text repeats lines of it, which may be a
/// key's.
fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section's first line is malformed",
        pem::Error::Base64Decode(_) => "a section is no base64",
        pem::Error::NoItemsFound => "it has no such section",
        _ => "it is malformed",
    }
}

fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
