//! The query language of a search: words, "quoted phrases", `-` for exclusion, `OR`.

use std::{collections::HashMap, fmt, sync::LazyLock};

use bookstore_entity::words;

use crate::field::Invalid;

/// How many words a search may hold.
pub const MOST_WORDS: usize = 32;

/// A parsed search. Its `Display` is canonical, and is the query in FTS5's syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<Group>);

/// The phrases that a row must have, and those that it must not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    /// Never empty.
    wanted: Vec<Phrase>,
    unwanted: Vec<Phrase>,
}

/// Consecutive words; at least one.
type Phrase = Vec<String>;

impl Words {
    /// Parses a search. White space separates terms; a row must have all of them. `OR` in capitals
    /// separates lists of terms; a row must match one list. Quotes enclose one term; an unclosed
    /// quote ends at the end of the text. A term of several words, such as `rock-n-roll`, is a
    /// phrase. A term without words is ignored.
    ///
    /// # Errors
    /// A list without a term to search for, and more than `MOST_WORDS` words.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut groups = vec![Group::default()];
        let mut count = 0;
        for Term { text, excluded, quoted } in terms(text) {
            if text == "OR" && !excluded && !quoted {
                groups.push(Group::default());
                continue;
            }
            let phrase = split(text);
            count += phrase.len();
            if let Some(group) = groups.last_mut().filter(|_| !phrase.is_empty()) {
                let phrases = if excluded { &mut group.unwanted } else { &mut group.wanted };
                phrases.push(phrase);
            }
        }
        if count > MOST_WORDS {
            return Err(Invalid(format!("must hold at most {MOST_WORDS} words")));
        }
        match groups.iter().any(|group| group.wanted.is_empty()) {
            true if groups.len() > 1 => {
                Err(Invalid("must have a word to look for on either side of OR".to_owned()))
            }
            true => Err(Invalid("must have a word to look for".to_owned())),
            false => Ok(Self(groups)),
        }
    }

    /// The search in the syntax of PostgreSQL's `tsquery` (8.11.2. tsquery).
    pub(crate) fn to_tsquery(&self) -> String {
        let phrase = |phrase: &Phrase| {
            let words: Vec<_> = phrase.iter().map(|word| format!("'{word}'")).collect();
            format!("({})", words.join(" <-> "))
        };
        let groups = self.0.iter().map(|Group { wanted, unwanted }| {
            let wanted = wanted.iter().map(phrase);
            let unwanted = unwanted.iter().map(|unwanted| format!("!{}", phrase(unwanted)));
            format!("({})", wanted.chain(unwanted).collect::<Vec<_>>().join(" & "))
        });
        groups.collect::<Vec<_>>().join(" | ")
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |phrases: &[Phrase], operator: &str| {
            let phrases = phrases.iter().map(|phrase| format!("\"{}\"", phrase.join(" ")));
            phrases.collect::<Vec<_>>().join(operator)
        };
        for (position, Group { wanted, unwanted }) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { " OR " })?;
            write!(f, "(({})", joined(wanted, " AND "))?;
            if !unwanted.is_empty() {
                write!(f, " NOT ({})", joined(unwanted, " OR "))?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// A term of a search.
#[derive(Debug, PartialEq, Eq)]
struct Term<'a> {
    text: &'a str,
    excluded: bool,
    quoted: bool,
}

fn terms(mut rest: &str) -> Vec<Term<'_>> {
    let mut terms = Vec::new();
    // Only a `-` after white space excludes; the one inside of `rock"-"roll` does not.
    let mut apart = true;
    loop {
        let trimmed = rest.trim_start();
        apart |= trimmed.len() < rest.len();
        let (excluded, begun) = match trimmed.strip_prefix('-') {
            Some(begun) if apart => (true, begun),
            _ => (false, trimmed),
        };
        if begun.is_empty() {
            return terms;
        }
        let (text, quoted);
        (text, rest, quoted) = match begun.strip_prefix('"') {
            Some(inside) => match inside.split_once('"') {
                Some((text, rest)) => (text, rest, true),
                None => (inside, "", true),
            },
            None => {
                let end = begun.find(|c: char| c.is_whitespace() || c == '"');
                let (text, rest) = begun.split_at(end.unwrap_or(begun.len()));
                (text, rest, false)
            }
        };
        apart = false;
        terms.push(Term { text, excluded, quoted });
    }
}

