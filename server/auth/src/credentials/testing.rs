//! What the tests of this folder share: an issuer that signs tokens.

use std::sync::Arc;

use super::key_set::KeySet;
use crate::policy::JwtAlgorithm;

/// Keys of an issuer.
pub(super) fn issuer_keys() -> Arc<KeySet> {
    let key = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    Arc::new(KeySet::parse(key.as_bytes(), &JwtAlgorithm::ALL).expect("a set of keys"))
}
