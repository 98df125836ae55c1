//! Certificates of X.509 for tests: an authority that signs what a test asks for, and the files of
//! a service with TLS.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The purpose of a certificate (extendedKeyUsage of RFC 5280, 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A service's.
    Server,
    /// A client's.
    Client,
}

/// An authority whose certificates tests trust, or don't.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key, both in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// The serial number of the certificate.
    pub serial: u64,
}

impl Pair {
    /// The pair for a client of tonic.
    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

/// Serial numbers differ, so that one certificate can be revoked.
static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Authority {
    /// Makes an authority with this common name.
    ///
    /// # Panics
    /// If the library refuses it.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// Its own certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `localhost` and 127.0.0.1, as a service has it.
    pub fn server(&self) -> Pair {
        let names = [dns("localhost"), SanType::IpAddress([127, 0, 0, 1].into())];
        self.sign(Purpose::Server, names.to_vec(), (2020, 2099))
    }

    /// The certificate of a client with this SPIFFE URI.
    pub fn client(&self, id: &str) -> Pair {
        self.sign(Purpose::Client, vec![uri(id)], (2020, 2099))
    }

    /// A certificate that is valid from the begin of one year until the begin of another one.
    ///
    /// # Panics
    /// If the library refuses it.
    pub fn sign(&self, purpose: Purpose, names: Vec<SanType>, years: (i32, i32)) -> Pair {
        self.sign_until(purpose, names, date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1))
    }

    /// The certificate of a client that expires in `left` from now, whole seconds.
    pub fn short_lived_client(&self, id: &str, left: Duration) -> Pair {
        let begin = date_time_ymd(2020, 1, 1);
        self.sign_until(Purpose::Client, vec![uri(id)], begin, now() + left)
    }

    fn sign_until(
        &self,
        purpose: Purpose,
        names: Vec<SanType>,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.not_before = not_before;
        params.not_after = not_after;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// A revocation list with these serial numbers, in PEM. The next list is due in `due` from now.
    ///
    /// # Panics
    /// If the library refuses it.
    pub fn revoke(&self, serials: &[u64], due: Duration) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: now() + due,
            crl_number: SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a revocation list");
        list.pem().expect("a list in PEM")
    }
}

fn now() -> OffsetDateTime {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_1970.expect("a clock after 1970").as_secs();
    date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}

/// A URI as a name of a certificate.
///
/// # Panics
/// If it isn't ASCII.
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI"))
}

/// A DNS name as a name of a certificate.
///
/// # Panics
/// If it isn't ASCII.
pub fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a DNS name"))
}

/// The files of a service with TLS: its own certificate, and the authority of its clients.
#[derive(Debug)]
pub struct TlsFiles {
    folder: TempDir,
    /// The authority of both.
    pub authority: Authority,
    /// Whether clients are asked for certificates, and how: `required` or `optional`.
    client_auth: Option<&'static str>,
    revocation_lists: bool,
}

impl TlsFiles {
    /// Makes the files. Clients are asked for no certificates.
    ///
    /// # Panics
    /// If the folder can't be written.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("The authority of tests");
        let files = Self { folder, authority, client_auth: None, revocation_lists: false };
        files.write("ca.pem", &files.authority.pem());
        files.put_server(&files.authority.server());
        files
    }

    /// Asks clients for certificates: `required` or `optional`.
    #[must_use]
    pub fn client_auth(mut self, how: &'static str) -> Self {
        self.client_auth = Some(how);
        self
    }

    /// Has a revocation list, which is empty at first.
    #[must_use]
    pub fn revocation_list(mut self) -> Self {
        self.revocation_lists = true;
        self.write("crl.pem", &self.authority.revoke(&[], Duration::from_hours(1)));
        self
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of a file as text.
    ///
    /// # Panics
    /// If the temporary folder's path is no UTF-8.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path as text").to_owned()
    }

    /// Writes a file whole: a reader sees the old content or the new one.
    ///
    /// # Panics
    /// If the folder can't be written.
    pub fn write(&self, name: &str, content: &str) {
        write_whole(&self.path(name), content);
    }

    /// Replaces the service's certificate and its key.
    pub fn put_server(&self, pair: &Pair) {
        self.write("server.crt", &pair.certificate);
        self.write("server.key", &pair.key);
    }

    /// The settings of a service with these files.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("TLS_CERT_FILE", self.text("server.crt")),
            ("TLS_KEY_FILE", self.text("server.key")),
            // Tests wait for each change.
            ("SECURITY_RELOAD_INTERVAL", "200ms".to_owned()),
        ];
        if let Some(how) = self.client_auth {
            settings.push(("TLS_CLIENT_CA_FILE", self.text("ca.pem")));
            settings.push(("TLS_CLIENT_AUTH", how.to_owned()));
        }
        if self.revocation_lists {
            settings.push(("TLS_CLIENT_CRL_FILE", self.text("crl.pem")));
        }
        settings
    }

    /// The TLS of a client of this service, with a certificate of its own if one is given.
    pub fn client(&self, pair: Option<&Pair>) -> ClientTlsConfig {
        let authority = Certificate::from_pem(self.authority.pem());
        let config = ClientTlsConfig::new().ca_certificate(authority).domain_name("localhost");
        match pair {
            Some(pair) => config.identity(pair.identity()),
            None => config,
        }
    }
}

impl Default for TlsFiles {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a file under another name first.
///
/// # Panics
/// If the folder can't be written.
pub fn write_whole(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).expect("a file");
    std::fs::rename(&beside, path).expect("a file in its place");
}
