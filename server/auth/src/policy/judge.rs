//! The policy in memory, and how it judges a call.

use std::{collections::HashMap, sync::Arc};

use super::{
    error::PolicyError,
    issuer::JwtIssuer,
    methods::MethodName,
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
    rules: HashMap<Box<str>, Rule>,
    lines: Vec<(MethodName, Rule)>,
    operators: Operators,
    warnings: Vec<PolicyError>,
}

impl Policy {
    /// Reads a policy. `paths` are the paths of all methods that the service has, such as
    /// `/bookstore.v1.BookService/GetBook`, without those that are exempt from the policy.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the lines.
    pub fn parse(text: &str, paths: &[&str]) -> Result<Self, Vec<PolicyError>> {
        let Contents { roles, issuers, certificates, tokens, lines, operators, warnings } =
            read::read(text, paths)?;
        let by_name: HashMap<&MethodName, Rule> =
            lines.iter().map(|(name, rule)| (name, *rule)).collect();
        let mut rules = HashMap::new();
        for path in paths {
            // Each has a line: what has none was refused above, and would be denied here.
            let name = MethodName::of_path(path);
            let rule = name.and_then(|name| by_name.get(&name).copied()).unwrap_or_default();
            rules.insert((*path).into(), rule);
        }
        Ok(Self { roles, issuers, certificates, tokens, rules, lines, operators, warnings })
    }

    /// What the policy says that has no effect in this version.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyError] {
        &self.warnings
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
        match self.rules.get(path) {
            Some(rule) => self.held(*rule, principal),
            None => Verdict::NoMethod,
        }
    }

    /// Whether a rule of the policy lets a caller pass; none has no credentials.
    #[must_use]
    pub fn held(&self, rule: Rule, principal: Option<&Principal>) -> Verdict {
        rule.judge(principal.map(|principal| match rule {
            Rule::Roles(_) => self.roles_of(&principal.identity),
            // Their roles don't matter.
            Rule::Anyone | Rule::Everyone => RoleSet::default(),
        }))
    }
}
