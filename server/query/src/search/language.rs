//! The language of searches: which words are forms of one word.
//!
//! The indexes hold the words as they stand, and a query is extended by the other forms of its words.
//! So both engines find the same rows, rows that are written by SQL have their words too, and a change
//! of the language needs no new index.

use snowball_stemmers_rs::{Algorithm, Stemmer};

/// The language of searches, by the setting `search_language`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// Words are equal if their letters are.
    #[default]
    Simple,
    /// English: words are equal if their stems are, by the Snowball stemmer English (Porter2,
    /// snowballstem.org), as in PostgreSQL's text search configuration `english`. There are no stop
    /// words.
    English,
}

/// The most forms of a word that a query is extended by.
const MOST_FORMS: usize = 64;

/// The longest English word that has forms, in bytes. Longer words are no English ones.
const LONGEST: usize = 40;

/// What stands behind a stem in English words: the endings of inflections and of derived words that
/// the stemmer removes, the most frequent first.
const ENDINGS: &[&str] = &[
    "",
    "s",
    "es",
    "ed",
    "ing",
    "ly",
    "er",
    "ers",
    "ings",
    "ingly",
    "edly",
    "ion",
    "ions",
    "ation",
    "ations",
    "al",
    "ally",
    "ional",
    "ionally",
    "ational",
    "ative",
    "atively",
    "ive",
    "ively",
    "iveness",
    "ivity",
    "ate",
    "ates",
    "ated",
    "ating",
    "ator",
    "ators",
    "ately",
    "able",
    "ably",
    "ability",
    "ible",
    "ibly",
    "ibility",
    "ance",
    "ances",
    "ence",
    "ences",
    "ency",
    "ancy",
    "ant",
    "ants",
    "antly",
    "ent",
    "ents",
    "ently",
    "ment",
    "ments",
    "ement",
    "ements",
    "ic",
    "ics",
    "ical",
    "ically",
    "icate",
    "icity",
    "ism",
    "isms",
    "ity",
    "ities",
    "ize",
    "izes",
    "ized",
    "izing",
    "izer",
    "izers",
    "ization",
    "izations",
    "ous",
    "ously",
    "ousness",
    "ful",
    "fully",
    "fulness",
    "fulnesses",
    "ness",
    "nesses",
    "ies",
    "ied",
    "y",
    "ying",
    "lessly",
    "alism",
    "ality",
    "or",
    "ors",
    "e",
];

impl Language {
    /// Reads the value of the setting.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "simple" => Some(Self::Simple),
            "english" => Some(Self::English),
            _ => None,
        }
    }

    /// The forms of a folded word, itself first; empty if only the word itself is searched.
    pub(crate) fn forms(self, word: &str) -> Vec<String> {
        let is_english = word.bytes().all(|byte| byte.is_ascii_lowercase());
        if self == Self::Simple || !is_english || word.len() > LONGEST {
            return Vec::new();
        }
        let stemmer = Stemmer::create(Algorithm::English);
        let stem = stemmer.stem(word).into_owned();
        let mut forms = vec![word.to_owned()];
        let bases = bases(&stem);
        for ending in ENDINGS {
            for base in &bases {
                let form = format!("{base}{ending}");
                if forms.len() < MOST_FORMS && !forms.contains(&form) && stemmer.stem(&form) == stem
                {
                    forms.push(form);
                }
            }
        }
        if forms.len() == 1 { Vec::new() } else { forms }
    }
}

/// What the endings are put behind: the stem itself, with the `y` or the `e` that the stemmer removes,
/// without its `e` (`love` in `loving`), and with its last letter doubled (`run` in `running`).
fn bases(stem: &str) -> Vec<String> {
    let mut bases = vec![stem.to_owned()];
    if let Some(before) = stem.strip_suffix('i') {
        bases.push(format!("{before}y"));
    }
    if let Some(before) = stem.strip_suffix('e') {
        bases.push(before.to_owned());
    }
    if let Some(last) = stem.chars().last().filter(|last| !"aeiouwxy".contains(*last)) {
        bases.push(format!("{stem}{last}"));
    }
    bases.push(format!("{stem}e"));
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_words_have_their_forms() {
        for (word, wanted) in [
            ("rivers", &["rivers", "river"][..]),
            ("river", &["river", "rivers"]),
            ("running", &["run", "runs", "running"]),
            ("happiness", &["happy", "happiness"]),
            ("studies", &["study", "studies", "studied", "studying"]),
            ("loved", &["love", "loves", "loved", "loving"]),
            ("relational", &["relate", "relates", "relation", "relations", "relational"]),
            ("organization", &["organize", "organized", "organizing", "organizations"]),
            ("houses", &["house", "houses", "housed", "housing"]),
            ("boxes", &["box", "boxes"]),
            ("nations", &["nation", "nations"]),
            ("hopefully", &["hopeful", "hopefully"]),
        ] {
            let forms = Language::English.forms(word);
            assert_eq!(forms.first().map(String::as_str), Some(word));
            for form in wanted {
                assert!(forms.iter().any(|it| it == form), "{word}: no {form} in {forms:?}");
            }
            assert!(forms.len() <= MOST_FORMS, "{word}: {}", forms.len());
        }
    }

    #[test]
    fn a_form_has_the_stem_of_its_word() {
        let stemmer = Stemmer::create(Algorithm::English);
        for word in ["universe", "cats", "sky", "a", "the", "x", "generously"] {
            let stem = stemmer.stem(word).into_owned();
            for form in Language::English.forms(word) {
                assert_eq!(stemmer.stem(&form), stem, "{word}: {form}");
            }
        }
        assert!(!Language::English.forms("river").contains(&"riverside".to_owned()));
    }

    #[test]
    fn other_words_have_no_forms() {
        assert!(Language::Simple.forms("rivers").is_empty());
        for word in ["ёлка", "42", "b2b", "東京", &"a".repeat(LONGEST + 1)] {
            assert!(Language::English.forms(word).is_empty(), "{word}");
        }
    }
}
