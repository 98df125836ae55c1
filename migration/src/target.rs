//! The targets of commands: `head`, `base`, `+2`, `-1`, a revision or the beginning of it.

use thiserror::Error;

use crate::chain::Chain;

/// A target that doesn't exist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// No revision is called so.
    #[error("there is no revision {0}; `bookstore migrate history` lists them")]
    NoSuch(String),
    /// Several revisions begin so.
    #[error("{prefix} is the beginning of several revisions: {}", .names.join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The revisions.
        names: Vec<String>,
    },
    /// It is in the other direction.
    #[error("{target} is no way {way} from {current}")]
    WrongWay {
        /// What was given.
        target: String,
        /// `up` or `down`.
        way: &'static str,
        /// The database's revision.
        current: String,
    },
    /// It counts beyond an end of the chain.
    #[error("{target} from {current} is beyond {end}, which is {left} revisions away")]
    TooFar {
        /// What was given.
        target: String,
        /// The revision that it counts from.
        current: String,
        /// `base` or `head`.
        end: &'static str,
        /// How many revisions there are on this way.
        left: usize,
    },
    /// A range that isn't written as FROM:TO.
    #[error("{0} is no range: FROM:TO, as in base:head or head:-2")]
    NoRange(String),
}

/// How many revisions of a chain are applied: a place between two of them.
pub type ChainPosition = usize;

/// Resolves a target relative to a position. `base` is 0.
///
/// # Errors
/// If there is no such revision, or fewer than are counted.
pub fn resolve(
    chain: &Chain,
    target: &str,
    from: ChainPosition,
) -> Result<ChainPosition, TargetError> {
    let head = chain.revisions().len();
    match target {
        "head" | "heads" => return Ok(head),
        "base" => return Ok(0),
        "current" => return Ok(from),
        _ => {}
    }
    let too_far = |end, left| TargetError::TooFar {
        target: target.to_owned(),
        current: name_of(chain, from),
        end,
        left,
    };
    if let Some(count) = target.strip_prefix('-').and_then(|count| count.parse::<usize>().ok()) {
        return from.checked_sub(count).ok_or_else(|| too_far("base", from));
    }
    // A number without a sign, as `up 2` was before; names are never so short.
    let count = target.strip_prefix('+').unwrap_or(target);
    if let Some(count) = count.parse::<usize>().ok().filter(|_| count.len() <= 4) {
        let to = from.checked_add(count).filter(|to| *to <= head);
        return to.ok_or_else(|| too_far("head", head.saturating_sub(from)));
    }
    let name = find(chain, target)?;
    Ok(chain.position(&name).map_or(head, |at| at + 1))
}

/// Whether a target exists from some position of the chain.
///
/// # Errors
/// If there is none.
pub fn check(chain: &Chain, target: &str) -> Result<(), TargetError> {
    let from_head = || resolve(chain, target, chain.revisions().len());
    match resolve(chain, target, 0) {
        Err(TargetError::TooFar { .. }) => from_head().map(|_| ()),
        other => other.map(|_| ()),
    }
}

/// The name of a position: that of the last revision before it, or `base`.
pub fn name_of(chain: &Chain, position: ChainPosition) -> String {
    let last = position.checked_sub(1).and_then(|at| chain.revisions().get(at));
    last.map_or_else(|| "base".to_owned(), |revision| revision.name.clone())
}

/// The revision of this name, or the only one whose name begins so. The leading `m` is optional.
///
/// # Errors
/// If there is none, or several.
pub fn find(chain: &Chain, given: &str) -> Result<String, TargetError> {
    find_among(chain.names(), given)
}

/// The same among any names.
///
/// # Errors
/// If there is none, or several.
pub fn find_among(names: Vec<String>, given: &str) -> Result<String, TargetError> {
    if names.iter().any(|name| name == given) {
        return Ok(given.to_owned());
    }
    let begins = |name: &String| {
        name.starts_with(given) || name.strip_prefix('m').is_some_and(|id| id.starts_with(given))
    };
    let mut names: Vec<String> = names.into_iter().filter(begins).collect();
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(TargetError::NoSuch(given.to_owned())),
        _ => Err(TargetError::Ambiguous { prefix: given.to_owned(), names }),
    }
}

