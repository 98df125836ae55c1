//! Callers with credentials: policies, static tokens, an issuer of JSON Web Tokens, and the https
//! address of its keys.

use std::{
    convert::Infallible,
    fmt::{Debug, Formatter},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bookstore_auth::credentials::new_token;
use bookstore_proto::DESCRIPTOR_POOL;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Builder;

/// The files of a service whose callers have credentials: the policy and the hashes of tokens.
#[derive(Debug)]
pub struct AccessFiles {
    folder: TempDir,
}

impl AccessFiles {
    /// A policy, without tokens.
    ///
    /// # Panics
    /// If the files can't be written.
    pub fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Self { folder };
        files.set_policy(policy);
        files.set_tokens("");
        files
    }

    /// A file beside them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the policy.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn set_policy(&self, text: &str) {
        self.replace("policy.toml", text);
    }

    /// Replaces the lines of the tokens.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn set_tokens(&self, lines: &str) {
        self.replace("tokens", lines);
    }

    /// Replaces a file whole.
    ///
    /// # Panics
    /// If the file can't be written.
    pub fn replace(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(new, self.path(name)).expect("a file");
    }

    /// A new token, whose line is added to the file.
    ///
    /// # Panics
    /// If the name can't be a token's.
    pub fn token(&self, name: &str) -> String {
        self.token_until(name, None)
    }

    /// The same for a token that expires.
    ///
    /// # Panics
    /// If the name can't be a token's.
    pub fn token_until(&self, name: &str, until: Option<SystemTime>) -> String {
        let made = new_token(name, until).expect("a token");
        let lines = std::fs::read_to_string(self.path("tokens")).expect("the tokens");
        self.set_tokens(&format!("{lines}{}\n", made.line));
        made.token
    }

    /// The settings of a service that has these files and reads them ten times a second.
    pub fn apply(&self, builder: Builder) -> Builder {
        let text = |path: PathBuf| path.display().to_string();
        builder
            .env("POLICY_FILE", &text(self.path("policy.toml")))
            .env("TOKENS_FILE", &text(self.path("tokens")))
            .env("SECURITY_RELOAD_INTERVAL", "100ms")
    }
}

/// The methods of the contract, as `BookService/GetBook`.
pub fn methods() -> Vec<String> {
    let services = DESCRIPTOR_POOL.services().filter(|it| it.package_name() == "bookstore.v1");
    let of = |service: prost_reflect::ServiceDescriptor| {
        let methods = service.methods();
        let names = methods.map(|method| format!("{}/{}", service.name(), method.name()));
        names.collect::<Vec<_>>()
    };
    services.flat_map(of).collect()
}

/// A policy with the roles `member` and `other`, which the tokens `ada` and `ben`, and `eve` have.
/// `rule` says who may call a method (`BookService/GetBook`); reflection is for everyone. `more` is
/// put behind the roles.
pub fn policy(rule: impl Fn(&str) -> String, more: &str) -> String {
    let mut text = format!(
        "version = 1\n[roles]\nmember = \"may\"\nother = \"may not\"\n{more}\n\
         [tokens]\nada = \"member\"\nben = \"member\"\neve = \"other\"\n"
    );
    let mut last = String::new();
    for method in methods() {
        let (service, name) = method.split_once('/').expect("Service/Method");
        if service != last {
            text += &format!("[methods.{service}]\n");
            service.clone_into(&mut last);
        }
        text += &format!("{name} = \"{}\"\n", rule(&method));
    }
    text + "[methods.\"grpc.reflection\"]\nServerReflectionInfo = \"everyone\"\n"
}

/// The seconds since 1970.
///
/// # Panics
/// If the clock is before that.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// An issuer of JSON Web Tokens with one key (ES256).
pub struct Issuer {
    key: EcdsaKeyPair,
    id: String,
}

impl Debug for Issuer {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issuer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer with a new key of this `kid`.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("the key");
        Self { key, id: id.to_owned() }
    }

    /// Its name, which its tokens have as `iss`.
    pub const NAME: &str = "https://login.example";

    /// The table of the policy that trusts it, with these lines about its keys.
    pub fn table(keys: &str) -> String {
        format!(
            "[[jwt]]\nname = \"shop\"\nissuer = \"{}\"\naudience = \"bookstore\"\n\
             algorithms = [\"ES256\"]\nsubjects = {{ ada = \"member\" }}\n{keys}\n",
            Self::NAME
        )
    }

    /// A set of the public keys of issuers (RFC 7517).
    pub fn keys(issuers: &[&Self]) -> String {
        let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.public()).collect();
        json!({"keys": keys}).to_string()
    }

    fn public(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    /// Claims that are right for five minutes.
    pub fn claims(subject: &str) -> Value {
        let (issued, expires) = (now(), now() + 300);
        json!({"iss": Self::NAME, "aud": "bookstore", "sub": subject, "iat": issued, "exp": expires})
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": self.id}), claims)
    }

    /// A token of this header and these claims.
    ///
    /// # Panics
    /// If the system gives no random numbers.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature =
            self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An https address with the keys of an issuer, for the life of the test's runtime.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    document: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    /// Begins to serve a document. The certificate of the server's authority is written to a file.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(document: &str, authority: &Path) -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        std::fs::write(authority, made.cert.pem()).expect("a file");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(default_provider().into());
        let tls = tls.with_safe_default_protocol_versions().expect("versions of TLS");
        let certificate = vec![made.cert.der().clone()];
        let tls = tls.with_no_client_auth().with_single_cert(certificate, key).expect("a key");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/keys", listener.local_addr().expect("an address"));
        let document = Arc::new(Mutex::new(document.to_owned()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (document.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, served, counted) =
                    (acceptor.clone(), served.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(|_: Request<Incoming>| {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let text = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        async { Ok::<_, Infallible>(Response::new(text)) }
                    });
                    // The service may close the connection in any way.
                    drop(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await,
                    );
                });
            }
        });
        Self { url, document, asked }
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves another document from now on.
    pub fn set(&self, document: &str) {
        let mut served = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        document.clone_into(&mut served);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
