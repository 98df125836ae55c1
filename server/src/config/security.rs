//! The settings of TLS, of credentials and of the policy.

use std::{path::PathBuf, time::Duration};

use bookstore_auth::policy::VerifiedCredentials;

use super::{
    Address, Server,
    settings::{
        ADMIN_ADDR, ADMIN_TLS, ALLOW_PLAINTEXT, LISTEN_ADDR, POLICY_FILE, POLICY_MODE,
        SECURITY_RELOAD_INTERVAL, TLS_CERT_FILE, TLS_CLIENT_AUTH, TLS_CLIENT_CA_FILE,
        TLS_CLIENT_CRL_FILE, TLS_KEY_FILE, TLS_MIN_VERSION, TOKENS_FILE,
    },
    values::{self, SettingValues},
};

/// Who may call, and how that is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// TLS on the port for calls. Default none.
    pub tls: Option<TlsFiles>,
    /// `policy_file`: who may call which method. Default none: every caller may call all.
    pub policy: Option<PathBuf>,
    /// `tokens_file`: the hashes of static tokens. Default none.
    pub tokens: Option<PathBuf>,
    /// `policy_mode` is `report`: forbidden calls are carried out, counted and logged. Default no.
    pub only_reports: bool,
    /// `admin_tls`: the admin address has TLS, with the certificate of `tls`. Default no.
    pub admin_tls: bool,
    /// `security_reload_interval`: how often files are read again. Default 10 s.
    pub reload_interval: Duration,
}

/// The files of TLS, all in PEM (RFC 7468).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls_cert_file`: the service's certificate, then the authorities between it and a root.
    pub cert: PathBuf,
    /// `tls_key_file`: its private key.
    pub key: PathBuf,
    /// `tls_client_ca_file`: callers' certificates are asked for. Default none.
    pub client: Option<ClientCertificates>,
    /// `tls_min_version` is 1.2. Default no: it is 1.3.
    pub allow_tls12: bool,
}

/// What is asked of callers' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// `tls_client_ca_file`: their authorities.
    pub authorities: PathBuf,
    /// `tls_client_crl_file`: the revocation lists of the authorities. Default none.
    pub revocation_lists: Option<PathBuf>,
    /// `tls_client_auth` is `required`, the default: a connection without a certificate is refused.
    pub required: bool,
}

impl Security {
    /// Which credentials the service verifies, beside JSON Web Tokens.
    #[must_use]
    pub fn verified(&self) -> VerifiedCredentials {
        let certificates = self.tls.as_ref().is_some_and(|tls| tls.client.is_some());
        VerifiedCredentials { tokens: self.tokens.is_some(), certificates }
    }

    pub(super) fn read(values: &mut SettingValues, server: Option<&Server>) -> Option<Self> {
        let listen_addr = server.map(|server| &server.listen_addr);
        let tls = tls(values, listen_addr);
        let admin_tls = values.read(&ADMIN_TLS, values::switch);
        if admin_tls == Some(true) {
            let needed = match (&tls, server) {
                (Some(None), _) => Some("tls_cert_file and tls_key_file"),
                (_, Some(server)) if server.admin_addr.is_none() => Some(ADMIN_ADDR.key),
                _ => None,
            };
            if let Some(needed) = needed {
                values.read::<()>(&ADMIN_TLS, |_| Err(format!("must come with {needed}")))?;
            }
        }
        let interval = Duration::from_millis(100)..=Duration::from_hours(1);
        let reload_interval = values.read(&SECURITY_RELOAD_INTERVAL, values::duration(interval));
        let policy = values.read(&POLICY_FILE, path);
        let only_reports = values.read(&POLICY_MODE, |text| match text {
            "enforce" => Ok(false),
            "report" => Ok(true),
            _ => Err("must be enforce or report".to_owned()),
        });
        let tokens = values.read(&TOKENS_FILE, path);
        if let (Some(None), Some(Some(_))) = (&policy, &tokens) {
            let problem = format!("must come with {}", POLICY_FILE.key);
            values.read::<()>(&TOKENS_FILE, |_| Err(problem))?;
        }
        let allow_plaintext = values.read(&ALLOW_PLAINTEXT, values::switch);
        if let (Some(None), Some(true)) = (&policy, only_reports) {
            let problem = format!("must come with {}", POLICY_FILE.key);
            values.read::<()>(&POLICY_MODE, |_| Err(problem))?;
        }
        if let (Some(Some(_)), Some(None), Some(false)) = (&policy, &tls, allow_plaintext)
            && listen_addr.is_some_and(|address| !address.is_of_this_machine())
        {
            let problem = "other machines reach this address, so tokens would pass in plaintext: \
                           policy_file needs tls_cert_file and tls_key_file, or allow_plaintext = \
                           true where something else encrypts";
            values.read::<()>(&LISTEN_ADDR, |_| Err(problem.to_owned()))?;
        }
        Some(Self {
            policy: policy?,
            tokens: tokens?,
            only_reports: only_reports?,
            tls: tls?,
            admin_tls: admin_tls?,
            reload_interval: reload_interval?,
        })
    }
}

/// An empty path is none.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a parser")]
fn path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}

fn tls(values: &mut SettingValues, listen_addr: Option<&Address>) -> Option<Option<TlsFiles>> {
    let cert = values.read(&TLS_CERT_FILE, path);
    let key = values.read(&TLS_KEY_FILE, path);
    let authorities = values.read(&TLS_CLIENT_CA_FILE, path);
    let required = values.read(&TLS_CLIENT_AUTH, |text| match text {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err("must be required or optional".to_owned()),
    });
    let lists = values.read(&TLS_CLIENT_CRL_FILE, path);
    let allow_tls12 = values.read(&TLS_MIN_VERSION, |text| match text {
        "1.2" => Ok(true),
        "1.3" => Ok(false),
        _ => Err("must be 1.2 or 1.3".to_owned()),
    });
    let (cert, key, authorities, lists) = (cert?, key?, authorities?, lists?);
    // A setting that does nothing alone is a mistake: its owner believes in it.
    let mut needs = |setting, needed: &str| {
        let problem = format!("must come with {needed}");
        values.read::<()>(setting, |_| Err(problem))
    };
    match (&cert, &key) {
        (None, Some(_)) => needs(&TLS_KEY_FILE, TLS_CERT_FILE.key)?,
        (Some(_), None) => needs(&TLS_CERT_FILE, TLS_KEY_FILE.key)?,
        _ => {}
    }
    if authorities.is_some() && cert.is_none() {
        needs(&TLS_CLIENT_CA_FILE, "tls_cert_file and tls_key_file")?;
    }
    if lists.is_some() && authorities.is_none() {
        needs(&TLS_CLIENT_CRL_FILE, TLS_CLIENT_CA_FILE.key)?;
    }
    if cert.is_some() && matches!(listen_addr, Some(Address::Unix(_))) {
        needs(&TLS_CERT_FILE, "a listen_addr with an IP address: a socket's file has no TLS")?;
    }
    let required = required?;
    let client = authorities.map(|authorities| ClientCertificates {
        authorities,
        revocation_lists: lists,
        required,
    });
    let allow_tls12 = allow_tls12?;
    Some(cert.zip(key).map(|(cert, key)| TlsFiles { cert, key, client, allow_tls12 }))
}
