//! Certificates of X.509 (RFC 5280), as far as the service reads them: the name that a client's
//! certificate gives to its holder, and how long a certificate is valid.
//!
//! Nothing is verified here. The TLS library has verified a client's certificate before this code
//! reads its name.

mod der;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use self::der::DerReader;

/// The longest name of a principal with its prefix `cert:`, in bytes.
const LONGEST: usize = 256 - "cert:".len();

/// The scheme of a SPIFFE ID (SPIFFE-ID, section 2).
const SPIFFE: &str = "spiffe://";

/// The DER encoding of id-ce-subjectAltName, 2.5.29.17 (RFC 5280, 4.2.1.6).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Tags of DER (X.690), and of the alternatives of GeneralName.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// When it becomes valid (`notBefore`).
    pub not_before: SystemTime,
    /// When it expires (`notAfter`).
    pub not_after: SystemTime,
    /// The name of its holder: its one SPIFFE URI; or, if it has no URI at all, `dns:` and its one
    /// DNS name in lower case. None if it has several, or one that is malformed, a wildcard or
    /// longer than 251 bytes. The common name is never taken, since authorities don't verify it.
    pub name: Option<Arc<str>>,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(der: &[u8]) -> Result<Self, MalformedCertificate> {
        read(der).ok_or(MalformedCertificate)
    }
}

/// When the next list after a revocation list in DER is due (`nextUpdate` of RFC 5280, 5.1); none
/// if it doesn't say.
///
/// # Errors
/// If it is malformed.
pub fn next_revocation_list(der: &[u8]) -> Result<Option<SystemTime>, MalformedCertificate> {
    let read = || {
        let mut all = DerReader::new(der).whole(SEQUENCE)?;
        let mut fields = all.nested(SEQUENCE)?;
        fields.optional(INTEGER)?;
        // The algorithm of the signature, and the issuer.
        for _ in 0..2 {
            fields.any()?;
        }
        let _this_update = fields.time()?;
        if fields.is_time() { fields.time().map(Some) } else { Some(None) }
    };
    read().ok_or(MalformedCertificate)
}

/// A certificate or revocation list that is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is malformed")]
pub struct MalformedCertificate;

/// The name of a connection's client certificate, in the extensions of each of its calls. Clones
/// are of the same connection.
#[derive(Clone, Debug)]
pub struct PeerName {
    name: Arc<str>,
    refused: Arc<AtomicBool>,
}

impl PeerName {
    /// The name of a certificate that has been verified.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self { name, refused: Arc::default() }
    }

    /// The name: a SPIFFE URI, or `dns:` and a DNS name. None once the certificate is no longer
    /// accepted: it has expired, or the authorities or revocation lists have changed. A stream asks
    /// again at each message.
    #[must_use]
    pub fn get(&self) -> Option<&Arc<str>> {
        (!self.refused.load(Ordering::Acquire)).then_some(&self.name)
    }

    /// Notes that the certificate is no longer accepted.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }
}

/// Certificate and TBSCertificate (RFC 5280, 4.1).
fn read(der: &[u8]) -> Option<Certificate> {
    let mut all = DerReader::new(der).whole(SEQUENCE)?;
    let mut fields = all.nested(SEQUENCE)?;
    fields.optional(VERSION)?;
    // The serial number, the algorithm of the signature, and the issuer.
    for _ in 0..3 {
        fields.any()?;
    }
    let mut validity = fields.nested(SEQUENCE)?;
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let mut names = AltNames::default();
    while !fields.is_empty() {
        let (tag, content) = fields.any()?;
        if tag == EXTENSIONS {
            let mut extensions = DerReader::new(content).whole(SEQUENCE)?;
            while !extensions.is_empty() {
                names.read_extension(extensions.nested(SEQUENCE)?)?;
            }
        }
    }
    Some(Certificate { not_before, not_after, name: names.holder() })
}

/// The names of a certificate.
#[derive(Default)]
struct AltNames<'a> {
    uris: Vec<&'a [u8]>,
    dns_names: Vec<&'a [u8]>,
}

impl<'a> AltNames<'a> {
    /// Takes the names of an extension, if it is subjectAltName.
    fn read_extension(&mut self, mut extension: DerReader<'a>) -> Option<()> {
        let id = extension.expect(OBJECT_IDENTIFIER)?;
        extension.optional(BOOLEAN)?;
        let value = extension.expect(OCTET_STRING)?;
        if id != SUBJECT_ALT_NAME {
            return Some(());
        }
        let mut names = DerReader::new(value).whole(SEQUENCE)?;
        while !names.is_empty() {
            match names.any()? {
                (URI, name) => self.uris.push(name),
                (DNS_NAME, name) => self.dns_names.push(name),
                _ => {}
            }
        }
        Some(())
    }

