//! What a policy allows, and what is refused of a policy, each with its line.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::identity::{Identity, Principal};

const PATHS: [&str; 5] = [
    "/bookstore.v1.BookService/GetBook",
    "/bookstore.v1.BookService/CreateBook",
    "/bookstore.v1.CartService/Clear",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Methods without entries.
fn all(paths: &[&'static str]) -> Vec<PolicyMethod> {
    paths.iter().map(|path| PolicyMethod::at(path)).collect()
}

const WHOLE: &str = r#"version = 1

[roles]
reader = "reads"
writer = "writes"
admin  = "everything"

[[jwt]]
name = "shop"
issuer = "https://login.example"
audience = "bookstore"
keys_url = "https://login.example/keys"
algorithms = ["ES256", "RS256"]
roles_claim = "realm_access.roles"
roles = { staff = "writer reader" }
subjects = { "system:serviceaccount:shop:web" = "reader" }

[certificates]
"spiffe://example.org/ns/shop/sa/login" = "admin"

[tokens]
feed = "writer"

[methods.BookService]
GetBook    = "anyone"
CreateBook = "writer admin"

[methods.CartService]
Clear = "nobody"

[methods."grpc.reflection"]
ServerReflectionInfo = "everyone"

[operators]
see = "reader admin"
"#;

fn principal(identity: Identity) -> Principal {
    Principal { name: "x".into(), identity, expires: None, peer: None }
}

fn token(name: &str) -> Principal {
    principal(Identity::Token { name: name.into() })
}

fn jwt(subject: &str, roles: &[&str]) -> Principal {
    let roles: Vec<Arc<str>> = roles.iter().map(|text| Arc::from(*text)).collect();
    let identity =
        Identity::Jwt { issuer: "shop".into(), subject: subject.into(), roles: roles.into() };
    principal(identity)
}

/// The errors of a policy in which a text stands in place of another.
fn errors(from: &str, to: &str) -> Vec<String> {
    assert!(WHOLE.contains(from), "{from}");
    let errors = Policy::parse(&WHOLE.replace(from, to), &all(&PATHS)).err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_method_is_for_whom_its_line_names() {
    let policy = Policy::parse(WHOLE, &all(&PATHS)).unwrap();
    let [get, create, clear, v1, v1alpha] = PATHS;
    let (feed, stranger) = (token("feed"), token("other"));
    for (principal, path, verdict) in [
        (None, get, Verdict::Allowed),
        (None, create, Verdict::CredentialsMissing),
        (None, clear, Verdict::CredentialsMissing),
        (None, v1, Verdict::CredentialsMissing),
        (Some(&feed), get, Verdict::Allowed),
        (Some(&feed), create, Verdict::Allowed),
        (Some(&feed), clear, Verdict::Forbidden),
        (Some(&stranger), create, Verdict::Forbidden),
        (Some(&stranger), v1, Verdict::Allowed),
        (Some(&stranger), v1alpha, Verdict::Allowed),
        (Some(&feed), "/bookstore.v1.BookService/getbook", Verdict::NoMethod),
        (Some(&feed), "/bookstore.v1.BookService/GetBook/", Verdict::NoMethod),
        (None, "", Verdict::NoMethod),
    ] {
        assert_eq!(policy.judge(principal, path), verdict, "{principal:?} {path}");
    }
}

#[test]
fn roles_come_by_the_claim_the_subject_the_token_and_the_certificate() {
    let policy = Policy::parse(WHOLE, &all(&PATHS)).unwrap();
    let roles = |principal: &Principal| policy.names_of(policy.roles_of(&principal.identity));
    assert_eq!(roles(&jwt("ada", &["staff", "unknown"])), ["reader", "writer"]);
    assert_eq!(roles(&jwt("system:serviceaccount:shop:web", &[])), ["reader"]);
    assert_eq!(roles(&jwt("ada", &["admin", "writer"])), [""; 0], "texts are mapped, never taken");
    assert_eq!(roles(&token("feed")), ["writer"]);
    let name = "spiffe://example.org/ns/shop/sa/login";
    assert_eq!(roles(&principal(Identity::Certificate { name: name.into() })), ["admin"]);
    let other = Identity::Certificate { name: "feed".into() };
    assert_eq!(roles(&principal(other)), [""; 0]);
}

#[test]
fn an_issuer_is_read_with_its_defaults() {
    let policy = Policy::parse(WHOLE, &all(&PATHS)).unwrap();
    assert_eq!(policy.issuers().len(), 1);
    let issuer = &policy.issuers()[0];
    assert_eq!(&*issuer.name, "shop");
    assert_eq!(
        issuer.keys,
        KeySource::Url { url: "https://login.example/keys".into(), authorities: None }
    );
    assert_eq!(issuer.algorithms, [JwtAlgorithm::Es256, JwtAlgorithm::Rs256]);
    assert_eq!(issuer.keys_refresh, Duration::from_mins(10));
    assert_eq!(issuer.max_lifetime, Duration::from_hours(24));
    assert_eq!(issuer.typ, None);
    let given = WHOLE.replace(
        "roles_claim",
        "keys_refresh = \"90s\"\nmax_lifetime = \"7d\"\ntyp = \"at+jwt\"\nroles_claim",
    );
    let policy = Policy::parse(&given, &all(&PATHS)).unwrap();
    let issuer = &policy.issuers()[0];
    assert_eq!(issuer.keys_refresh, Duration::from_secs(90));
    assert_eq!(issuer.max_lifetime, Duration::from_hours(7 * 24));
    assert_eq!(issuer.typ.as_deref(), Some("at+jwt"));
}

#[test]
fn operators_without_a_line_are_nobody() {
    let policy = Policy::parse(WHOLE, &all(&PATHS)).unwrap();
    let operators = policy.operators();
    let admin =
        principal(Identity::Certificate { name: "spiffe://example.org/ns/shop/sa/login".into() });
    assert_eq!(policy.held(operators.see, Some(&admin)), Verdict::Allowed);
    assert_eq!(policy.held(operators.see, None), Verdict::CredentialsMissing);
    assert_eq!(policy.held(operators.change, Some(&admin)), Verdict::Forbidden);
    assert_eq!(policy.held(operators.diagnose, Some(&admin)), Verdict::Forbidden);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    for (from, to, wanted) in [
        ("version = 1", "", "line 1: version = 1 is missing"),
        ("version = 1", "version = 2", "line 1: this program reads version = 1"),
        (
            "[tokens]",
            "[tokns]\nx = 1\n[tokens]",
            "line 21: there is no section tokns, did you mean tokens?",
        ),
        ("[operators]", "[limits]\n[operators]", "line 34: this version has no [limits]"),
        ("[operators]", "[fields.Book]\n[operators]", "line 34: this version has no [fields]"),
        ("[operators]", "[audit]\n[operators]", "line 34: this version has no [audit]"),
        (
            "\"writer admin\"",
            "\"writer admin:own\"",
            "line 26: CreateBook: admin:own: this version has no rules by row (:own)",
        ),
        (
            "\"writer admin\"",
            "\"writer admn\"",
            "line 26: CreateBook: admn is no role of [roles], did you mean admin?",
        ),
        (
            "\"writer admin\"",
            "\"writer,admin\"",
            "line 26: CreateBook: writer,admin is no role of [roles]",
        ),
        ("\"writer admin\"", "\"writer writer\"", "line 26: CreateBook: writer stands twice"),
        (
            "\"writer admin\"",
            "\"writer anyone\"",
            "line 26: CreateBook: anyone stands alone, without roles beside it",
        ),
        (
            "\"writer admin\"",
            "\"nobody admin\"",
            "line 26: CreateBook: nobody stands alone, without roles beside it",
        ),
        ("\"writer admin\"", "\"\"", "line 26: CreateBook must not be empty"),
        (
            "\"writer admin\"",
            "\" \"",
            "line 26: CreateBook: must name roles, anyone, everyone or nobody",
        ),
        (
            "\"writer admin\"",
            "[\"writer\"]",
            "line 26: CreateBook must be a text in quotes, found: array",
        ),
        (
            "CreateBook = \"writer admin\"",
            "",
            "line 24: [methods.BookService] has no line for CreateBook",
        ),
        (
            "CreateBook =",
            "CreateBok =",
            "line 26: BookService has no method CreateBok, did you mean CreateBook?",
        ),
        (
            "[methods.CartService]\nClear = \"nobody\"",
            "",
            "line 24: [methods.CartService] has no line for Clear",
        ),
        (
            "[methods.CartService]",
            "[methods.CardService]",
            "line 28: the service has no CardService, did you mean CartService?",
        ),
        (
            "[methods.CartService]",
            "[methods.AccessService]\nWhoAmI = \"anyone\"\n[methods.CartService]",
            "line 28: this version has no AccessService",
        ),
        (
            "[methods.\"grpc.reflection\"]",
            "[methods.grpc.reflection]",
            "line 31: the service has no grpc, write [methods.\"grpc.reflection\"]",
        ),
        (
            "feed = \"writer\"",
            "feed_a = \"writer\"",
            "line 22: the token \"feed_a\" must be lower-case letters",
        ),
        (
            "feed = \"writer\"",
            "feed = \"everyone\"",
            "line 22: feed: everyone is no role of [roles]",
        ),
        (
            "\"spiffe://example.org/ns/shop/sa/login\"",
            "\"CN=login\"",
            "line 19: the certificate \"CN=login\" must be a spiffe:// URI",
        ),
        (
            "\"spiffe://example.org/ns/shop/sa/login\"",
            "\"dns:*.example.org\"",
            "line 19: \"dns:*.example.org\": a wildcard names no certificate",
        ),
        (
            "writer = \"writes\"",
            "everyone = \"x\"\nwriter = \"writes\"",
            "line 5: everyone is a word of the rules and can't be a role",
        ),
        (
            "writer = \"writes\"",
            "own = \"x\"\nwriter = \"writes\"",
            "line 5: own is a word of the rules and can't be a role",
        ),
        (
            "writer = \"writes\"",
            "idle = \"x\"\nwriter = \"writes\"",
            "line 5: no caller has this role: no line of [[jwt]], [certificates] or [tokens] gives idle",
        ),
        ("see =", "sea =", "line 35: [operators] has no key sea, did you mean see?"),
        ("see = \"reader admin\"", "see = \"root\"", "line 35: see: root is no role of [roles]"),
        ("name = \"shop\"", "", "line 8: [[jwt]] has no name"),
        ("issuer = ", "issuers = ", "line 10: [[jwt]] has no key issuers, did you mean issuer?"),
        (
            "https://login.example/keys",
            "http://login.example/keys",
            "line 12: keys_url must be an https:// address",
        ),
        (
            "https://login.example/keys",
            "https://a@b/keys",
            "line 12: keys_url must be an https:// address",
        ),
        (
            "keys_url =",
            "keys_file = \"/k\"\nkeys_url =",
            "line 8: [[jwt]] needs keys_file or keys_url, and only one of them",
        ),
        ("\"ES256\", \"RS256\"", "\"none\"", "line 13: the algorithm \"none\" isn't taken"),
        (
            "\"ES256\", \"RS256\"",
            "\"HS256\"",
            "line 13: the algorithm \"HS256\" isn't taken, did you mean RS256?",
        ),
        (
            "[\"ES256\", \"RS256\"]",
            "[]",
            "line 13: algorithms must be a list of RS256, PS256, ES256, EdDSA",
        ),
        (
            "roles_claim = \"realm_access.roles\"\n",
            "",
            "line 8: [[jwt]] needs roles_claim and roles together",
        ),
        ("\"writer reader\"", "\"root\"", "line 15: staff: root is no role of [roles]"),
        (
            "algorithms =",
            "max_lifetime = \"1y\"\nalgorithms =",
            "line 13: max_lifetime must be a whole number with s, m, h or d behind it",
        ),
        (
            "[certificates]",
            "[[jwt]]\nname = \"shop\"\nissuer = \"b\"\naudience = \"b\"\nkeys_file = \"b\"\nalgorithms = [\"RS256\"]\n[certificates]",
            "line 18: a second [[jwt]] has the name shop",
        ),
        ("feed = \"writer\"", "feed = \"writer\"\nfeed = \"reader\"", "line 23: duplicate key"),
        ("version = 1", "version = ", "line 1: "),
    ] {
        let found = errors(from, to);
        let told = found.iter().any(|error| error.starts_with(wanted));
        assert!(told, "{to:?}\nwanted: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn all_mistakes_are_told_together_in_order() {
    let text = WHOLE.replace("\"writer admin\"", "\"boss\"").replace("see =", "look =");
    let errors = Policy::parse(&text, &all(&PATHS)).unwrap_err();
    let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [26, 35], "{errors:?}");
}

#[test]
fn a_claim_for_rules_by_row_is_told_to_have_no_effect() {
    let text = WHOLE.replace("algorithms =", "user_claim = \"bookstore_user\"\nalgorithms =");
    let policy = Policy::parse(&text, &all(&PATHS)).unwrap();
    assert_eq!(policy.warnings().len(), 1);
    let warning = &policy.warnings()[0];
    assert_eq!(warning.line, 13);
    assert!(warning.message.starts_with("user_claim has no effect"), "{warning}");
}

#[test]
fn sixty_four_roles_are_distinguished_and_more_are_refused() {
    let policy = |count: usize| {
        let mut text = "version = 1\n[roles]\n".to_owned();
        let names: Vec<String> = (0..count).map(|at| format!("r{at}")).collect();
        names.iter().for_each(|name| text.push_str(&format!("{name} = \"x\"\n")));
        text.push_str("[tokens]\n");
        names.iter().for_each(|name| text.push_str(&format!("{name} = \"{name}\"\n")));
        text.push_str("[methods.BookService]\nGetBook = \"r63\"\n");
        Policy::parse(&text, &all(&PATHS[..1]))
    };
    let whole = policy(64).unwrap();
    assert_eq!(whole.judge(Some(&token("r63")), PATHS[0]), Verdict::Allowed);
    assert_eq!(whole.judge(Some(&token("r62")), PATHS[0]), Verdict::Forbidden);
    let errors = policy(65).unwrap_err();
    assert!(errors.iter().any(|it| it.message == "a policy has at most 64 roles"), "{errors:?}");
}