/// Splits a text into folded words, as both engines do.
fn split(text: &str) -> Vec<String> {
    let words = text.split(|character| !is_in_word(character)).filter(|word| !word.is_empty());
    words.map(|word| word.chars().map(fold).collect()).collect()
}

fn is_in_word(character: char) -> bool {
    static RANGES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| words::ranges().collect());
    let at = RANGES.partition_point(|(first, _)| *first <= character);
    at.checked_sub(1).is_some_and(|at| character <= RANGES[at].1)
}

fn fold(character: char) -> char {
    static FOLDS: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
        let pairs = words::FOLDS.iter().flat_map(|(from, to)| from.chars().zip(to.chars()));
        pairs.collect()
    });
    match character {
        ascii if ascii.is_ascii() => ascii.to_ascii_lowercase(),
        other => FOLDS.get(&other).copied().unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fts5(text: &str) -> String {
        Words::parse(text).expect(text).to_string()
    }

    #[test]
    fn a_search_is_read() {
        for (text, wanted) in [
            ("Dune", r#"(("dune"))"#),
            ("  sand\tDUNE ", r#"(("sand" AND "dune"))"#),
            (r#""the  Sand-worm""#, r#"(("the sand worm"))"#),
            ("rock-n-roll O'Reilly", r#"(("rock n roll" AND "o reilly"))"#),
            ("dune -messiah", r#"(("dune") NOT ("messiah"))"#),
            (r#"-"of the" -x dune"#, r#"(("dune") NOT ("of the" OR "x"))"#),
            ("dune OR sand worm -x", r#"(("dune")) OR (("sand" AND "worm") NOT ("x"))"#),
            (r#"dead or alive "OR""#, r#"(("dead" AND "or" AND "alive" AND "or"))"#),
            (r#"open "to the end"#, r#"(("open" AND "to the end"))"#),
            (r#"5" disk"#, r#"(("5" AND "disk"))"#),
            (r#"a"b c"-d"#, r#"(("a" AND "b c" AND "d"))"#),
            ("& dune - * \"\" -\"!\" 🦀 --x", r#"(("dune") NOT ("x"))"#),
            ("ΣΊΣΥΦΟΣ ÉTÉ Straße İ", r#"(("σίσυφοσ" AND "été" AND "straße" AND "İ"))"#),
            ("हिन्दी 東京タワー٣", r#"(("हिन्दी" AND "東京タワー٣"))"#),
        ] {
            assert_eq!(fts5(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_search_is_translated_for_postgresql() {
        let words = Words::parse(r#"dune "sand worm" -x -"y z" OR a"#).expect("a search");
        let wanted = "(('dune') & ('sand' <-> 'worm') & !('x') & !('y' <-> 'z')) | (('a'))";
        assert_eq!(words.to_tsquery(), wanted);
    }

    #[test]
    fn a_search_without_a_word_is_refused() {
        for (text, description) in [
            ("", "must have a word"),
            ("  ", "must have a word"),
            ("-dune", "must have a word"),
            ("& * \" ' 🦀 ❤\u{fe0f}", "must have a word"),
            ("OR", "either side of OR"),
            ("dune OR", "either side of OR"),
            ("dune OR -x", "either side of OR"),
            ("dune OR OR sand", "either side of OR"),
        ] {
            let error = Words::parse(text).expect_err(text);
            assert!(error.0.contains(description), "{text:?}: {error}");
        }
        assert!(Words::parse(&"a ".repeat(MOST_WORDS)).is_ok());
        assert!(Words::parse(&"a-".repeat(MOST_WORDS + 1)).is_err());
    }
}