    fn holder(&self) -> Option<Arc<str>> {
        let text = |name: &'a [u8]| std::str::from_utf8(name).ok();
        let name = match (self.uris.as_slice(), self.dns_names.as_slice()) {
            ([uri], _) => text(uri).filter(|uri| is_spiffe_id(uri))?.to_owned(),
            ([], [name]) => {
                let name = text(name).filter(|name| is_host_name(name))?;
                format!("dns:{}", name.to_ascii_lowercase())
            }
            _ => return None,
        };
        (name.len() <= LONGEST).then(|| name.into())
    }
}

/// Whether a text is a SPIFFE ID of a workload: a trust domain and a path (SPIFFE-ID, sections 2.1
/// and 2.2).
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix(SPIFFE).and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let in_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(in_path)
    };
    !domain.is_empty() && domain.bytes().all(in_domain) && path.split('/').all(is_segment)
}

/// Whether a text is the DNS name of one host, not a wildcard (RFC 1123, 2.1).
fn is_host_name(name: &str) -> bool {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.split('.').all(|label| {
        (1..=63).contains(&label.len()) && label.bytes().all(in_label) && !label.starts_with('-')
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Certificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name.push(DnType::CommonName, "spiffe://example.org/root");
        params.not_before = date_time_ymd(2026, 2, 28);
        params.not_after = date_time_ymd(2051, 3, 1);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(made.der()).unwrap()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn name(names: Vec<SanType>) -> Option<String> {
        certificate(names).name.map(|name| name.to_string())
    }

    #[test]
    fn the_one_spiffe_uri_or_the_one_dns_name_is_the_name() {
        let web = "spiffe://example.org/ns/shop/sa/web";
        assert_eq!(name(vec![uri(web)]).as_deref(), Some(web));
        // A mesh adds DNS names.
        assert_eq!(name(vec![dns("a.example"), uri(web), dns("b.example")]).as_deref(), Some(web));
        assert_eq!(name(vec![dns("Web.Example")]).as_deref(), Some("dns:web.example"));
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(name(vec![address, dns("web")]).as_deref(), Some("dns:web"));
    }

    #[test]
    fn a_certificate_with_several_names_or_an_unusable_one_has_none() {
        let long = format!("spiffe://example.org/{}", "a".repeat(240));
        let unnamed = [
            // The common name of each is spiffe://example.org/root.
            vec![],
            vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b")],
            vec![uri("spiffe://example.org/a"), uri("https://example.org/a")],
            vec![uri("https://example.org/a"), dns("web.example")],
            vec![dns("a.example"), dns("b.example")],
            vec![dns("*.example")],
            vec![dns("web.example.")],
            vec![dns("web..example")],
            vec![dns("web example")],
            vec![uri("spiffe://example.org")],
            vec![uri("spiffe://example.org/")],
            vec![uri("spiffe://Example.org/a")],
            vec![uri("spiffe://example.org/a/../b")],
            vec![uri("spiffe://example.org/a#b")],
            vec![uri("spiffe://example.org/a%2fb")],
            vec![uri("spiffe://user@example.org/a")],
            vec![uri("SPIFFE://example.org/a")],
            vec![uri(&long)],
        ];
        for names in unnamed {
            assert_eq!(name(names.clone()), None, "{names:?}");
        }
    }

    #[test]
    fn the_validity_is_read_in_both_forms_of_time() {
        let Certificate { not_before, not_after, .. } = certificate(vec![]);
        // UTCTime until 2049, GeneralizedTime from 2050 on.
        assert_eq!(not_before, UNIX_EPOCH + Duration::from_secs(1_772_236_800));
        assert_eq!(not_after, UNIX_EPOCH + Duration::from_secs(2_561_241_600));
    }

    #[test]
    fn no_piece_of_a_certificate_is_one() {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri("spiffe://example.org/a")];
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = made.der();
        for length in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..length]), Err(MalformedCertificate), "{length}");
        }
        // Whatever a byte becomes, the parser answers.
        for at in 0..der.len() {
            for value in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.to_vec();
                changed[at] = value;
                let _ = Certificate::parse(&changed);
            }
        }
    }

    #[test]
    fn a_refused_certificate_names_its_connection_no_more() {
        let peer = PeerName::new("dns:web".into());
        let call = peer.clone();
        assert_eq!(call.get().map(AsRef::as_ref), Some("dns:web"));
        peer.refuse();
        assert_eq!(call.get(), None);
    }
}
