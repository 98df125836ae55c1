//! Writes the cluster's URL to the file `.env` of the project and leaves the other lines as they are.

use std::{fs, io::ErrorKind, path::Path};

use super::state::write_private;
use crate::{
    command::failure::Failure,
    config::{DOT_ENV, dot_env_lines},
};

/// The comment before the line that is written. A line without it is not replaced.
const MARK: &str = "# Written by bookstore dev.";

const VARIABLE: &str = "DATABASE_URL";

/// Refuses a file with a URL that `bookstore dev` has not written.
pub(super) fn check(project: &Path) -> Result<(), Failure> {
    with_url(&read(project)?, "").map(drop)
}

/// Writes the URL.
pub(super) fn write(project: &Path, url: &str) -> Result<(), Failure> {
    let path = project.join(DOT_ENV);
    let before = read(project)?;
    let after = with_url(&before, url)?;
    if after == before {
        return Ok(());
    }
    // A link stays one.
    let file = path.canonicalize().unwrap_or_else(|_| path.clone());
    write_private(&file, &after).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn read(project: &Path) -> Result<String, Failure> {
    let path = project.join(DOT_ENV);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// The text of the file with the URL in the place of the former one, or at the end.
fn with_url(text: &str, url: &str) -> Result<String, Failure> {
    // With their ends, which may be those of Windows.
    let mut lines: Vec<String> = text.split_inclusive('\n').map(ToOwned::to_owned).collect();
    let end = if lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(end);
    }
    let variables = dot_env_lines(text);
    let mut named = variables.iter().filter(|line| line.name == VARIABLE);
    let line = format!("{VARIABLE}={url}{end}");
    let own = |number: usize| number > 1 && lines[number - 2].trim() == MARK;
    if let Some(other) = variables.iter().find(|line| line.name == VARIABLE && !own(line.number)) {
        return Err(format!(
            "line {} of {DOT_ENV} has a {VARIABLE} that bookstore dev has not written: remove the \
             line or use another folder",
            other.number
        )
        .into());
    }
    match named.next_back() {
        Some(former) => lines[former.number - 1] = line,
        None => lines.extend([format!("{MARK}{end}"), line]),
    }
    Ok(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_replaces_the_one_before_and_other_lines_stay() {
        let first = with_url("A=1\n\n# mine\nB=2", "postgres://one").unwrap();
        let expected =
            "A=1\n\n# mine\nB=2\n# Written by bookstore dev.\nDATABASE_URL=postgres://one\n";
        assert_eq!(first, expected);
        let second = with_url(&(first.clone() + "C=3\n"), "postgres://two").unwrap();
        assert_eq!(second, first.replace("one", "two") + "C=3\n");
    }

    #[test]
    fn line_ends_of_windows_stay() {
        let first = with_url("A=1\r\nB=2", "postgres://one").unwrap();
        let expected =
            "A=1\r\nB=2\r\n# Written by bookstore dev.\r\nDATABASE_URL=postgres://one\r\n";
        assert_eq!(first, expected);
        let second = with_url(&first, "postgres://two").unwrap();
        assert_eq!(second, expected.replace("one", "two"));
    }

    #[cfg(unix)]
    #[test]
    fn link_to_another_file_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("real.env");
        fs::write(&target, "A=1\n").unwrap();
        std::os::unix::fs::symlink("real.env", folder.path().join(DOT_ENV)).unwrap();
        write(folder.path(), "postgres://one").unwrap();
        assert!(folder.path().join(DOT_ENV).is_symlink());
        let expected = with_url("A=1\n", "postgres://one").unwrap();
        assert_eq!(fs::read_to_string(target).unwrap(), expected);
    }

    #[test]
    fn url_that_dev_has_not_written_is_refused() {
        let error = with_url("A=1\nDATABASE_URL=sqlite://mine.db\n", "postgres://one");
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("line 2 of .env has a DATABASE_URL"), "{text}");
    }
}
