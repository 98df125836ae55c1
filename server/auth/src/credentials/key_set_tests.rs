//! Sets of keys in the forms in which identity providers publish them.

use serde_json::{Value, json};

use super::{
    key_set::KeySet,
    testing::{TestIssuer, claims, trusted},
};
use crate::{
    credentials::Authenticator,
    policy::{JwtAlgorithm, JwtIssuer},
};

/// The members of a key that other members of providers' keys are put around.
fn rsa(members: Value) -> Value {
    let mut key = TestIssuer::new().key(JwtAlgorithm::Rs256);
    let all = key.as_object_mut().unwrap();
    for name in ["kid", "alg"] {
        all.remove(name);
    }
    for (name, value) in members.as_object().unwrap() {
        all.insert(name.clone(), value.clone());
    }
    key
}

fn parse(keys: &Value) -> Result<KeySet, String> {
    KeySet::parse(keys.to_string().as_bytes(), &[JwtAlgorithm::Rs256, JwtAlgorithm::Es256])
}

/// Whether a token that the issuer of tests signs with RS256 under this `kid` is taken by a set.
fn takes(keys: &Value, kid: &str) -> bool {
    let issuer = TestIssuer::new();
    let trusted = JwtIssuer { algorithms: vec![JwtAlgorithm::Rs256], ..trusted() };
    let text = keys.to_string().into_bytes();
    let authenticator =
        Authenticator::new("", &[trusted], &mut |_| Ok(text.clone()), None).unwrap();
    let token =
        issuer.token_with(JwtAlgorithm::Rs256, json!({"kid": kid, "typ": "JWT"}), &claims());
    let header = format!("Bearer {token}");
    authenticator.authenticate_now(&[header.as_bytes()], None).is_ok()
}

