//! Arguments that are one line of text.

/// Reads a text of one line that says something. One of several lines would end the comment of a
/// revision's file, and the compiler refuses a comment that turns the direction of text.
pub(super) fn line(text: &str) -> Result<String, String> {
    let turns = |one: char| matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.trim().is_empty() {
        return Err("it is blank".to_owned());
    }
    match text.chars().find(|one| one.is_control() || turns(*one)) {
        Some(one) => {
            Err(format!("expected one line without control characters, not {}", one.escape_debug()))
        }
        None => Ok(text.to_owned()),
    }
}
