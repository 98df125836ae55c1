//! Which credentials of a call count.

use std::{path::Path, sync::Arc};

use super::{
    authenticator::Authenticator,
    error::{CredentialsError, InvalidCause},
    testing::{TestIssuer, claims, trusted},
    tokens::new_token,
};
use crate::identity::Identity;

const SCHEME: CredentialsError = CredentialsError::Invalid(InvalidCause::Scheme);

#[test]
fn a_call_has_one_header_in_one_form() {
    let made = new_token("feed", None).unwrap();
    let authenticator =
        Authenticator::new(&made.line, &[], &mut |_: &Path| Ok(Vec::new()), None).unwrap();
    let of = |values: &[&str]| {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let principal = authenticator.authenticate_now(&values, None)?;
        Ok(principal.map(|principal| principal.name.to_string()))
    };
    let token = &made.token;
    assert_eq!(of(&[]), Ok(None));
    for scheme in ["Bearer", "bearer", "bEARER"] {
        assert_eq!(of(&[&format!("{scheme} {token}")]), Ok(Some("token:feed".to_owned())));
    }
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        token,
        &format!("Bearer  {token}"),
        &format!("Bearer {token} "),
        &format!(" Bearer {token}"),
        &format!("Basic {token}"),
        &format!("Bearer\t{token}"),
    ] {
        assert_eq!(of(&[wrong]), Err(SCHEME), "{wrong}");
    }
    let right = format!("Bearer {token}");
    assert_eq!(of(&[&right, &right]), Err(CredentialsError::Repeated));
    assert_eq!(of(&["x", &right]), Err(CredentialsError::Repeated));
    let long = format!("Bearer {}", "x".repeat(10_000));
    assert_eq!(of(&[&long]), Err(CredentialsError::Invalid(InvalidCause::TooLong)));
    assert_eq!(authenticator.authenticate_now(&[b"Bearer \xff"], None), Err(SCHEME));
}

#[test]
fn a_certificate_counts_where_there_is_no_token() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let uri = "spiffe://example.org/ns/shop/sa/web";
    let of_certificate = authenticator.authenticate_now(&[], Some(uri)).unwrap().unwrap();
    assert_eq!(&*of_certificate.name, "cert:spiffe://example.org/ns/shop/sa/web");
    assert_eq!(of_certificate.identity, Identity::Certificate { name: uri.into() });
    let header = format!("Bearer {}", issuer.token(&claims()));
    for _ in 0..2 {
        let both = authenticator.authenticate_now(&[header.as_bytes()], Some(uri));
        let both = both.unwrap().unwrap();
        assert_eq!((&*both.name, both.peer.as_deref()), ("jwt:shop#ada", Some(uri)));
        // The memory is the token's: another connection's certificate isn't in it.
        let alone = authenticator.authenticate_now(&[header.as_bytes()], None).unwrap().unwrap();
        assert_eq!(alone.peer, None);
    }
    // A wrong token is not made good by a certificate.
    assert_eq!(
        authenticator.authenticate_now(&[b"Bearer x"], Some(uri)).map(drop),
        Err(CredentialsError::Invalid(InvalidCause::Malformed))
    );
    let long = format!("spiffe://example.org/{}", "a".repeat(300));
    for name in [&long, "dns:a\nb"] {
        let refused = authenticator.authenticate_now(&[], Some(name)).map(drop);
        assert_eq!(refused, Err(CredentialsError::CERTIFICATE), "{name}");
    }
}

#[test]
fn another_policy_and_other_keys_forget_what_was_verified() {
    let issuer = TestIssuer::new();
    let first = issuer.authenticator(trusted());
    let header = format!("Bearer {}", issuer.token(&claims()));
    let verified = |authenticator: &Authenticator| {
        authenticator.authenticate_now(&[header.as_bytes()], None).map(Option::unwrap)
    };
    let one = verified(&first).unwrap();
    assert!(Arc::ptr_eq(&one, &verified(&first).unwrap()), "it is remembered");
    let keys = TestIssuer::new().keys().to_string().into_bytes();
    let mut read = |_: &Path| Ok(keys.clone());
    let second = Authenticator::new("", &[trusted()], &mut read, Some(&first)).unwrap();
    let refused = verified(&second);
    assert_eq!(refused, Err(CredentialsError::Invalid(InvalidCause::Signature)));
    let third = Authenticator::new("", &[], &mut read, Some(&first)).unwrap();
    assert_eq!(verified(&third), Err(CredentialsError::Invalid(InvalidCause::Issuer)));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let mut missing = |path: &Path| Err(format!("{}: not there", path.display()));
    let refused = Authenticator::new("", &[trusted()], &mut missing, None).err().unwrap();
    assert_eq!(refused, "the issuer shop: keys.json: not there");
    let mut empty = |_: &Path| Ok(b"{}".to_vec());
    let refused = Authenticator::new("", &[trusted()], &mut empty, None).err().unwrap();
    assert!(
        refused.starts_with("the issuer shop: keys.json: it is no JSON Web Key Set"),
        "{refused}"
    );
    let refused = Authenticator::new("x", &[], &mut empty, None).err().unwrap();
    assert_eq!(refused, "line 1: must be NAME HASH, or NAME HASH until TIME");
}
