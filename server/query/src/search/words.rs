//! The query language of a search: words, "quoted phrases", prefixes with `*`, `-` for exclusion, `OR`.

use std::{collections::HashMap, fmt, sync::LazyLock};

use bookstore_entity::words;

use super::language::Language;
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
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
    /// Whether the last word is only the beginning of one.
    is_prefix: bool,
    /// Whether it is one word whose forms are searched as well.
    is_extended: bool,
    /// The forms of a single word, the word among them; empty if only the word itself is searched.
    forms: Vec<String>,
}

impl Words {
    /// Parses a search. White space separates terms; a row must have all of them. `OR` in capitals
    /// separates lists of terms; a row must match one list. Quotes enclose one term; an unclosed
    /// quote ends at the end of the text. A term of several words, such as `rock-n-roll`, is a
    /// phrase. A `*` at the end of a term makes its last word a prefix. A term without words is
    /// ignored, and so is a `*` that touches no word. In a language, a term of one word without quotes and without `*` finds the forms of
    /// the word; the possessive `nation's` is a term of one word there.
    ///
    /// # Errors
    /// A list without a term to search for, more than `MOST_WORDS` words, a `*` that touches a word
    /// elsewhere than at the end of its term, and a prefix of a single ASCII character.
    pub fn parse(text: &str, language: Language) -> Result<Self, Invalid> {
        let mut groups = vec![Group::default()];
        let mut count = 0;
        for Term { text, excluded, quoted, starred } in terms(text) {
            if starred && text.contains(is_in_word) {
                return Err(stray_star(&format!("\"{text}\"*")));
            }
            if text == "OR" && !excluded && !quoted {
                groups.push(Group::default());
                continue;
            }
            let Some(phrase) = phrase(text, quoted, language)? else { continue };
            count += phrase.words.len();
            if let Some(group) = groups.last_mut() {
                let phrases = if excluded { &mut group.unwanted } else { &mut group.wanted };
                phrases.push(phrase);
            }
        }
        if count > MOST_WORDS {
            return Err(Invalid(format!("must hold at most {MOST_WORDS} words")));
        }
        for Group { wanted, unwanted } in &mut groups {
            for phrase in wanted.iter_mut().chain(unwanted).filter(|phrase| phrase.is_extended) {
                phrase.forms = language.forms(&phrase.words[0], count);
            }
        }
        match groups.iter().any(|group| group.wanted.is_empty()) {
            true if groups.len() > 1 => {
                Err(Invalid("must have a word to look for on either side of OR".to_owned()))
            }
            true => Err(Invalid("must have a word to look for".to_owned())),
            false => Ok(Self(groups)),
        }
    }

    /// Parses a list of words that a text must have, in any order and among others. White space
    /// separates terms. A `*` at the end of a term makes its last word a prefix. A term of several
    /// words, such as `O'Brien`, is a phrase. No character has another meaning.
    ///
    /// # Errors
    /// A text without words, more than `MOST_WORDS` words, a `*` elsewhere, and a prefix of a single
    /// ASCII character.
    pub(crate) fn all_of(text: &str) -> Result<Self, Invalid> {
        let mut wanted = Vec::new();
        for term in text.split_whitespace() {
            if term.strip_suffix('*').unwrap_or(term).contains('*') {
                return Err(Invalid("must have a * only at the end of a word".to_owned()));
            }
            wanted.extend(phrase(term, false, Language::Simple)?);
        }
        let count: usize = wanted.iter().map(|phrase| phrase.words.len()).sum();
        match count {
            0 => Err(Invalid("must have a word to look for".to_owned())),
            1..=MOST_WORDS => Ok(Self(vec![Group { wanted, unwanted: Vec::new() }])),
            _ => Err(Invalid(format!("must hold at most {MOST_WORDS} words"))),
        }
    }

