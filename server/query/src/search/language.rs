//! The language of searches: which words are forms of one word.
//!
//! The indexes hold the words as they stand, and a query is extended by the other forms of its words.
//! So both engines find the same rows, rows that are written by SQL have their words too, and a change
//! of the language needs no new index.

use std::iter;

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

/// The most forms that all words of a search are extended by together. It bounds the statement. Each of
/// [`SEARCHED_IN_FULL`] words can have all its forms.
const MOST_FORMS: usize = 512;

/// The most words of a search that have all forms; each word of a longer one has its most frequent forms.
#[cfg(test)]
const SEARCHED_IN_FULL: usize = 2;

/// The longest English word that has forms, in bytes. Longer words are no English ones.
const LONGEST: usize = 40;

/// What stands behind a stem in English words: the endings of inflections and of derived words that
/// the stemmer removes, the most frequent in English texts first.
const ENDINGS: &str = "s ed ing e es y er ers ion ly al ate ic ions ation ated ating ive ity able ates \
    ations ings ness ally ent ical ies ized ism ics ous ful ment als ant ically ence ize ator ance \
    ely ative ization ement ators ities izing ively ably ational fully ional ments ants ously ible \
    ently ents ality ately ered ency ives ements alism edly ivity ances alized ering ability \
    ication ingly ences alization ioned ist ists ors or ionally ied izes ioning antly ications \
    eable encies izer eness ancy atively ibility alities eful iveness alize icity ables atives eous \
    nesses izations icated fulness ibly isms izers alizing alizes alizer alizers ibles ented enting icate icates \
    eously efully icals ionality ionalism ousness ancies ationally icating erly ableness \
    alizations ibilities abilities ivities eing eds eers eer eering eered izable emented ementing \
    mented menting entative entatives icator icators icative ionals antness ateness efulness eably \
    eity eal eate eated eating eation icities iced icing nessed nessing fuls erness";

/// The endings before which English doubles the last letter of a verb (`running`).
const BEHIND_DOUBLED: &[&str] =
    &["ed", "ing", "er", "ers", "ings", "able", "ably", "ingly", "edly", "y", "ies", "ily"];

/// The further endings behind a double `l`, of which the stemmer removes one (`installations`).
const BEHIND_LL: &[&str] = &[
    "", "s", "ation", "ations", "ment", "ments", "ic", "ent", "ence", "ently", "ant", "ants",
    "ate", "ated", "ating", "ator", "ators", "ity", "ous", "ible",
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

    /// Whether a folded word may have other forms.
    pub(crate) fn has_forms(self, word: &str) -> bool {
        let is_english = word.bytes().all(|byte| byte.is_ascii_lowercase());
        self == Self::English && is_english && word.len() <= LONGEST
    }

    /// The forms of a folded word of a search of `count` words, itself first; empty if only the word
    /// itself is searched.
    pub(crate) fn forms(self, word: &str, count: usize) -> Vec<String> {
        if !self.has_forms(word) {
            return Vec::new();
        }
        let stemmer = Stemmer::create(Algorithm::English);
        let stem = stemmer.stem(word).into_owned();
        let mut forms = vec![word.to_owned()];
        let most = MOST_FORMS / count.max(1);
        let endings = iter::once("").chain(ENDINGS.split_whitespace());
        let spelled = endings.flat_map(|ending| spelled(&stem, ending));
        for form in inflected(word).into_iter().chain(spelled) {
            if forms.len() < most && !forms.contains(&form) && stemmer.stem(&form) == stem {
                forms.push(form);
            }
        }
        if forms.len() == 1 { Vec::new() } else { forms }
    }
}

/// The inflections of a word, and those of the word without its inflection. They come first, since
/// they are the forms that a user expects most (`dependencies` for `dependency`).
fn inflected(word: &str) -> Vec<String> {
    let mut bases = vec![word.to_owned()];
    for (ending, base) in
        [("ies", "y"), ("ied", "y"), ("s", ""), ("ed", ""), ("ing", ""), ("ing", "e")]
    {
        bases.extend(word.strip_suffix(ending).map(|before| format!("{before}{base}")));
    }
    let mut forms = Vec::new();
    for base in bases {
        let vowel = base.strip_suffix('e').unwrap_or(&base);
        let plural = base.strip_suffix('y').map(|before| format!("{before}ies"));
        forms.extend(plural);
        forms.extend(["s", "ed", "ing"].map(|ending| format!("{vowel}{ending}")));
        forms.extend([format!("{base}s"), base]);
    }
    forms
}

