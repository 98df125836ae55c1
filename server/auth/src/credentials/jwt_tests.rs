//! JSON Web Tokens that must be refused, and those that must not.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    authenticator::Authenticator,
    error::{CredentialsError, InvalidCause as Cause},
    jwt::{self, JwtRefusal},
    key_set::KeySet,
    testing::{TestIssuer, claims, now, trusted},
};
use crate::{
    identity::Identity,
    policy::{JwtAlgorithm, JwtIssuer},
};

/// What the authenticator says of a token: the name of the principal.
fn verdict(authenticator: &Authenticator, token: &str) -> Result<String, CredentialsError> {
    let header = format!("Bearer {token}");
    let principal = authenticator.authenticate_now(&[header.as_bytes()], None)?;
    Ok(principal.expect("a principal").name.to_string())
}

fn refused(cause: Cause) -> Result<String, CredentialsError> {
    Err(CredentialsError::Invalid(cause))
}

/// The claims with one of them set, or left out if the value is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn ada() -> Result<String, CredentialsError> {
    Ok("jwt:shop#ada".to_owned())
}

#[test]
fn a_token_of_each_algorithm_is_verified() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    for algorithm in JwtAlgorithm::ALL {
        let token = issuer.token_with(algorithm, json!({"typ": "JWT"}), &claims());
        // The second time from the memory.
        assert_eq!(verdict(&authenticator, &token), ada(), "{algorithm:?}");
        assert_eq!(verdict(&authenticator, &token), ada(), "{algorithm:?}");
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let mut altered = URL_SAFE_NO_PAD.decode(signature).unwrap();
        altered[7] ^= 1;
        let altered = format!("{rest}.{}", URL_SAFE_NO_PAD.encode(altered));
        assert_eq!(verdict(&authenticator, &altered), refused(Cause::Signature));
        let other = TestIssuer::new().token_with(algorithm, json!({}), &claims());
        if !matches!(algorithm, JwtAlgorithm::Rs256 | JwtAlgorithm::Ps256) {
            assert_eq!(verdict(&authenticator, &other), refused(Cause::Signature));
        }
    }
}

#[test]
fn tokens_without_a_signature_are_refused() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let body = URL_SAFE_NO_PAD.encode(claims().to_string());
    for name in ["none", "None", "nOnE", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": name}).to_string());
        let wanted = refused(Cause::Algorithm);
        assert_eq!(verdict(&authenticator, &format!("{header}.{body}.")), wanted, "{name}");
        assert_eq!(verdict(&authenticator, &format!("{header}.{body}.AAAA")), wanted, "{name}");
        let short = verdict(&authenticator, &format!("{header}.{body}"));
        assert_eq!(short, refused(Cause::Malformed), "{name}");
    }
    // A right token without its signature.
    let token = issuer.token(&claims());
    let unsigned = &token[..=token.rfind('.').unwrap()];
    assert_eq!(verdict(&authenticator, unsigned), refused(Cause::Signature));
}

#[test]
fn the_key_decides_on_the_algorithm() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    // HS256 with the public key as the secret, and other algorithms that aren't taken.
    for name in ["HS256", "RS512", "ES384", "rs256", "RSA"] {
        let header = json!({"alg": name, "kid": "RS256"}).to_string();
        let token = issuer.signed(JwtAlgorithm::Rs256, &header, &claims().to_string());
        assert_eq!(verdict(&authenticator, &token), refused(Cause::Algorithm), "{name}");
    }
    // The name of one algorithm, and the key of another one.
    let header = json!({"alg": "PS256", "kid": "RS256"});
    let token = issuer.token_with(JwtAlgorithm::Ps256, header, &claims());
    assert_eq!(verdict(&authenticator, &token), refused(Cause::Algorithm));
    let header = json!({"alg": "RS256"});
    let token = issuer.token_with(JwtAlgorithm::Es256, header, &claims());
    assert_eq!(verdict(&authenticator, &token), refused(Cause::Algorithm));
    // One that the policy doesn't name.
    let few = crate::policy::JwtIssuer { algorithms: vec![JwtAlgorithm::EdDsa], ..trusted() };
    let authenticator = issuer.authenticator(few);
    let token = issuer.token(&claims());
    assert_eq!(verdict(&authenticator, &token), refused(Cause::Algorithm));
    // RFC 9864 names it so.
    let token = issuer.token_with(JwtAlgorithm::EdDsa, json!({"alg": "Ed25519"}), &claims());
    assert_eq!(verdict(&authenticator, &token), ada());
}

