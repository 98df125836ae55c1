//! Replaces the rules in the text of a policy, and keeps the rest as its author wrote it.

use std::ops::Range;

/// What the comments about seen calls begin with.
const SEEN: &str = "# seen:";

/// What the comment behind a rule begins with.
const CALLS: &str = " # calls: ";

/// A text in which rules are replaced from its beginning to its end.
pub(super) struct RuleEditor<'t> {
    text: &'t str,
    /// How many bytes of the text are edited.
    done: usize,
    edited: String,
}

impl<'t> RuleEditor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, done: 0, edited: String::new() }
    }

    /// Replaces the rule at a place behind the last one. The notes become comments above its line, and
    /// the number of calls becomes one behind it. A rule inside an inline table has neither: TOML
    /// has no comments there.
    pub(super) fn replace(
        &mut self,
        place: Range<usize>,
        rule: String,
        notes: &[String],
        calls: u64,
    ) {
        let before = &self.text[self.done..place.start];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.keep(&before[..line]);
        let rest = &self.text[place.end..];
        let old = old_calls(rest);
        let rest = &rest[old..];
        let line_rest = rest.split('\n').next().unwrap_or_default().trim_start();
        let has_comments = line_rest.is_empty() || line_rest.starts_with('#');
        if has_comments {
            for note in notes {
                self.edited += &format!("{SEEN} {note}\n");
            }
        }
        self.edited += &before[line..];
        self.edited += &format!("\"{rule}\"");
        if has_comments {
            self.edited += &format!("{CALLS}{calls}");
        }
        self.done = place.end + old;
    }

    /// The whole text, with more notes at its beginning.
    pub(super) fn finish(mut self, notes: impl Iterator<Item = String>) -> String {
        let rest = &self.text[self.done..];
        self.keep(rest);
        let notes: String = notes.map(|note| format!("{SEEN} {note}\n")).collect();
        notes + &self.edited
    }

    /// Keeps a part of the text, but for the comments of an earlier suggestion.
    fn keep(&mut self, part: &str) {
        let lines = part.split_inclusive('\n').filter(|line| !line.trim_start().starts_with(SEEN));
        self.edited.extend(lines);
    }
}

/// How many bytes the number of calls of an earlier suggestion takes.
fn old_calls(text: &str) -> usize {
    let Some(number) = text.strip_prefix(CALLS) else { return 0 };
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    CALLS.len() + digits
}