/// Reads a range, `FROM:TO`; an empty FROM is `base`, an empty TO `head`. `-N` and `+N` behind the
/// colon count from FROM.
///
/// # Errors
/// If it is no range, or there is no such revision.
pub fn range(chain: &Chain, text: &str) -> Result<(ChainPosition, ChainPosition), TargetError> {
    let (from, to) = text.split_once(':').ok_or_else(|| TargetError::NoRange(text.to_owned()))?;
    let or = |given: &str, default: &str| {
        if given.is_empty() { default.to_owned() } else { given.to_owned() }
    };
    // Counted from the end that its sign leads away from.
    let start = if from.starts_with('-') { chain.revisions().len() } else { 0 };
    let from = resolve(chain, &or(from, "base"), start)?;
    let to = resolve(chain, &or(to, "head"), from)?;
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain::released().expect("a chain")
    }

    #[test]
    fn a_target_is_a_position_in_the_chain() {
        let chain = chain();
        let head = chain.revisions().len();
        let place = |target: &str| resolve(&chain, target, 3);
        assert_eq!(place("head"), Ok(head));
        assert_eq!(place("base"), Ok(0));
        assert_eq!(place("-1"), Ok(2));
        assert_eq!(place("-3"), Ok(0));
        assert_eq!(place("+2"), Ok(5));
        assert_eq!(place("2"), Ok(5));
        assert_eq!(place("m20261121_000004_create_items"), Ok(4));
        assert_eq!(place("20261121_000004"), Ok(4));
        assert_eq!(place("m20261125"), Ok(12));
    }

    #[test]
    fn a_count_beyond_an_end_is_refused() {
        let chain = chain();
        let head = chain.revisions().len();
        let refused = |target: &str, end, left| {
            let current = "m20261121_000003_create_books".to_owned();
            let error = TargetError::TooFar { target: target.to_owned(), current, end, left };
            assert_eq!(resolve(&chain, target, 3), Err(error));
        };
        refused("-4", "base", 3);
        refused("-99", "base", 3);
        refused("+99", "head", head - 3);
        refused(&format!("{}", head - 2), "head", head - 3);
        assert_eq!(resolve(&chain, &format!("+{}", head - 3), 3), Ok(head));
        // Before the database's position is known, a count is refused only if no position has it.
        assert_eq!(check(&chain, "-1").and(check(&chain, "+1")), Ok(()));
        assert!(matches!(check(&chain, "+99"), Err(TargetError::TooFar { .. })));
        assert!(matches!(check(&chain, "-99"), Err(TargetError::TooFar { .. })));
        assert_eq!(check(&chain, "-1x"), Err(TargetError::NoSuch("-1x".to_owned())));
    }

    #[test]
    fn an_unknown_or_ambiguous_target_is_refused() {
        let chain = chain();
        assert_eq!(resolve(&chain, "m2019", 0), Err(TargetError::NoSuch("m2019".to_owned())));
        let several = resolve(&chain, "m20261121_00000", 0);
        assert!(matches!(several, Err(TargetError::Ambiguous { names, .. }) if names.len() == 9));
    }

    #[test]
    fn ranges_have_two_ends() {
        let chain = chain();
        let head = chain.revisions().len();
        assert_eq!(range(&chain, "base:head"), Ok((0, head)));
        assert_eq!(range(&chain, ":"), Ok((0, head)));
        assert_eq!(range(&chain, "head:-2"), Ok((head, head - 2)));
        assert_eq!(range(&chain, "m20261121_000004:+1"), Ok((4, 5)));
        assert!(matches!(range(&chain, "head"), Err(TargetError::NoRange(_))));
    }
}