#[test]
fn the_audience_is_one_of_the_tokens() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let of = |audience: Value| verdict(&authenticator, &issuer.token(&with("aud", audience)));
    for right in [json!("bookstore"), json!(["bookstore"]), json!(["other", "bookstore"])] {
        assert_eq!(of(right), ada());
    }
    for wrong in [
        json!("other"),
        json!(null),
        json!(["other"]),
        json!([]),
        json!("bookstore-admin"),
        json!("book"),
        json!("Bookstore"),
        json!(["bookstore", 1]),
        json!({"bookstore": true}),
    ] {
        assert_eq!(of(wrong.clone()), refused(Cause::Audience), "{wrong}");
    }
}

#[test]
fn issuer_and_subject_are_demanded() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let of = |name, value| verdict(&authenticator, &issuer.token(&with(name, value)));
    for wrong in [
        json!(null),
        json!("https://login.example/realms/shop/"),
        json!("https://evil.example"),
        json!(["https://login.example/realms/shop"]),
    ] {
        assert_eq!(of("iss", wrong.clone()), refused(Cause::Issuer), "{wrong}");
    }
    let long = "a".repeat(300);
    for wrong in [json!(null), json!(""), json!(7), json!(long), json!("a\nb")] {
        assert_eq!(of("sub", wrong.clone()), refused(Cause::Subject), "{wrong}");
    }
}

/// The authenticator picks the rules by the issuer. This holds even if it picked others.
#[test]
fn rules_of_another_issuer_verify_no_token() {
    let issuer = TestIssuer::new();
    let keys = issuer.keys().to_string();
    let keys = KeySet::parse(keys.as_bytes(), &JwtAlgorithm::ALL).unwrap();
    let token = issuer.token(&claims());
    let verify = |rules| jwt::parse(&token).unwrap().verify(&rules, &keys, SystemTime::now());
    assert!(verify(trusted()).is_ok());
    let other = JwtIssuer { issuer: "https://other.example".into(), ..trusted() };
    assert_eq!(verify(other).err(), Some(JwtRefusal::Invalid(Cause::Issuer)));
}

#[test]
fn times_are_demanded_and_bounded() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let of = |name, value| verdict(&authenticator, &issuer.token(&with(name, value)));
    let now = now();
    assert_eq!(of("exp", json!(now - 20)), ada(), "within the leeway");
    assert_eq!(of("exp", json!(now - 40)), Err(CredentialsError::Expired));
    assert_eq!(of("exp", json!(now as f64 + 60.5)), ada());
    for wrong in
        [json!(null), json!("soon"), json!((now + 60).to_string()), json!(-1), json!(1e300)]
    {
        assert_eq!(of("exp", wrong.clone()), refused(Cause::Times), "{wrong}");
    }
    for name in ["iat", "nbf"] {
        assert_eq!(of(name, json!(now + 20)), ada(), "{name}");
        assert_eq!(of(name, json!(now + 40)), refused(Cause::Times), "{name}");
        assert_eq!(of(name, json!("now")), refused(Cause::Times), "{name}");
    }
    let day = 86_400;
    assert_eq!(of("exp", json!(now + day + 2)), refused(Cause::Lifetime));
    let mut undated = with("iat", Value::Null);
    assert_eq!(verdict(&authenticator, &issuer.token(&undated)), ada());
    undated["exp"] = json!(now + day + 60);
    let long = verdict(&authenticator, &issuer.token(&undated));
    assert_eq!(long, refused(Cause::Lifetime));
    // What is wrong and has expired is wrong: the caller would renew it in vain.
    let mut both = with("exp", json!(now - 100));
    both["aud"] = json!("other");
    assert_eq!(verdict(&authenticator, &issuer.token(&both)), refused(Cause::Audience));
}

#[test]
fn headers_with_more_than_they_may_have_are_refused() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let of = |header| {
        verdict(&authenticator, &issuer.token_with(JwtAlgorithm::Es256, header, &claims()))
    };
    let evil = TestIssuer::new().key(JwtAlgorithm::Es256);
    // Passed over: the key is that of the set.
    let others = json!({"jku": "https://evil.example", "x5u": "x", "jwk": evil, "x5c": ["x"]});
    assert_eq!(of(others), ada());
    assert_eq!(of(json!({"crit": ["exp"]})), refused(Cause::Critical));
    assert_eq!(of(json!({"crit": []})), refused(Cause::Critical));
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"] {
        assert_eq!(of(json!({"typ": typ})), ada(), "{typ}");
    }
    for typ in [json!("dpop+jwt"), json!(""), json!(1), json!("logout+jwt")] {
        assert_eq!(of(json!({"typ": typ})), refused(Cause::Type), "{typ}");
    }
    for kid in [json!(7), json!(["ES256"]), json!(null)] {
        assert_eq!(of(json!({"kid": kid})), refused(Cause::Malformed), "{kid}");
    }
    let strict = crate::policy::JwtIssuer { typ: Some("at+jwt".into()), ..trusted() };
    let authenticator = issuer.authenticator(strict);
    let token = |header| issuer.token_with(JwtAlgorithm::Es256, header, &claims());
    assert_eq!(verdict(&authenticator, &token(json!({"typ": "at+JWT"}))), ada());
    for header in [json!({}), json!({"typ": "JWT"})] {
        assert_eq!(verdict(&authenticator, &token(header)), refused(Cause::Type));
    }
}

