//! Separates Rust text into code, without comments and string contents, and strings. Three rules
//! need it: SQL that begins or commits is found by a string's text, since comments and names may
//! contain the same words; and a path counts as an import only in code.

/// A Rust file, with line numbers kept.
pub(super) struct Source {
    /// The code. Comments and the contents of literals are blank.
    pub(super) code: String,
    /// Each string literal as it is written, with its line, counted from 1.
    pub(super) strings: Vec<(usize, String)>,
}

impl Source {
    pub(super) fn parse(text: &str) -> Self {
        let mut source = Self { code: String::with_capacity(text.len()), strings: Vec::new() };
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            rest = if rest.starts_with("//") {
                source.skip(rest, rest.find('\n').unwrap_or(rest.len()))
            } else if rest.starts_with("/*") {
                source.skip(rest, comment_length(rest))
            } else if let Some((start, end)) = string(rest, source.code.chars().next_back()) {
                let line = source.code.matches('\n').count() + 1;
                source.strings.push((line, rest[start..end].to_owned()));
                source.code.push('"');
                let rest = source.skip(&rest[start..], end - start);
                source.code.push('"');
                &rest[rest.find('"').map_or(rest.len(), |quote| quote + 1)..]
            } else if let Some(length) = character(rest) {
                source.skip(rest, length)
            } else {
                source.code.push(next);
                &rest[next.len_utf8()..]
            };
        }
        source
    }

    /// Skips text and keeps only its line ends.
    fn skip<'a>(&mut self, text: &'a str, length: usize) -> &'a str {
        self.code.extend(text[..length].chars().filter(|c| *c == '\n'));
        &text[length..]
    }

    /// The lines of the code with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// The length of the block comment at the start of the text. Block comments nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The start and end of the content of the string literal at the start of the text. `before` is the
/// preceding character, since `r` may also end a name.
fn string(text: &str, before: Option<char>) -> Option<(usize, usize)> {
    let named = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = if named { 0 } else { text.find(|c| !matches!(c, 'b' | 'c' | 'r'))? };
    let raw = text[..prefix].ends_with('r');
    let hashes = text[prefix..].len() - text[prefix..].trim_start_matches('#').len();
    let start = prefix + hashes + 1;
    if prefix > 2 || !text[prefix + hashes..].starts_with('"') || (hashes > 0 && !raw) {
        return None;
    }
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some((start, start + text[start..].find(&end).unwrap_or(text.len() - start)));
    }
    let mut escaped = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            '"' if !escaped => return Some((start, start + at)),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Some((start, text.len()))
}

/// The length of the character literal at the start of the text. A lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        let kind = escaped.chars().next()?.len_utf8();
        return Some(2 + kind + escaped[kind..].find('\'')? + 1);
    }
    let length = inside.chars().next()?.len_utf8();
    inside[length..].starts_with('\'').then_some(length + 2)
}

#[test]
fn source_separates_code_comments_and_strings() {
    let text = concat!(
        "let a = \"one \\\" two\"; // \"no\" todo!()\n",
        "/* x /* \"no\" */ */ let b = r#\"th\"ree\"#;\n",
        "fn f<'a>(c: &'a str) -> char { if c == '\"' { '\\'' } else { var\"four\" } }\n",
        "let m = b\"fi\nve\"; end",
    );
    let source = Source::parse(text);
    let strings: Vec<_> =
        source.strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(
        strings,
        [(1, "one \\\" two"), (2, "th\"ree"), (3, "four"), (4, "fi\nve")],
        "{}",
        source.code
    );
    assert!(!source.code.contains("todo"), "{}", source.code);
    assert!(source.code.contains("fn f<'a>(c: &'a str)"), "{}", source.code);
    assert_eq!(source.lines().last(), Some((5, "\"; end")), "{}", source.code);
}
