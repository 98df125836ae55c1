//! The settings of TLS, of credentials and of the policy.

use super::{Setting, plain};

pub(in super::super) const DATABASE_TLS: Setting = plain(
    "database_tls",
    "auto",
    "The sslmode of database URLs that have none: disable, prefer, require, verify-ca or \
     verify-full; auto is verify-full, and prefer for a host on this machine.",
);
pub(in super::super) const POLICY_FILE: Setting = plain(
    "policy_file",
    "",
    "The file that says who may call which method; empty lets every caller call all.",
);
pub(in super::super) const POLICY_MODE: Setting = plain(
    "policy_mode",
    "enforce",
    "What happens to a call that the policy forbids: enforce refuses it; report carries it out, \
     counts and logs it.",
);
pub(in super::super) const ALLOW_PLAINTEXT: Setting = plain(
    "allow_plaintext",
    "false",
    "Whether a policy may be in force without TLS on an address that other machines reach, \
     because a mesh encrypts: true or false.",
);
pub(in super::super) const TOKENS_FILE: Setting = plain(
    "tokens_file",
    "",
    "The file of the hashes of static tokens, of which `bookstore token new` makes lines; empty is \
     none.",
);
pub(in super::super) const TLS_CERT_FILE: Setting = plain(
    "tls_cert_file",
    "",
    "The file of the service's certificate and of the authorities between it and a root, in PEM; \
     empty is no TLS.",
);
pub(in super::super) const TLS_KEY_FILE: Setting =
    plain("tls_key_file", "", "The file of the certificate's private key, in PEM.");
pub(in super::super) const TLS_CLIENT_CA_FILE: Setting = plain(
    "tls_client_ca_file",
    "",
    "The file of the authorities of callers' certificates, in PEM; empty asks for none.",
);
pub(in super::super) const TLS_CLIENT_AUTH: Setting = plain(
    "tls_client_auth",
    "required",
    "Whether a caller must have a certificate where tls_client_ca_file is given: required or \
     optional.",
);
pub(in super::super) const TLS_CLIENT_CRL_FILE: Setting = plain(
    "tls_client_crl_file",
    "",
    "The file of the revocation lists of those authorities, one of each, in PEM; a list that has \
     expired refuses all certificates of its authority.",
);
pub(in super::super) const TLS_MIN_VERSION: Setting =
    plain("tls_min_version", "1.3", "The lowest version of TLS that callers may have, 1.2 or 1.3.");
pub(in super::super) const ADMIN_TLS: Setting = plain(
    "admin_tls",
    "false",
    "Whether the admin address has TLS, with the certificate of the port for calls: true or false.",
);
pub(in super::super) const SECURITY_RELOAD_INTERVAL: Setting = plain(
    "security_reload_interval",
    "10s",
    "How often the files of certificates, credentials and rules are read again, from 100ms to 1h.",
);
