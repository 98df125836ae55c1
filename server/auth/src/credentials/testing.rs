//! What the tests of this folder share: an issuer with keys of every type that signs tokens.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use super::{authenticator::Authenticator, key_set::KeySet};
use crate::policy::{JwtAlgorithm, JwtIssuer, KeySource};

/// The private key of the issuer of tests. ring makes no RSA keys.
const RSA_KEY: &[u8] = include_bytes!("../../../../tests/fixtures/issuer/rsa-key.pem");

/// An issuer that signs whatever it is told to.
pub(super) struct TestIssuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl TestIssuer {
    /// An issuer with an RSA key that all have, and new other ones.
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let rsa = PrivatePkcs8KeyDer::from_pem_slice(RSA_KEY).expect("a key");
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: RsaKeyPair::from_pkcs8(rsa.secret_pkcs8_der()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    /// The public key of an algorithm, with its name as its `kid`.
    pub(super) fn key(&self, algorithm: JwtAlgorithm) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (kid, alg) = (algorithm.name(), algorithm.name());
        match algorithm {
            JwtAlgorithm::Rs256 | JwtAlgorithm::Ps256 => {
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
                json!({"kty": "RSA", "kid": kid, "alg": alg, "n": text(&n), "e": text(&e)})
            }
            JwtAlgorithm::Es256 => {
                let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(x), "y": text(y)})
            }
            JwtAlgorithm::EdDsa => {
                let x = text(self.ed.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    /// All keys.
    pub(super) fn keys(&self) -> Value {
        json!({"keys": JwtAlgorithm::ALL.map(|algorithm| self.key(algorithm))})
    }

    /// Signs a message.
    pub(super) fn signature(&self, algorithm: JwtAlgorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            JwtAlgorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            JwtAlgorithm::Es256 => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            JwtAlgorithm::EdDsa => self.ed.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these claims whose header has these names besides `alg` and `kid`.
    pub(super) fn token_with(
        &self,
        algorithm: JwtAlgorithm,
        header: Value,
        claims: &Value,
    ) -> String {
        let mut all = json!({"alg": algorithm.name(), "kid": algorithm.name()});
        for (name, value) in header.as_object().cloned().unwrap_or_default() {
            all[name] = value;
        }
        self.signed(algorithm, &all.to_string(), &claims.to_string())
    }

    /// A token of these texts.
    pub(super) fn signed(&self, algorithm: JwtAlgorithm, header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = self.signature(algorithm, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of these claims, signed with ES256.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(JwtAlgorithm::Es256, json!({}), claims)
    }

    /// What trusts the issuer.
    pub(super) fn authenticator(&self, issuer: JwtIssuer) -> Authenticator {
        let keys = self.keys().to_string().into_bytes();
        Authenticator::new("", &[issuer], &mut |_: &Path| Ok(keys.clone()), None).unwrap()
    }
}

/// The issuer as the policy describes it.
pub(super) fn trusted() -> JwtIssuer {
    JwtIssuer {
        name: "shop".into(),
        issuer: "https://login.example/realms/shop".into(),
        audience: "bookstore".into(),
        keys: KeySource::File("keys.json".into()),
        keys_refresh: Duration::from_secs(600),
        algorithms: JwtAlgorithm::ALL.to_vec(),
        typ: None,
        max_lifetime: Duration::from_secs(86_400),
        roles_claim: None,
        roles: [].into(),
        subjects: [].into(),
    }
}

/// Claims that are right for five minutes.
pub(super) fn claims() -> Value {
    json!({
        "iss": "https://login.example/realms/shop",
        "aud": "bookstore",
        "sub": "ada",
        "iat": now(),
        "exp": now() + 300,
    })
}

/// The seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Keys of an issuer.
pub(super) fn issuer_keys() -> Arc<KeySet> {
    let keys = TestIssuer::new().keys().to_string();
    Arc::new(KeySet::parse(keys.as_bytes(), &JwtAlgorithm::ALL).expect("a set of keys"))
}
