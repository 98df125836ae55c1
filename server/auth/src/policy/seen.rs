//! The calls that a policy has seen, and the rules that would allow them and no others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use super::{judge::Policy, methods::MethodName, read, rule::Rule, rule_editor::RuleEditor};
use crate::identity::{Identity, Principal, RoleSet};

/// The most entries that are kept. Beyond them only known entries are counted.
const MOST: usize = 10_000;

/// Who has called, as far as a policy distinguishes callers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeenCaller {
    /// A caller without credentials.
    NoCredentials,
    /// A caller with these roles, by name.
    Roles(Vec<String>),
    /// A caller without a role: `token:NAME`, `cert:NAME`, or `jwt:ISSUER` for all its subjects.
    NoRole(String),
}

/// How often a caller has called a method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenCall {
    /// The method.
    pub method: MethodName,
    /// The caller.
    pub caller: SeenCaller,
    /// How often.
    pub count: u64,
}

/// Counts calls by method and caller, in memory.
#[derive(Debug, Default)]
pub struct SeenCalls {
    counts: Mutex<HashMap<(MethodName, SeenCaller), u64>>,
}

impl SeenCalls {
    /// Counts a call; none has no credentials. A path of another form isn't counted.
    pub fn note(&self, policy: &Policy, principal: Option<&Principal>, path: &str) {
        let Some(method) = MethodName::of_path(path) else { return };
        let caller = match principal {
            None => SeenCaller::NoCredentials,
            Some(principal) => {
                let roles = policy.names_of(policy.roles_of(&principal.identity));
                match (roles.is_empty(), &principal.identity) {
                    (false, _) => SeenCaller::Roles(roles.into_iter().map(str::to_owned).collect()),
                    (true, Identity::Jwt { issuer, .. }) => {
                        SeenCaller::NoRole(format!("jwt:{issuer}"))
                    }
                    (true, _) => SeenCaller::NoRole(principal.name.to_string()),
                }
            }
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counts.len() >= MOST;
        let key = (method, caller);
        match counts.get_mut(&key) {
            Some(count) => *count += 1,
            None if full => {}
            None => drop(counts.insert(key, 1)),
        }
    }

    /// What was counted, sorted.
    #[must_use]
    pub fn list(&self) -> Vec<SeenCall> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = counts.iter();
        let calls = calls.map(|((method, caller), count)| {
            let (method, caller) = (method.clone(), caller.clone());
            SeenCall { method, caller, count: *count }
        });
        let mut calls: Vec<_> = calls.collect();
        calls.sort();
        calls
    }
}

impl Policy {
    /// A policy that allows the calls that were seen, and no others: `text`, which is this policy's,
    /// with other rules in its lines. The author's comments stay. Comments that begin with `# seen:`
    /// say what can't be decided by the calls alone, and replace those of an earlier suggestion.
    #[must_use]
    pub fn suggestion(&self, text: &str, seen: &[SeenCall]) -> String {
        let mut by_method: BTreeMap<&MethodName, Vec<&SeenCall>> = BTreeMap::new();
        for call in seen {
            by_method.entry(&call.method).or_default().push(call);
            // Its entries have to pass as well.
            if let Some(entries) = self.entries(&call.method) {
                by_method.entry(entries).or_default().push(call);
            }
        }
        let mut suggestion = RuleEditor::new(text);
        for (name, place) in read::rule_places(text) {
            let calls = by_method.remove(&name).unwrap_or_default();
            let (rule, notes) = self.suggest(&calls);
            let total = calls.iter().map(|call| call.count).sum();
            suggestion.replace(place, rule.text(self.roles()), &notes, total);
        }
        let unknown = by_method.into_iter().map(|(name, calls)| {
            let total: u64 = calls.iter().map(|call| call.count).sum();
            format!("{name} is no method of this program; calls: {total}")
        });
        suggestion.finish(unknown)
    }

    /// The rule that allows these calls, and what can't be decided by them alone.
    fn suggest(&self, calls: &[&SeenCall]) -> (Rule, Vec<String>) {
        let mut sets: Vec<RoleSet> = Vec::new();
        let (mut rule, mut notes) = (Rule::default(), Vec::new());
        for call in calls {
            match &call.caller {
                SeenCaller::NoCredentials => rule = Rule::Anyone,
                SeenCaller::NoRole(caller) => {
                    notes.push(format!("{caller} has no role; calls: {}", call.count));
                }
                SeenCaller::Roles(names) => {
                    let roles = names.iter().filter_map(|name| self.role(name));
                    let set = roles.fold(RoleSet::default(), |all, role| all.union(role.set));
                    match set == RoleSet::default() {
                        true => {
                            notes.push(format!("a caller had roles of before: {}", names.join(" ")))
                        }
                        false => sets.push(set),
                    }
                }
            }
        }
        if rule != Rule::Anyone {
            // Callers with one role leave no choice. Those with several may pass by one of these.
            sets.sort_by_key(|set| (set.0.count_ones(), set.0));
            let mut allowed = RoleSet::default();
            for set in sets {
                if !set.intersects(allowed) {
                    allowed = allowed.union(set);
                    if set.0.count_ones() > 1 {
                        let names = Rule::Roles(set).text(self.roles());
                        notes.push(format!("one role may do: callers had all of {names}"));
                    }
                }
            }
            rule = Rule::Roles(allowed);
        }
        (rule, notes)
    }
}