    /// The search in the syntax of PostgreSQL's `tsquery` (8.11.2. tsquery).
    pub(crate) fn to_tsquery(&self) -> String {
        let quoted = |words: &[String], operator: &str| {
            let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
            words.join(operator)
        };
        let phrase = |Phrase { words, is_prefix, forms, .. }: &Phrase| {
            let star = if *is_prefix { ":*" } else { "" };
            match forms.is_empty() {
                true => format!("({}{star})", quoted(words, " <-> ")),
                false => format!("({})", quoted(forms, " | ")),
            }
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
        let phrase = |Phrase { words, is_prefix, forms, .. }: &Phrase| {
            let star = if *is_prefix { "*" } else { "" };
            match forms.is_empty() {
                true => format!("\"{}\"{star}", words.join(" ")),
                false => format!("(\"{}\")", forms.join("\" OR \"")),
            }
        };
        let joined = |phrases: &[Phrase], operator: &str| {
            phrases.iter().map(phrase).collect::<Vec<_>>().join(operator)
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

/// Reads a term; none if it has no word.
fn phrase(text: &str, quoted: bool, language: Language) -> Result<Option<Phrase>, Invalid> {
    if has_stray_star(text) {
        return Err(stray_star(text));
    }
    let before_star = text.strip_suffix('*');
    let is_prefix = before_star.is_some_and(|before| before.ends_with(is_in_word));
    let mut words = split(text);
    let Some(last) = words.last() else { return Ok(None) };
    if is_prefix && is_one_letter(last) {
        return Err(Invalid(format!(
            "must have at least 2 characters before the * of {last}*: too many words begin with one"
        )));
    }
    if language.has_forms(&words[0]) && !quoted && is_possessive(text, &words) {
        words.truncate(1);
    }
    let is_extended = words.len() == 1 && !quoted && !is_prefix;
    Ok(Some(Phrase { words, is_prefix, is_extended, forms: Vec::new() }))
}

/// Whether a `*` touches a word, but does not end the term: such a term says more than a search can do.
fn has_stray_star(text: &str) -> bool {
    text.match_indices('*').any(|(at, star)| {
        let behind = &text[at + star.len()..];
        behind.starts_with(is_in_word) || !behind.is_empty() && text[..at].ends_with(is_in_word)
    })
}

fn stray_star(term: &str) -> Invalid {
    Invalid(format!(
        "must have a * only at the end of a term, behind a word, and inside of its quotes; the one \
         in {term} is elsewhere"
    ))
}

/// Whether a term is a word with `'s` behind it, as in `nation's`.
fn is_possessive(text: &str, words: &[String]) -> bool {
    let text = text.trim_end_matches(|character| !is_in_word(character));
    let before = text.strip_suffix(['s', 'S']);
    words.len() == 2 && words[1] == "s" && before.is_some_and(|it| it.ends_with(['\'', '’']))
}

/// A term of a search.
#[derive(Debug, PartialEq, Eq)]
struct Term<'a> {
    text: &'a str,
    excluded: bool,
    quoted: bool,
    /// Whether a `*` touches the closing quote.
    starred: bool,
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
        let starred = quoted && rest.starts_with('*');
        terms.push(Term { text, excluded, quoted, starred });
    }
}

/// Whether a word is one letter of an alphabet. The ideographs of CJK, from U+2E80 on, are thousands, so
/// fewer words begin with each.
fn is_one_letter(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(|first| first < '\u{2e80}') && characters.next().is_none()
}

/// Splits a text into folded words without accents, as both engines do.
fn split(text: &str) -> Vec<String> {
    let words = text.split(|character| !is_in_word(character));
    let words = words.map(|word| word.chars().filter_map(fold).collect::<String>());
    words.filter(|word| !word.is_empty()).collect()
}

fn is_in_word(character: char) -> bool {
    static RANGES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| words::ranges().collect());
    let at = RANGES.partition_point(|(first, _)| *first <= character);
    at.checked_sub(1).is_some_and(|at| character <= RANGES[at].1)
}

/// The letter that a character is indexed as; none for a mark that is removed.
fn fold(character: char) -> Option<char> {
    static FOLDS: LazyLock<HashMap<char, char>> = LazyLock::new(|| pairs(words::FOLDS));
    static ACCENTS: LazyLock<HashMap<char, char>> = LazyLock::new(|| pairs(words::ACCENTS));
    if character.is_ascii() {
        return Some(character.to_ascii_lowercase());
    }
    let folded = FOLDS.get(&character).copied().unwrap_or(character);
    (!words::MARKS.contains(folded)).then(|| ACCENTS.get(&folded).copied().unwrap_or(folded))
}

fn pairs(blocks: &[(&str, &str)]) -> HashMap<char, char> {
    blocks.iter().flat_map(|(from, to)| from.chars().zip(to.chars())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fts5(text: &str) -> String {
        Words::parse(text, Language::Simple).expect(text).to_string()
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
            ("ΣΊΣΥΦΟΣ ÉTÉ Straße İ", r#"(("σίσυφοσ" AND "ete" AND "straße" AND "i"))"#),
            ("e\u{301}tude Étude \u{301} ø", r#"(("etude" AND "etude" AND "ø"))"#),
            ("riv* \"the Ri*\" -el*", r#"(("riv"* AND "the ri"*) NOT ("el"*))"#),
            ("rock-no* 東*", r#"(("rock no"* AND "東"*))"#),
            (
                "* dune ** -* \"*\" sand-* a \"b\" * \"!\"*",
                r#"(("dune" AND "sand" AND "a" AND "b"))"#,
            ),
            ("हिन्दी 東京タワー٣", r#"(("हिन्दी" AND "東京タワー٣"))"#),
        ] {
            assert_eq!(fts5(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_possessive_finds_the_forms_of_its_word() {
        let read = |text: &str| Words::parse(text, Language::English).expect(text).to_string();
        for text in ["nation's", "Nation’s", "(nation's),", "NATION'S"] {
            assert_eq!(read(text), read("nation"), "{text}");
        }
        for text in ["\"nation's\"", "nation-s", "nation s's's", "ёлка's"] {
            assert_ne!(read(text), read("nation"), "{text}");
        }
        assert_eq!(read("\"nation's\""), r#"(("nation s"))"#);
        assert_eq!(fts5("nation's"), r#"(("nation s"))"#);
    }

    #[test]
    fn a_search_is_translated_for_postgresql() {
        let words = r#"dune "sand worm" -x -"y z" OR a "b ca*""#;
        let words = Words::parse(words, Language::Simple).expect("a search");
        let wanted = "(('dune') & ('sand' <-> 'worm') & !('x') & !('y' <-> 'z')) | \
                      (('a') & ('b' <-> 'ca':*))";
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
            ("dune a*", "at least 2 characters before the * of a*"),
            ("д*", "at least 2 characters before the * of д*"),
            ("dune -\"the É*\"", "at least 2 characters before the * of e*"),
        ] {
            let error = Words::parse(text, Language::Simple).expect_err(text);
            assert!(error.0.contains(description), "{text:?}: {error}");
        }
        assert!(Words::parse(&"a ".repeat(MOST_WORDS), Language::Simple).is_ok());
        assert!(Words::parse(&"a-".repeat(MOST_WORDS + 1), Language::Simple).is_err());
    }

    #[test]
    fn a_star_elsewhere_than_at_the_end_is_refused() {
        for term in [
            "riv**",
            "*riv",
            "ri*v",
            "(riv*)",
            "\"riv\"*",
            "\"the r*v\"",
            "-ri*v",
            "\"ri* v\"",
            "東*京",
        ] {
            for language in [Language::Simple, Language::English] {
                let error = Words::parse(&format!("dune {term}"), language).expect_err(term).0;
                assert!(error.contains("* only at the end of a term"), "{term}: {error}");
                assert!(error.contains(term.trim_matches(['-', '"'])), "{term}: {error}");
            }
        }
    }

    #[test]
    fn a_list_of_words_is_read_without_operators() {
        let read = |text: &str| Words::all_of(text).map(|words| words.to_string());
        for (text, wanted) in [
            ("Ada", r#"(("ada"))"#),
            (" reader\tÉTUDE ", r#"(("reader" AND "etude"))"#),
            ("O'Brien bj*", r#"(("o brien" AND "bj"*))"#),
            ("ada OR -x \"y", r#"(("ada" AND "or" AND "x" AND "y"))"#),
        ] {
            assert_eq!(read(text), Ok(wanted.to_owned()), "{text}");
        }
        for (text, reason) in [
            ("", "a word to look for"),
            ("* -", "a word to look for"),
            ("a*b", "only at the end"),
            ("**", "only at the end"),
            ("a*", "at least 2 characters"),
            (&"ab ".repeat(33), "at most 32 words"),
        ] {
            let refused = read(text).expect_err(text).0;
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
