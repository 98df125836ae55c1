//! Who may call a method, and the words that say it.

use super::error::hint;
use crate::identity::RoleSet;

/// Without credentials, too.
const ANYONE: &str = "anyone";

/// With any credentials that are right, whatever their roles.
const EVERYONE: &str = "everyone";

/// No caller at all.
const NOBODY: &str = "nobody";

/// The words that no role may have as its name. `own` stands for a caller's own rows.
pub const RESERVED: [&str; 4] = [ANYONE, EVERYONE, NOBODY, "own"];

/// The most roles that a policy may have: the bits of a [`RoleSet`].
pub const MOST_ROLES: usize = 64;

/// Who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `anyone`: callers without credentials as well.
    Anyone,
    /// `everyone`: callers with credentials, whatever their roles.
    Everyone,
    /// The callers with at least one of these roles; `nobody` is the empty set.
    Roles(RoleSet),
}

impl Default for Rule {
    /// What isn't allowed is denied.
    fn default() -> Self {
        Self::Roles(RoleSet::default())
    }
}

/// The result of a rule for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may.
    Allowed,
    /// The caller has no credentials, and the rule asks for some.
    CredentialsMissing,
    /// The caller may not.
    Forbidden,
    /// The caller may call the method, and may not do to one entry what it does to many.
    EntriesForbidden,
    /// No method has this path.
    NoMethod,
}

impl Rule {
    /// Holds a caller's roles against the rule; none has no credentials.
    #[must_use]
    pub fn judge(self, roles: Option<RoleSet>) -> Verdict {
        match (self, roles) {
            (Self::Anyone, _) | (Self::Everyone, Some(_)) => Verdict::Allowed,
            (_, None) => Verdict::CredentialsMissing,
            (Self::Roles(allowed), Some(roles)) if allowed.intersects(roles) => Verdict::Allowed,
            (Self::Roles(_), Some(_)) => Verdict::Forbidden,
        }
    }

    /// The rule in the words of a policy.
    #[must_use]
    pub fn text(self, roles: &[Role]) -> String {
        match self {
            Self::Anyone => ANYONE.to_owned(),
            Self::Everyone => EVERYONE.to_owned(),
            Self::Roles(RoleSet(0)) => NOBODY.to_owned(),
            Self::Roles(allowed) => {
                let named = roles.iter().filter(|role| role.set.intersects(allowed));
                named.map(|role| &*role.name).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// A role of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// What it is for, in the author's words.
    pub description: String,
    /// The set with this role alone.
    pub set: RoleSet,
}

/// The set of the roles that a text names, with spaces between.
///
/// # Errors
/// What is wrong with each word.
pub(super) fn read_roles(text: &str, roles: &[Role]) -> Result<RoleSet, Vec<String>> {
    let (mut set, mut errors) = (RoleSet::default(), Vec::new());
    for word in text.split_whitespace() {
        match roles.iter().find(|role| role.name == word) {
            Some(role) if set.intersects(role.set) => errors.push(format!("{word} stands twice")),
            Some(role) => set = set.union(role.set),
            None => errors.push(unknown(word, roles)),
        }
    }
    if errors.is_empty() && set == RoleSet::default() {
        errors.push("must name at least one role".to_owned());
    }
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

/// The rule that a text says.
///
/// # Errors
/// What is wrong with each word.
pub(super) fn read_rule(text: &str, roles: &[Role]) -> Result<Rule, Vec<String>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let alone = |word: &str| match words.len() {
        1 => Ok(()),
        _ => Err(vec![format!("{word} stands alone, without roles beside it")]),
    };
    for word in &words {
        match *word {
            ANYONE => return alone(ANYONE).map(|()| Rule::Anyone),
            EVERYONE => return alone(EVERYONE).map(|()| Rule::Everyone),
            NOBODY => return alone(NOBODY).map(|()| Rule::default()),
            _ => {}
        }
    }
    if words.is_empty() {
        return Err(vec!["must name roles, anyone, everyone or nobody".to_owned()]);
    }
    read_roles(text, roles).map(Rule::Roles)
}

fn unknown(word: &str, roles: &[Role]) -> String {
    if word.split_once(':').is_some_and(|(_, rest)| rest == "own") {
        return format!("{word}: this version has no rules by row (:own)");
    }
    let known = roles.iter().map(|role| &*role.name);
    format!("{word} is no role of [roles]{}", hint(word, known))
}
