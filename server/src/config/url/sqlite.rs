//! Checks the URL of a SQLite file.

use super::text::{decode, parameters, split};

/// The parameters that connections obey.
pub(super) const OBEYED: [&str; 2] = ["cache", "mode"];

/// Checks a URL that begins with `sqlite:`.
///
/// # Errors
/// A sentence that names the parameter at fault: the database is in memory, or can't be written,
/// or a parameter is not known.
pub(super) fn check(text: &str) -> Result<(), String> {
    let (place, query) = split(text, '?');
    let place = place.strip_prefix("sqlite:").unwrap_or(place);
    let file = decode(place.strip_prefix("//").unwrap_or(place))?;
    let mut in_memory = file == ":memory:" || file.starts_with("file:");
    for (name, value) in parameters(query)? {
        match (name.as_str(), value.as_str()) {
            ("mode", "memory") => in_memory = true,
            ("mode", "rw" | "rwc") | ("cache", "private" | "shared") => {}
            ("mode", "ro") | ("immutable", _) => {
                let modes = "mode=rw, or mode=rwc to create the file";
                return Err(format!("must be open for writing: {modes}"));
            }
            ("mode", _) => return Err("has a mode that is neither rw nor rwc".to_owned()),
            ("cache", _) => {
                return Err("has a cache that is neither private nor shared".to_owned());
            }
            (name, _) => {
                let known = OBEYED.join(", ");
                let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let shown = if is_name { format!(" {name}") } else { String::new() };
                return Err(format!(
                    "has the parameter{shown}, which is not known here; there are {known}"
                ));
            }
        }
    }
    if in_memory {
        return Err("must name a file: a database in memory has one connection only".to_owned());
    }
    if file.is_empty() {
        return Err("must name a file: SQLite takes an empty name for a temporary one".to_owned());
    }
    Ok(())
}
