//! The file `.env` of the working directory, in which developers keep the URL of their own database.
//! Only DATABASE_URL is read from it. Every other source overrides it.

use std::{io::ErrorKind, path::Path};

/// The name of the file.
pub const DOT_ENV: &str = ".env";

/// The only variable that is read.
pub(super) const READ: &str = "DATABASE_URL";

/// What a line of the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotEnvLine {
    /// The line, from 1 on.
    pub number: usize,
    /// The name of the variable.
    pub name: String,
    /// Its value without quotation marks; `None` if a mark is not closed.
    pub value: Option<String>,
}

/// The variables in the text of the file, `NAME=value` in each line. `export` before the name,
/// empty lines and comments are allowed.
#[must_use]
pub fn lines(text: &str) -> Vec<DotEnvLine> {
    let variable = |(at, line): (usize, &str)| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let (name, value) = (name.trim().to_owned(), unquoted(value.trim()));
        Some(DotEnvLine { number: at + 1, name, value })
    };
    text.lines().enumerate().filter_map(variable).collect()
}

/// A value without its quotation marks and without a comment behind it.
fn unquoted(value: &str) -> Option<String> {
    for mark in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(mark) {
            return rest.split_once(mark).map(|(inner, _)| inner.to_owned());
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    Some(value[..end].trim_end().to_owned())
}

/// The database's URL in the file of a folder, with its line. A file without one, or no file, is no
/// error.
pub(super) fn url_in(folder: &Path) -> Result<Option<(usize, String)>, String> {
    let path = folder.join(DOT_ENV);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}, read for database_url: {error}", path.display())),
    };
    // As in a shell, the last one counts.
    let mut lines = lines(&String::from_utf8_lossy(&text)).into_iter();
    let Some(line) = lines.rfind(|line| line.name == READ) else { return Ok(None) };
    match line.value {
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => Ok(Some((line.number, value))),
        None => Err(format!(
            "database_url from line {} of {}: a quotation mark is not closed",
            line.number,
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_names_and_values() {
        let text = "# A=1\n\nexport A=1\nB = \"two words\" # that\nC='x\nD=sqlite://a#b # c\nno\n";
        let line = |number, name: &str, value: Option<&str>| DotEnvLine {
            number,
            name: name.to_owned(),
            value: value.map(ToOwned::to_owned),
        };
        let expected = [
            line(3, "A", Some("1")),
            line(4, "B", Some("two words")),
            line(5, "C", None),
            line(6, "D", Some("sqlite://a#b")),
        ];
        assert_eq!(lines(text), expected);
    }
}
