//! Who may call what: the policy, and what verifies credentials, in force together.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use bookstore_auth::{
    PeerName, Policy, Principal, Verdict,
    credentials::{Authenticator, CredentialsError},
    policy::{Operators, PolicyMethod, Rule, SeenCall, SeenCalls},
};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, Entry},
};

/// The files that say who may call what, and the methods that there are.
#[derive(Clone, Debug)]
pub struct AccessFiles {
    /// The policy (`policy_file`).
    pub policy: PathBuf,
    /// The hashes of static tokens (`tokens_file`); none has none.
    pub tokens: Option<PathBuf>,
    /// All methods that the policy must cover.
    pub methods: Vec<PolicyMethod>,
}

/// A policy with what verifies the credentials of its callers.
pub struct AccessRules {
    /// The policy.
    pub policy: Policy,
    /// Verifies credentials by the policy's issuers and the static tokens.
    pub authenticator: Authenticator,
}

/// Reads a file whole, or says in a sentence that names it why it can't.
pub type ReadFile<'a> = dyn FnMut(&Path) -> Result<Vec<u8>, String> + 'a;

impl AccessRules {
    /// Reads all files. Keys that `before` has read from addresses are kept.
    ///
    /// # Errors
    /// Everything that is wrong with one of them, a line for each fault, with the file's name.
    pub fn load(
        files: &AccessFiles,
        read: &mut ReadFile<'_>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let mut text = |path: &Path| {
            let bytes = read(path)?;
            String::from_utf8(bytes).map_err(|_| format!("{}: is not UTF-8", path.display()))
        };
        let policy = text(&files.policy)?;
        let tokens = files.tokens.as_deref().map(&mut text).transpose()?.unwrap_or_default();
        let policy = Policy::parse(&policy, &files.methods).map_err(|errors| {
            let name = files.policy.display();
            let lines = errors.iter().map(|it| format!("{name}:{}: {}", it.line, it.message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        let before = before.map(|before| &before.authenticator);
        let authenticator = Authenticator::new(&tokens, policy.issuers(), read, before);
        let authenticator = authenticator.map_err(|error| {
            match files.tokens.as_ref().zip(error.strip_prefix("line ")) {
                Some((path, error)) => format!("{}:{error}", path.display()),
                None => format!("{}: {error}", files.policy.display()),
            }
        })?;
        Ok(Self { policy, authenticator })
    }
}

/// Takes the values of `authorization` out of a request: what comes after has no need of the secret.
pub fn take_authorization(headers: &mut HeaderMap) -> Vec<HeaderValue> {
    match headers.entry(AUTHORIZATION) {
        Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        Entry::Vacant(_) => Vec::new(),
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its credentials are refused.
    Credentials(CredentialsError),
    /// It has no credentials, and its method asks for some.
    CredentialsMissing,
    /// The policy doesn't let this caller call this method.
    MethodForbidden(Arc<Principal>),
    /// The policy doesn't let this caller do to one entry what the method does to many.
    EntriesForbidden(Arc<Principal>),
}

/// A call that may go on.
pub struct Admitted {
    /// The caller; none without credentials.
    pub principal: Option<Arc<Principal>>,
    /// Why the call would be refused if the policy did more than report.
    pub reported: Option<Denied>,
    /// Whether the caller may learn which host serves it (`operators.diagnose`).
    pub diagnoses: bool,
}

impl Denied {
    /// The reason that the caller gets, as in the contract.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Credentials(CredentialsError::Repeated) => "INVALID_METADATA",
            Self::Credentials(CredentialsError::Invalid(_)) => "CREDENTIALS_INVALID",
            Self::Credentials(CredentialsError::Expired) => "CREDENTIALS_EXPIRED",
            Self::Credentials(CredentialsError::KeysUnavailable(_)) => "KEYS_UNAVAILABLE",
            Self::CredentialsMissing => "CREDENTIALS_MISSING",
            Self::MethodForbidden(_) | Self::EntriesForbidden(_) => "METHOD_FORBIDDEN",
        }
    }

    /// What is wrong with the credentials, for the log; empty if nothing is.
    pub fn cause(&self) -> String {
        match self {
            Self::Credentials(error) => error.cause(),
            _ => String::new(),
        }
    }

    /// The name of the caller, if its credentials are right.
    pub fn principal(&self) -> Option<&str> {
        match self {
            Self::MethodForbidden(principal) | Self::EntriesForbidden(principal) => {
                Some(&principal.name)
            }
            Self::Credentials(_) | Self::CredentialsMissing => None,
        }
    }
}

/// Who may call what, replaced whole while the service runs.
pub struct AccessControl {
    current: RwLock<Arc<AccessRules>>,
    /// What was called, where the policy only reports.
    seen: Option<SeenCalls>,
}

impl AccessControl {
    /// Begins with these. With `only_reports` calls that the policy forbids go on, and all calls
    /// are counted.
    pub fn new(access: AccessRules, only_reports: bool) -> Self {
        let seen = only_reports.then(SeenCalls::default);
        Self { current: RwLock::new(Arc::new(access)), seen }
    }

    /// The calls that were counted; none if the policy is enforced.
    pub fn seen(&self) -> Option<Vec<SeenCall>> {
        self.seen.as_ref().map(SeenCalls::list)
    }

    /// What is in force.
    pub fn now(&self) -> Arc<AccessRules> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in force: for new calls at once, for streams at their next message.
    pub fn replace(&self, access: AccessRules) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Verifies a call's credentials and holds the caller against the rule of the method at a path.
    /// An empty path is that of no method, and passes: the router answers it.
    ///
    /// # Errors
    /// Why the call is refused.
    pub async fn admit(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&PeerName>,
        path: &str,
    ) -> Result<Admitted, Denied> {
        let access = self.now();
        let certificate = name_of(certificate).map_err(Denied::Credentials)?;
        let principal = access.authenticator.authenticate(authorization, certificate).await;
        let principal = principal.map_err(Denied::Credentials)?;
        let reported = match path.is_empty() {
            true => None,
            false => self.judge(&access, principal.as_ref(), path)?,
        };
        let diagnose = access.policy.operators().diagnose;
        let diagnoses = access.policy.held(diagnose, principal.as_deref()) == Verdict::Allowed;
        Ok(Admitted { principal, reported, diagnoses })
    }

    /// Verifies the credentials of a request to the admin address and holds the caller against one of
    /// its rules. Returns why it would be refused if the policy did more than report.
    ///
    /// # Errors
    /// Why the request is refused.
    pub async fn admit_operator(
        &self,
        authorization: &[&[u8]],
        rule: fn(&Operators) -> Rule,
    ) -> Result<Option<Denied>, Denied> {
        let access = self.now();
        let principal = access.authenticator.authenticate(authorization, None).await;
        let principal = principal.map_err(Denied::Credentials)?;
        let rule = rule(&access.policy.operators());
        let denied = match (access.policy.held(rule, principal.as_deref()), principal) {
            (Verdict::Allowed, _) => return Ok(None),
            (Verdict::CredentialsMissing, _) | (_, None) => Denied::CredentialsMissing,
            (_, Some(principal)) => Denied::MethodForbidden(principal),
        };
        if self.seen.is_some() { Ok(Some(denied)) } else { Err(denied) }
    }

    /// Holds a caller against the rule of the method that a part of its call stands for. Returns why
    /// the part would be refused if the policy did more than report.
    ///
    /// # Errors
    /// Why the part is refused.
    pub fn judge_part(
        &self,
        principal: Option<&Arc<Principal>>,
        path: &str,
    ) -> Result<Option<Denied>, Denied> {
        self.judge(&self.now(), principal, path)
    }

    fn judge(
        &self,
        access: &AccessRules,
        principal: Option<&Arc<Principal>>,
        path: &str,
    ) -> Result<Option<Denied>, Denied> {
        let judged = access.judge(principal, path);
        match &self.seen {
            None => judged.map(|()| None),
            Some(seen) => {
                seen.note(&access.policy, principal.map(|it| &**it), path);
                Ok(judged.err())
            }
        }
    }
}

impl AccessRules {
    /// Holds a caller against the rule of the method at a path.
    fn judge(&self, principal: Option<&Arc<Principal>>, path: &str) -> Result<(), Denied> {
        let verdict = self.policy.judge(principal.map(|principal| &**principal), path);
        match (verdict, principal) {
            (Verdict::Allowed, _) => Ok(()),
            (Verdict::CredentialsMissing, _) | (_, None) => Err(Denied::CredentialsMissing),
            (Verdict::EntriesForbidden, Some(it)) => Err(Denied::EntriesForbidden(it.clone())),
            // What the policy doesn't know isn't allowed.
            (Verdict::Forbidden | Verdict::NoMethod, Some(it)) => {
                Err(Denied::MethodForbidden(it.clone()))
            }
        }
    }
}

/// The credentials of a call that streams, to be looked at again before each of its messages: they
/// may have expired or been withdrawn, and the policy may be another one.
#[derive(Clone)]
pub struct StreamAccess {
    control: Arc<AccessControl>,
    authorization: Option<Arc<[u8]>>,
    certificate: Option<PeerName>,
    method: &'static str,
}

impl StreamAccess {
    /// Keeps the credentials with which a call of the method at a path was admitted.
    pub fn new(
        control: Arc<AccessControl>,
        authorization: &[&[u8]],
        certificate: Option<PeerName>,
        method: &'static str,
    ) -> Self {
        let authorization = authorization.first().map(|value| Arc::from(*value));
        Self { control, authorization, certificate, method }
    }

    /// The path of the method.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The name of the connection's certificate.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_ref().and_then(PeerName::get).map(|name| &**name)
    }

    /// Verifies them again and holds them against the rule that is in force now.
    ///
    /// # Errors
    /// Why the call can't go on.
    pub fn check(&self) -> Result<(), Denied> {
        let access = self.control.now();
        let authorization = self.authorization.as_deref();
        let certificate = name_of(self.certificate.as_ref()).map_err(Denied::Credentials)?;
        let principal =
            access.authenticator.authenticate_now(authorization.as_slice(), certificate);
        let judged = access.judge(principal.map_err(Denied::Credentials)?.as_ref(), self.method);
        // That a policy would refuse the call was reported when it began.
        if self.control.seen.is_some() { Ok(()) } else { judged }
    }
}

/// The name of a connection's certificate; none without a certificate that has a name.
///
/// # Errors
/// If the certificate isn't accepted any more: it doesn't count as none.
fn name_of(certificate: Option<&PeerName>) -> Result<Option<&str>, CredentialsError> {
    match certificate.map(PeerName::get) {
        None => Ok(None),
        Some(Some(name)) => Ok(Some(name)),
        Some(None) => Err(CredentialsError::CERTIFICATE),
    }
}

impl std::fmt::Debug for AccessControl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AccessControl").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StreamAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StreamAccess").field("method", &self.method).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_the_request() {
        let mut headers = HeaderMap::new();
        assert!(take_authorization(&mut headers).is_empty());
        for value in ["Bearer a", "Bearer b"] {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers.insert("x-other", HeaderValue::from_static("c"));
        assert_eq!(take_authorization(&mut headers), ["Bearer a", "Bearer b"]);
        assert!(!headers.contains_key(AUTHORIZATION), "{headers:?}");
        assert_eq!(headers.len(), 1);
    }
}