#[test]
fn sets_of_providers_are_read() {
    // Keycloak, /realms/NAME/protocol/openid-connect/certs: a key for signatures and one for
    // encryption, each with its certificate.
    let keycloak = json!({"keys": [
        rsa(json!({"kid": "9vKz", "alg": "RSA-OAEP", "use": "enc", "x5c": ["MIICnzCCAYcCBgGN"],
            "x5t": "Zk", "x5t#S256": "mN"})),
        rsa(json!({"kid": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE", "alg": "RS256", "use": "sig",
            "x5c": ["MIICnzCCAYcCBgGN"], "x5t": "hA", "x5t#S256": "Qd"})),
    ]});
    // Auth0, /.well-known/jwks.json: two keys, the second for the next rotation.
    let auth0 = json!({"keys": [
        rsa(json!({"alg": "RS256", "use": "sig", "kid": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4",
            "x5t": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4", "x5c": ["MIIDDTCCAfWgAwIBAgIJ"]})),
        rsa(json!({"alg": "RS256", "use": "sig", "kid": "next", "x5t": "next", "x5c": ["MIIDDTCC"]})),
    ]});
    // Google, /oauth2/v3/certs.
    let google = json!({"keys": [
        rsa(json!({"kid": "1f40f0a8ef3d880978dc82f25c3ec317c6a5b781", "use": "sig", "alg": "RS256"})),
        rsa(json!({"use": "sig", "alg": "RS256", "kid": "a06af0b68a2119d692cac4abf415ff3788136f65"})),
    ]});
    // Kubernetes, /openid/v1/jwks.
    let kubernetes = json!({"keys": [
        rsa(json!({"use": "sig", "kid": "Jnnk5wZaPgGcvVtLQkcxVyXyZ0q2m1DhJ1DDUqUvzM0", "alg": "RS256"})),
    ]});
    // Entra ID, /discovery/v2.0/keys: no alg, and members of its own.
    let entra = json!({"keys": [
        rsa(json!({"use": "sig", "kid": "kg2LYs2T0CTjIfj4rt6JIynen38", "x5t": "kg2LYs2T0CTjIfj4",
            "x5c": ["MIIDBTCCAe2gAwIBAgIQ"], "cloud_instance_name": "microsoftonline.com",
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"})),
    ]});
    // AWS Cognito, and a set without use and alg.
    let cognito = json!({"keys": [rsa(json!({"alg": "RS256", "kid": "abcd=", "use": "sig"}))]});
    let bare = json!({"keys": [rsa(json!({"kid": "k", "key_ops": ["verify"]}))]});
    // Keys of types that are not known here beside one that is.
    let mixed = json!({"keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "post-quantum", "pub": "AAAA"},
        {"kty": "EC", "crv": "P-521", "kid": "p521", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "kid": "k1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"},
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        {"kid": "nothing"},
        "no object",
        rsa(json!({"kid": "rs512", "alg": "RS512"})),
        rsa(json!({"kid": "wrap", "key_ops": ["wrapKey"]})),
        rsa(json!({"kid": "good", "alg": "RS256", "use": "sig"})),
    ], "updated": "today"});
    for (keys, kid, passed_over) in [
        (&keycloak, "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE", 1),
        (&auth0, "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4", 0),
        (&google, "a06af0b68a2119d692cac4abf415ff3788136f65", 0),
        (&kubernetes, "Jnnk5wZaPgGcvVtLQkcxVyXyZ0q2m1DhJ1DDUqUvzM0", 0),
        (&entra, "kg2LYs2T0CTjIfj4rt6JIynen38", 0),
        (&cognito, "abcd=", 0),
        (&bare, "k", 0),
        (&mixed, "good", 9),
    ] {
        let set = parse(keys).unwrap();
        assert_eq!(set.passed_over.len(), passed_over, "{:?}", set.passed_over);
        assert!(takes(keys, kid), "{keys}");
        assert!(!takes(keys, "another"), "{keys}");
    }
    assert!(!takes(&keycloak, "9vKz"), "the key for encryption verifies nothing");
    assert!(!takes(&mixed, "rs512"), "its algorithm is another one");
}

#[test]
fn numbers_may_have_padding_and_a_leading_zero() {
    use base64::{Engine, engine::general_purpose::URL_SAFE};
    let plain = rsa(json!({"kid": "k"}));
    let decode = |name: &str| {
        let text = plain[name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let mut padded = plain.clone();
    for name in ["n", "e"] {
        padded[name] = json!(URL_SAFE.encode([&[0][..], &decode(name)].concat()));
    }
    assert!(takes(&json!({"keys": [padded]}), "k"));
}

#[test]
fn sets_without_a_key_that_can_be_used_are_refused() {
    let short = "w".repeat(170);
    let issuer = TestIssuer::new();
    let mut private = rsa(json!({"kid": "k"}));
    private["d"] = json!("AAAA");
    let mut half = issuer.key(JwtAlgorithm::Es256);
    half["y"] = json!("AAAA");
    let mut crossed = issuer.key(JwtAlgorithm::Es256);
    crossed["alg"] = json!("RS256");
    for (keys, fault) in [
        (json!([]), "no JSON object"),
        (json!({}), "no list of keys"),
        (json!({"keys": {}}), "no list of keys"),
        (json!({"keys": []}), "the set has no keys"),
        (json!({"keys": [{"kty": "oct", "k": "AAAA"}]}), "it holds a secret"),
        (json!({"keys": [private]}), "it holds a secret"),
        (json!({"keys": [{"kty": "RSA", "n": short, "e": "AQAB"}]}), "2048 to 8192 bits, not 10"),
        (json!({"keys": [{"kty": "RSA", "e": "AQAB"}]}), "its n is missing"),
        (json!({"keys": [{"kty": "RSA", "n": "*", "e": "AQAB"}]}), "is not base64url"),
        (json!({"keys": [half]}), "its y has not 32 bytes"),
        (json!({"keys": [crossed]}), "its type EC doesn't fit its algorithm RS256"),
        (json!({"keys": [issuer.key(JwtAlgorithm::EdDsa)]}), "the policy doesn't take EdDSA"),
    ] {
        let refused = parse(&keys).unwrap_err();
        assert!(refused.contains(fault), "{refused}");
    }
    assert!(KeySet::parse(b"<html>", &JwtAlgorithm::ALL).is_err());
}