/// The ways to spell an ending behind a stem.
fn spelled(stem: &str, ending: &str) -> Vec<String> {
    let mut forms = vec![format!("{stem}{ending}")];
    let (before, last) = stem.split_at(stem.len().saturating_sub(1));
    match last {
        // `study`: the stemmer makes `i` of `y`.
        "i" if ["", "s", "ing", "ings", "ingly"].contains(&ending) => {
            forms.push(format!("{before}y{ending}"));
        }
        // `skies`, whose stem is `sky`.
        "y" if ["es", "ed"].contains(&ending) => forms.push(format!("{before}i{ending}")),
        "e" => {
            if ending.starts_with(is_vowel) {
                forms.push(format!("{before}{ending}"));
            }
            if let Some(before) = before.strip_suffix('i').filter(|_| ending == "ing") {
                forms.push(format!("{before}ying"));
            }
        }
        _ => {}
    }
    if let Some(before) = stem.strip_suffix("bl").filter(|_| ["e", "ies"].contains(&ending)) {
        // `possibility` and `possible`.
        let noun = if ending == "e" { "bility" } else { "bilities" };
        forms.push(format!("{before}{noun}"));
    }
    let is_doubled = ends_in_a_short_vowel(stem) && BEHIND_DOUBLED.contains(&ending);
    if is_doubled || last == "l" && before.ends_with(is_vowel) && BEHIND_LL.contains(&ending) {
        forms.push(format!("{stem}{last}{ending}"));
    }
    forms
}

fn is_vowel(letter: char) -> bool {
    "aeiouy".contains(letter)
}

/// Whether a stem ends in one vowel and a consonant that English doubles behind it. The vowel of `quit`
/// is one.
fn ends_in_a_short_vowel(stem: &str) -> bool {
    let mut letters = stem.chars().rev();
    let (last, vowel) = (letters.next(), letters.next());
    let before: Option<char> = letters.next();
    last.is_some_and(|last| !"aeiouwxy".contains(last))
        && vowel.is_some_and(is_vowel)
        && (!before.is_some_and(|before| "aeiou".contains(before)) || letters.next() == Some('q'))
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
            let forms = Language::English.forms(word, SEARCHED_IN_FULL);
            assert_eq!(forms.first().map(String::as_str), Some(word));
            for form in wanted {
                assert!(forms.iter().any(|it| it == form), "{word}: no {form} in {forms:?}");
            }
        }
    }

    /// Families of words: the first of a line is the base, the others are its endings, or whole words
    /// behind `=`.
    const FAMILIES: &str = include_str!("families.txt");

    /// Each word of a family finds each other that the stemmer gives the same stem.
    #[test]
    fn each_word_of_a_family_finds_the_others() {
        let stemmer = Stemmer::create(Algorithm::English);
        let (mut missed, mut pairs) = (Vec::new(), 0);
        for family in FAMILIES.lines() {
            let mut parts = family.split_whitespace();
            let base = parts.next().expect("a base");
            let words = parts.map(|part| match part.strip_prefix('=') {
                Some(word) => word.to_owned(),
                None => format!("{base}{part}"),
            });
            let words: Vec<_> = iter::once(base.to_owned()).chain(words).collect();
            for word in &words {
                let forms = Language::English.forms(word, SEARCHED_IN_FULL);
                let stem = stemmer.stem(word);
                for other in words.iter().filter(|other| *other != word) {
                    if stemmer.stem(other) == stem {
                        pairs += 1;
                        if !forms.contains(other) {
                            missed.push(format!("{word}->{other}"));
                        }
                    }
                }
            }
        }
        assert!(missed.is_empty(), "{} of {pairs}: {missed:?}", missed.len());
        assert!(pairs > 3_000, "{pairs}");
    }

    #[test]
    fn the_forms_of_a_search_are_bounded() {
        let stemmer = Stemmer::create(Algorithm::English);
        for word in ["install", "government", "relational", "possible", "control", "happy", "agree"]
        {
            let all = Language::English.forms(word, 1);
            let full = Language::English.forms(word, SEARCHED_IN_FULL);
            assert_eq!(all, full, "{word}: {} forms", all.len());
            let few = Language::English.forms(word, 32);
            assert!(few.len() <= MOST_FORMS / 32, "{word}: {}", few.len());
            assert!(few.iter().all(|form| stemmer.stem(form) == stemmer.stem(word)));
            for frequent in
                ["s", "ed", "ing"].map(|ending| format!("{}{ending}", stemmer.stem(word)))
            {
                assert!(few.contains(&frequent) || !all.contains(&frequent), "{word}: {frequent}");
            }
        }
    }

    #[test]
    fn a_form_has_the_stem_of_its_word() {
        let stemmer = Stemmer::create(Algorithm::English);
        for word in ["universe", "cats", "sky", "a", "the", "x", "generously"] {
            let stem = stemmer.stem(word).into_owned();
            for form in Language::English.forms(word, SEARCHED_IN_FULL) {
                assert_eq!(stemmer.stem(&form), stem, "{word}: {form}");
            }
        }
        assert!(!Language::English.forms("river", 1).contains(&"riverside".to_owned()));
    }

    #[test]
    fn other_words_have_no_forms() {
        assert!(Language::Simple.forms("rivers", 1).is_empty());
        for word in ["ёлка", "42", "b2b", "東京", &"a".repeat(LONGEST + 1)] {
            assert!(Language::English.forms(word, SEARCHED_IN_FULL).is_empty(), "{word}");
        }
    }
}
