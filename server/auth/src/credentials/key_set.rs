//! Sets of public keys (RFC 7517) as identity providers publish them.
//!
//! A set may hold keys that are of no use here: for encryption, of other types, or for other
//! algorithms. They are passed over, as RFC 7517, 5, asks.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;

use super::json::{self, Object};
use crate::policy::JwtAlgorithm;

/// The most keys of a set that are taken.
const MOST_KEYS: usize = 100;

/// The lengths that an RSA key may have, in bits. RFC 7518, 3.3, asks for 2,048 at least.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// base64url (RFC 4648, 5). RFC 7515, 2, has no padding, but some providers add it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of an issuer that can verify its tokens. There is at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
    /// Why each of the other keys is passed over.
    pub(super) passed_over: Vec<String>,
}

/// A public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    id: Option<String>,
    algorithms: Vec<JwtAlgorithm>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, without leading zeros.
    Rsa(RsaNumbers),
    /// An uncompressed point of P-256 (SEC 1, 2.3.3).
    P256([u8; 65]),
    /// A point of Ed25519 (RFC 8032, 5.1.2).
    Ed25519([u8; 32]),
}

/// Modulus and exponent of an RSA key (RFC 7518, 6.3.1).
#[derive(Debug, PartialEq, Eq)]
struct RsaNumbers {
    n: Vec<u8>,
    e: Vec<u8>,
}

impl KeySet {
    /// Reads a set. Keys without an algorithm have all of their type that are allowed.
    ///
    /// # Errors
    /// Bytes that are no set, and a set without a key that can be used.
    pub(super) fn parse(bytes: &[u8], allowed: &[JwtAlgorithm]) -> Result<Self, String> {
        let set =
            json::object(bytes).ok_or("it is no JSON object, or a name stands twice in it")?;
        let listed = set.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or("it is no JSON Web Key Set: it has no list of keys")?;
        let (mut keys, mut passed_over) = (Vec::new(), Vec::new());
        for (index, key) in listed.iter().take(MOST_KEYS).enumerate() {
            match PublicKey::read(key, allowed) {
                Ok(key) => keys.push(key),
                Err(fault) => passed_over.push(format!("keys[{index}]: {fault}")),
            }
        }
        match keys.is_empty() {
            false => Ok(Self { keys, passed_over }),
            true if passed_over.is_empty() => Err("the set has no keys".into()),
            true => Err(format!("the set has no key that can be used: {}", passed_over.join("; "))),
        }
    }

    /// The keys that may have signed a token: of its `kid`, if both have one, and of its algorithm.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().filter(move |key| {
            let is_named = match (id, key.id.as_deref()) {
                (Some(wanted), Some(id)) => wanted == id,
                _ => true,
            };
            is_named && key.algorithms.contains(&algorithm)
        })
    }

    /// Whether a key has this `kid`.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The number of keys that can be used.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl PublicKey {
    fn read(key: &Value, allowed: &[JwtAlgorithm]) -> Result<Self, String> {
        let key = key.as_object().ok_or("it is no object")?;
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|it| it != "sig") {
            return Err("it is not for signatures (use)".into());
        }
        let operations = key.get("key_ops").and_then(json::texts);
        if operations.is_some_and(|it| !it.contains(&"verify")) {
            return Err("it is not for verifying (key_ops)".into());
        }
        let kind = text("kty").ok_or("it has no type (kty)")?;
        if kind == "oct" || key.contains_key("d") {
            return Err("it holds a secret: an issuer publishes public keys alone".into());
        }
        let (material, of_kind) = match (kind, text("crv")) {
            ("RSA", _) => (rsa(key)?, &[JwtAlgorithm::Rs256, JwtAlgorithm::Ps256][..]),
            ("EC", Some("P-256")) => (p256(key)?, &[JwtAlgorithm::Es256][..]),
            ("OKP", Some("Ed25519")) => (ed25519(key)?, &[JwtAlgorithm::EdDsa][..]),
            (kind, None) => return Err(format!("keys of type {kind:?} are not taken")),
            (_, Some(curve)) => return Err(format!("keys of curve {curve:?} are not taken")),
        };
        let own = match text("alg") {
            None => of_kind,
            Some(name) => match named(name) {
                Some(algorithm) => of_kind
                    .iter()
                    .position(|it| *it == algorithm)
                    .map(|index| &of_kind[index..=index])
                    .ok_or_else(|| format!("its type {kind} doesn't fit its algorithm {name}"))?,
                None => return Err(format!("the algorithm {name:?} is not taken")),
            },
        };
        let algorithms: Vec<_> = own.iter().copied().filter(|it| allowed.contains(it)).collect();
        if algorithms.is_empty() {
            let names: Vec<&str> = own.iter().map(|algorithm| algorithm.name()).collect();
            return Err(format!("the policy doesn't take {}", names.join(", ")));
        }
        Ok(Self { id: text("kid").map(str::to_owned), algorithms, material })
    }

    /// Whether the key made a signature of a message.
    pub(super) fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let rsa = |key: &RsaNumbers, parameters| {
            let key = RsaPublicKeyComponents { n: &key.n, e: &key.e };
            key.verify(parameters, message, signature)
        };
        let verified = match (algorithm, &self.material) {
            (JwtAlgorithm::Rs256, Material::Rsa(key)) => rsa(key, &RSA_PKCS1_2048_8192_SHA256),
            (JwtAlgorithm::Ps256, Material::Rsa(key)) => rsa(key, &RSA_PSS_2048_8192_SHA256),
            (JwtAlgorithm::Es256, Material::P256(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (JwtAlgorithm::EdDsa, Material::Ed25519(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// The algorithm of a name in a header or in a key. `Ed25519` is the newer name of EdDSA with that
/// curve (RFC 9864, 2.2).
pub(super) fn named(name: &str) -> Option<JwtAlgorithm> {
    match name {
        "Ed25519" => Some(JwtAlgorithm::EdDsa),
        name => JwtAlgorithm::named(name),
    }
}

fn number(key: &Object, name: &str) -> Result<Vec<u8>, String> {
    let text = key.get(name).and_then(Value::as_str);
    let decoded = text.and_then(|text| BASE64.decode(text).ok());
    decoded.ok_or_else(|| format!("its {name} is missing or is not base64url"))
}

fn rsa(key: &Object) -> Result<Material, String> {
    // Some providers write a zero in front, as DER does.
    let plain = |name| -> Result<Vec<u8>, String> {
        Ok(number(key, name)?.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    let (n, e) = (plain("n")?, plain("e")?);
    let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len() * 8 - unused;
    if !RSA_BITS.contains(&bits) {
        return Err(format!("an RSA key has from {} to {} bits, not {bits}", 2048, 8192));
    }
    Ok(Material::Rsa(RsaNumbers { n, e }))
}

fn p256(key: &Object) -> Result<Material, String> {
    let mut point = [4; 65];
    for (name, place) in [("x", 1..33), ("y", 33..65)] {
        let number = number(key, name)?;
        let place = point.get_mut(place).filter(|place| place.len() == number.len());
        place.ok_or_else(|| format!("its {name} has not 32 bytes"))?.copy_from_slice(&number);
    }
    Ok(Material::P256(point))
}

fn ed25519(key: &Object) -> Result<Material, String> {
    let point = <[u8; 32]>::try_from(number(key, "x")?);
    point.map(Material::Ed25519).map_err(|_| "its x has not 32 bytes".into())
}
