//! The policy in memory, and how it judges a call.

use std::{collections::HashMap, sync::Arc};

use super::{
    error::PolicyError,
    issuer::JwtIssuer,
    methods::{MethodName, PolicyMethod},
    needed::{NeededSettings, VerifiedCredentials},
    operators::Operators,
    read::{self, Contents},
    rule::{Role, Rule, Verdict},
};
use crate::identity::{Identity, Principal, RoleSet};

/// A whole policy. It covers every method of the service, so that no method is without a rule.
#[derive(Clone, Debug)]
pub struct Policy {
    roles: Vec<Role>,
    issuers: Vec<JwtIssuer>,
    pub(super) certificates: HashMap<Arc<str>, RoleSet>,
    pub(super) tokens: HashMap<Arc<str>, RoleSet>,
    guards: HashMap<&'static str, Guard>,
    lines: Vec<(MethodName, Rule)>,
    entries: HashMap<MethodName, MethodName>,
    operators: Operators,
    settings: NeededSettings,
    warnings: Vec<PolicyError>,
}

/// What holds calls of one method.
#[derive(Clone, Copy, Debug)]
struct Guard {
    rule: Rule,
    /// The rule of the method that judges each entry.
    entries: Option<Rule>,
}

impl Guard {
    fn judge(self, roles: Option<RoleSet>) -> Verdict {
        match (self.rule.judge(roles), self.entries.map(|entries| entries.judge(roles))) {
            (Verdict::Allowed, Some(Verdict::Forbidden)) => Verdict::EntriesForbidden,
            (Verdict::Allowed, Some(verdict)) => verdict,
            (verdict, _) => verdict,
        }
    }
}

impl Policy {
    /// Reads a policy for a service with these methods, which are all that it has but for those
    /// that are exempt from the policy.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the lines.
    pub fn parse(text: &str, methods: &[PolicyMethod]) -> Result<Self, Vec<PolicyError>> {
        let Contents { roles, issuers, certificates, tokens, lines, operators, settings, warnings } =
            read::read(text, methods)?;
        let by_name: HashMap<&MethodName, Rule> =
            lines.iter().map(|(name, rule)| (name, *rule)).collect();
        // Each has a line: what has none was refused above, and would be denied here.
        let rule = |path: &str| {
            let name = MethodName::of_path(path);
            name.and_then(|name| by_name.get(&name).copied()).unwrap_or_default()
        };
        let (mut guards, mut entries) = (HashMap::new(), HashMap::new());
        for method in methods {
            let guard = Guard { rule: rule(method.path), entries: method.entries.map(rule) };
            guards.insert(method.path, guard);
            let names = MethodName::of_path(method.path);
            entries.extend(names.zip(method.entries.and_then(MethodName::of_path)));
        }
        Ok(Self {
            roles,
            issuers,
            certificates,
            tokens,
            guards,
            lines,
            entries,
            operators,
            settings,
            warnings,
        })
    }

    /// What the policy says that has no effect in this version.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyError] {
        &self.warnings
    }

    /// The sections that have no effect because the service verifies no such credentials.
    #[must_use]
    pub fn unverified(&self, verified: VerifiedCredentials) -> Vec<PolicyError> {
        self.settings.unverified(verified)
    }

    /// The issuers of JSON Web Tokens that it trusts.
    #[must_use]
    pub fn issuers(&self) -> &[JwtIssuer] {
        &self.issuers
    }

    /// The roles, in the order of the file.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// The methods with their rules, in the order of the file.
    #[must_use]
    pub fn lines(&self) -> &[(MethodName, Rule)] {
        &self.lines
    }

    /// The rule of a method, by its name in the file.
    #[must_use]
    pub fn rule(&self, method: &MethodName) -> Option<Rule> {
        self.lines.iter().find(|(name, _)| name == method).map(|(_, rule)| *rule)
    }

    /// The method that does for one entry what this one does for many.
    #[must_use]
    pub fn entries(&self, method: &MethodName) -> Option<&MethodName> {
        self.entries.get(method)
    }

    /// Whether a caller with these roles may call a method; none has no credentials.
    #[must_use]
    pub fn verdict(&self, method: &MethodName, roles: Option<RoleSet>) -> Verdict {
        let Some(rule) = self.rule(method) else { return Verdict::NoMethod };
        let entries = self.entries(method).and_then(|entries| self.rule(entries));
        Guard { rule, entries }.judge(roles)
    }

    /// The names of the static tokens that have roles.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.keys().map(|name| &**name)
    }

    /// The names of the client certificates that have roles.
    pub fn certificates(&self) -> impl Iterator<Item = &str> {
        self.certificates.keys().map(|name| &**name)
    }

    /// The rules of the operators' address.
    #[must_use]
    pub fn operators(&self) -> Operators {
        self.operators
    }

    /// The roles of what credentials prove; none is no error.
    #[must_use]
    pub fn roles_of(&self, identity: &Identity) -> RoleSet {
        match identity {
            Identity::Token { name } => self.tokens.get(name).copied().unwrap_or_default(),
            Identity::Certificate { name } => {
                self.certificates.get(name).copied().unwrap_or_default()
            }
            Identity::Jwt { issuer, subject, roles } => {
                let Some(known) = self.issuers.iter().find(|known| known.name == *issuer) else {
                    return RoleSet::default();
                };
                let by_claim = roles.iter().filter_map(|text| known.roles.get(&**text));
                let by_subject = known.subjects.get(&**subject);
                by_claim.chain(by_subject).fold(RoleSet::default(), |all, some| all.union(*some))
            }
        }
    }

    /// The names of the roles of a set, in the order of the file.
    #[must_use]
    pub fn names_of(&self, set: RoleSet) -> Vec<&str> {
        let named = self.roles.iter().filter(|role| role.set.intersects(set));
        named.map(|role| &*role.name).collect()
    }

    /// Whether a caller may call the method at a path; none has no credentials.
    #[must_use]
    pub fn judge(&self, principal: Option<&Principal>, path: &str) -> Verdict {
        match self.guards.get(path) {
            Some(guard) => guard.judge(self.roles_of_caller(principal)),
            None => Verdict::NoMethod,
        }
    }

    /// Whether a rule of the policy lets a caller pass; none has no credentials.
    #[must_use]
    pub fn held(&self, rule: Rule, principal: Option<&Principal>) -> Verdict {
        rule.judge(self.roles_of_caller(principal))
    }

    fn roles_of_caller(&self, principal: Option<&Principal>) -> Option<RoleSet> {
        principal.map(|principal| self.roles_of(&principal.identity))
    }
}