#[test]
fn malformed_tokens_are_refused() {
    let issuer = TestIssuer::new();
    let authenticator = issuer.authenticator(trusted());
    let right = issuer.token(&claims());
    let doubled = claims().to_string().replacen('{', r#"{"sub": "eve","#, 1);
    let header = r#"{"alg":"ES256","kid":"ES256"}"#;
    let doubled = issuer.signed(JwtAlgorithm::Es256, header, &doubled);
    let header = r#"{"alg":"none","alg":"ES256"}"#;
    let twice = issuer.signed(JwtAlgorithm::Es256, header, &claims().to_string());
    for token in [
        doubled,
        twice,
        format!("{right}."),
        format!("{right}.AAAA"),
        format!(".{right}"),
        format!("{right}="),
        right.replace('.', ".."),
        "a.b.c".into(),
        "..".into(),
        "x".into(),
        issuer.signed(JwtAlgorithm::Es256, "[]", &claims().to_string()),
        issuer.signed(JwtAlgorithm::Es256, "{}", "null"),
    ] {
        assert_eq!(verdict(&authenticator, &token), refused(Cause::Malformed), "{token}");
    }
    let long = issuer.token(&with("more", json!("x".repeat(8192))));
    assert_eq!(verdict(&authenticator, &long), refused(Cause::TooLong));
}

#[test]
fn a_kid_picks_the_key() {
    let issuer = TestIssuer::new();
    let mut keys = issuer.keys();
    let other = TestIssuer::new();
    let mut second = other.key(JwtAlgorithm::Es256);
    second["kid"] = json!("second");
    keys["keys"].as_array_mut().unwrap().push(second);
    let mut read = |_: &std::path::Path| Ok(keys.to_string().into_bytes());
    let authenticator = Authenticator::new("", &[trusted()], &mut read, None).unwrap();
    let token = |issuer: &TestIssuer, kid: Value| {
        let mut header = json!({"alg": "ES256"});
        if !kid.is_null() {
            header["kid"] = kid;
        }
        issuer.signed(JwtAlgorithm::Es256, &header.to_string(), &claims().to_string())
    };
    assert_eq!(verdict(&authenticator, &token(&other, json!("second"))), ada());
    assert_eq!(verdict(&authenticator, &token(&other, Value::Null)), ada(), "each is tried");
    let wrong = verdict(&authenticator, &token(&issuer, json!("second")));
    assert_eq!(wrong, refused(Cause::Signature));
    let unknown = verdict(&authenticator, &token(&issuer, json!("third")));
    assert_eq!(unknown, refused(Cause::UnknownKey));
}

#[test]
fn roles_are_the_texts_that_the_policy_names() {
    let issuer = TestIssuer::new();
    let roles_of = |path: &str, claims: &Value| {
        let roles = [("staff".to_owned(), Default::default())];
        let roles_claim = Some(path.to_owned());
        let trusted = crate::policy::JwtIssuer { roles_claim, roles: roles.into(), ..trusted() };
        let header = format!("Bearer {}", issuer.token(claims));
        let authenticator = issuer.authenticator(trusted);
        let principal = authenticator.authenticate_now(&[header.as_bytes()], None).unwrap();
        match &principal.unwrap().identity {
            Identity::Jwt { roles, .. } => roles.iter().map(ToString::to_string).collect(),
            _ => vec!["no JWT".to_owned()],
        }
    };
    let none: [&str; 0] = [];
    assert_eq!(roles_of("roles", &with("roles", json!(["x", "staff", 1]))), ["staff"]);
    assert_eq!(roles_of("roles", &with("roles", json!("staff"))), ["staff"]);
    assert_eq!(roles_of("roles", &with("roles", json!("staff x"))), none);
    assert_eq!(roles_of("roles", &with("roles", json!({"staff": true}))), none);
    assert_eq!(roles_of("roles", &claims()), none);
    let nested = with("realm_access", json!({"roles": ["staff"]}));
    assert_eq!(roles_of("realm_access.roles", &nested), ["staff"]);
    let whole = with("https://shop.example/roles", json!(["staff"]));
    assert_eq!(roles_of("https://shop.example/roles", &whole), ["staff"]);
}
