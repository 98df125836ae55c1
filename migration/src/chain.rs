//! The revisions in their order, and the targets of commands.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use crate::{
    revision::{Action, Direction, Engine, Revision},
    revisions::revisions,
    sql::{facts, lexer},
};

/// Why a list of revisions is no chain.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// Two revisions have one name.
    #[error("two revisions are called {0}")]
    Duplicate(String),
    /// A revision follows an unknown one.
    #[error("{name} follows {parent}, which there is not")]
    MissingParent {
        /// The revision.
        name: String,
        /// What it follows.
        parent: String,
    },
    /// Several revisions follow the same one, or several follow none.
    #[error(
        "two heads: {} follow {}; let one follow the other (`after`)",
        .names.join(" and "), .parent.as_deref().unwrap_or("no revision")
    )]
    TwoHeads {
        /// What they follow.
        parent: Option<String>,
        /// The revisions.
        names: Vec<String>,
    },
    /// Revisions follow each other in a cycle.
    #[error("{0} is part of a circle of parents")]
    Circle(String),
    /// A revision breaks a rule of the runner.
    #[error("{name}: {reason}")]
    Malformed {
        /// The revision.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Revisions in their order, each after its parent, with a single head.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    revisions: Vec<Revision>,
}

impl Chain {
    /// Puts revisions in order.
    ///
    /// # Errors
    /// If they aren't one chain, or one of them can't be run as it is written.
    pub fn new(list: Vec<Revision>) -> Result<Self, ChainError> {
        let mut names = HashSet::new();
        for revision in &list {
            if !names.insert(revision.name.clone()) {
                return Err(ChainError::Duplicate(revision.name.clone()));
            }
            well_formed(revision)?;
        }
        let mut children: HashMap<Option<String>, Vec<Revision>> = HashMap::new();
        let count = list.len();
        for revision in list {
            if let Some(parent) = revision.parent.as_ref().filter(|parent| !names.contains(*parent))
            {
                let (name, parent) = (revision.name.clone(), parent.clone());
                return Err(ChainError::MissingParent { name, parent });
            }
            children.entry(revision.parent.clone()).or_default().push(revision);
        }
        let mut revisions: Vec<Revision> = Vec::with_capacity(count);
        loop {
            let parent = revisions.last().map(|last| last.name.clone());
            let Some(mut next) = children.remove(&parent) else { break };
            if next.len() > 1 {
                let names = next.into_iter().map(|revision| revision.name).collect();
                return Err(ChainError::TwoHeads { parent, names });
            }
            revisions.append(&mut next);
        }
        match children.into_values().flatten().next() {
            Some(left) => Err(ChainError::Circle(left.name)),
            None => Ok(Self { revisions }),
        }
    }

    /// The released revisions.
    ///
    /// # Errors
    /// If they aren't one chain: an error of the build, which a test finds.
    pub fn released() -> Result<Self, ChainError> {
        Self::new(revisions())
    }

    /// The revisions, oldest first.
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// The newest revision.
    pub fn head(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The names, oldest first.
    pub fn names(&self) -> Vec<String> {
        self.revisions.iter().map(|revision| revision.name.clone()).collect()
    }

    /// The revision of a name, exactly.
    pub fn get(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    /// The index of a revision.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.revisions.iter().position(|revision| revision.name == name)
    }
}

/// The revisions of a list that none follows: one, if it is a chain.
pub fn heads(list: &[Revision]) -> Vec<&Revision> {
    let parents: HashSet<&str> = list.iter().filter_map(|one| one.parent.as_deref()).collect();
    list.iter().filter(|revision| !parents.contains(revision.name.as_str())).collect()
}

/// Checks whether the runner can run a revision.
fn well_formed(revision: &Revision) -> Result<(), ChainError> {
    let malformed =
        |reason: String| Err(ChainError::Malformed { name: revision.name.clone(), reason });
    for engine in Engine::ALL {
        let [up, down] = [Direction::Up, Direction::Down].map(|way| revision.steps(engine, way));
        for step in up.iter().chain(&down) {
            let Action::Sql(text) = &step.action else { continue };
            if let Some(statement) = facts::transaction_control(text, engine) {
                let reason = "transactions are the runner's: leave out";
                return malformed(format!("{reason} {statement:?}"));
            }
            let statements = lexer::split(text, engine).len();
            if !step.in_transaction && statements != 1 {
                let reason = "a step outside a transaction is one statement (several sent \
                              together are a transaction), and this one is";
                return malformed(format!("{reason} {statements}"));
            }
            if step.in_transaction && facts::is_concurrent(text, engine) {
                let reason = "CONCURRENTLY doesn't run inside a transaction: add \
                              .outside_transaction()";
                return malformed(reason.to_owned());
            }
        }
        if !revision.is_transactional(engine) && up.len() != down.len() {
            let reason = format!(
                "it runs step by step on {engine}, so `down` needs a step for each of `up`, in \
                 reverse order, to go back from the middle: {} up, {} down",
                up.len(),
                down.len()
            );
            return malformed(reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::{postgres, sql};

    fn named(name: &str, parent: Option<&str>) -> Revision {
        let revision = Revision::new(name, "test");
        match parent {
            Some(parent) => revision.after(parent),
            None => revision,
        }
    }

    #[test]
    fn the_released_revisions_are_a_chain() {
        let chain = Chain::released().expect("a chain");
        let listed: Vec<String> = revisions().into_iter().map(|one| one.name).collect();
        assert_eq!(chain.names(), listed);
        let mut sorted = listed.clone();
        sorted.sort();
        assert_eq!(listed, sorted, "names are in the order of the chain");
    }

    #[test]
    fn parents_give_the_order() {
        let list = vec![named("c", Some("b")), named("a", None), named("b", Some("a"))];
        assert_eq!(Chain::new(list).expect("a chain").names(), ["a", "b", "c"]);
    }

    #[test]
    fn two_heads_are_refused() {
        let list = vec![named("a", None), named("b", Some("a")), named("c", Some("a"))];
        assert_eq!(heads(&list).len(), 2);
        let error = Chain::new(list).expect_err("two heads");
        let names = vec!["b".to_owned(), "c".to_owned()];
        assert_eq!(error, ChainError::TwoHeads { parent: Some("a".to_owned()), names });
    }

    #[test]
    fn revisions_that_are_no_chain_are_refused() {
        let error = Chain::new(vec![named("b", Some("a"))]).expect_err("no parent");
        assert!(matches!(error, ChainError::MissingParent { .. }), "{error}");
        let circle = vec![named("a", Some("b")), named("b", Some("a"))];
        assert!(matches!(Chain::new(circle), Err(ChainError::Circle(_))));
        let twice = vec![named("a", None), named("a", None)];
        assert!(matches!(Chain::new(twice), Err(ChainError::Duplicate(_))));
    }

    #[test]
    fn revisions_that_cannot_run_are_refused() {
        let refusal =
            |revision: Revision| Chain::new(vec![revision]).expect_err("refused").to_string();
        let one = || named("a", None);
        let concurrent = "CREATE INDEX CONCURRENTLY \"i\" ON \"t\" (\"c\")";
        assert!(refusal(one().up([postgres(concurrent)])).contains("outside_transaction"));
        let two = postgres("VACUUM; VACUUM").outside_transaction();
        assert!(refusal(one().up([two])).contains("one statement"));
        let alone = postgres(concurrent).outside_transaction();
        assert!(refusal(one().up([alone])).contains("1 up, 0 down"));
        assert!(refusal(one().up([sql("SELECT 1; COMMIT")])).contains("COMMIT"));
    }
}
