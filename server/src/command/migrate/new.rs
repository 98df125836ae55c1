//! `migrate new`: a file for the next revision, in the source.

mod arguments;
mod steps;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bookstore_store::now;
use serde_json::json;

pub(super) use self::arguments::Arguments;
use super::context::{Context, Problem};

/// Where revisions stand in the source.
const FOLDER: &str = "migration/src/revisions";

/// The exit code where the entities are what the migrations make already.
const NOTHING_TO_DO: u8 = 8;

/// Writes the next revision. The exit code is 8 if there is nothing to do.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode, Problem> {
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => find_folder()?,
    };
    let parent = context.chain.head().map(|head| head.name.clone());
    let name = name(&context.chain.names(), &arguments.message)?;
    let empty = "            // sql(r#\"ALTER TABLE …\"#),\n".to_owned();
    let (up, down) = if arguments.empty {
        (empty.clone(), empty)
    } else {
        match steps::written(context, arguments, &name).await? {
            Some(source) => (source.up, source.down),
            None => {
                context.output.line("nothing to do");
                context.output.json(&json!({"revision": null, "file": null}));
                return Ok(ExitCode::from(NOTHING_TO_DO));
            }
        }
    };
    let text = render(&RevisionFile {
        name: &name,
        parent: parent.as_deref(),
        message: &arguments.message,
        author: arguments.author.as_deref(),
        up: &up,
        down: &down,
    });
    let file = write(&folder, &name, &text)?;
    context.output.line(&format!("wrote {}", file.display()));
    context.output.json(&json!({"revision": name, "file": file}));
    Ok(ExitCode::SUCCESS)
}

/// What a file of a revision is made of.
pub(super) struct RevisionFile<'a> {
    pub(super) name: &'a str,
    pub(super) parent: Option<&'a str>,
    pub(super) message: &'a str,
    pub(super) author: Option<&'a str>,
    /// The steps, each with its comma, on lines of their own.
    pub(super) up: &'a str,
    pub(super) down: &'a str,
}

/// The text of a revision's file.
pub(super) fn render(draft: &RevisionFile<'_>) -> String {
    let RevisionFile { name, parent, message, author, up, down } = draft;
    let method = |method: &str, value: Option<&str>| {
        value.map(|value| format!("        .{method}({value:?})\n")).unwrap_or_default()
    };
    let (after, author) = (method("after", *parent), method("author", *author));
    let title = message.trim_end_matches('.');
    format!(
        "//! {title}.\n\n\
         use crate::prelude::*;\n\n\
         /// The revision.\n\
         pub(super) fn revision() -> Revision {{\n    \
             Revision::new({name:?}, {message:?})\n{after}{author}        \
             .up([\n{up}        ])\n        .down([\n{down}        ])\n}}\n"
    )
}

/// Writes a revision's file and names it in the list. Nothing is overwritten.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Problem> {
    let list = folder.join("mod.rs");
    let lines =
        fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let with = register(&lines, name).ok_or_else(|| {
        format!("{} isn't understood: add `mod {name};` and its line by hand", list.display())
    })?;
    let file = folder.join(format!("{name}.rs"));
    let mut options = fs::File::options();
    let new = options.write(true).create_new(true).open(&file);
    let mut new = new.map_err(|error| format!("{}: {error}", file.display()))?;
    std::io::Write::write_all(&mut new, text.as_bytes())?;
    fs::write(&list, with)?;
    Ok(file)
}

/// The list of revisions with one more, last.
fn register(lines: &str, name: &str) -> Option<String> {
    let mut out = Vec::new();
    let lines: Vec<&str> = lines.lines().collect();
    let module = lines.iter().rposition(|line| line.starts_with("mod m"))?;
    let entry = lines.iter().rposition(|line| line.trim_end().ends_with("::revision(),"))?;
    for (at, line) in lines.iter().enumerate() {
        out.push((*line).to_owned());
        if at == module {
            out.push(format!("mod {name};"));
        }
        if at == entry {
            out.push(format!("        {name}::revision(),"));
        }
    }
    Some(out.join("\n") + "\n")
}

/// A name that comes after all others: the day, a number, and the message's words.
fn name(names: &[String], message: &str) -> Result<String, Problem> {
    let words: Vec<String> = message
        .to_lowercase()
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        return Err("the message has no word to name the revision by".into());
    }
    let mut slug = words.join("_");
    slug.truncate(50);
    let slug = slug.trim_end_matches('_');
    let last = names.iter().max();
    let today = now().format("%Y%m%d").to_string();
    // A clock that is behind the last revision's day goes on with that day.
    let day = last.and_then(|last| last.get(1..9)).filter(|day| **day > *today).unwrap_or(&today);
    let numbers = names.iter().filter(|name| name.get(1..9) == Some(day));
    let number = numbers.filter_map(|name| name.get(10..16)?.parse::<u32>().ok()).max();
    Ok(format!("m{day}_{:06}_{slug}", number.unwrap_or_default() + 1))
}

fn find_folder() -> Result<PathBuf, Problem> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().map(|folder| folder.join(FOLDER)).find(|path| path.is_dir());
    found.ok_or_else(|| {
        format!("there is no {FOLDER} above {}; --folder names it", here.display()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_sorts_after_all_others() {
        let names = ["m20261125_000001_a".to_owned(), "m99991231_000007_b".to_owned()];
        let name = name(&names, "Add books.isbn, at last!").ok();
        assert_eq!(name.as_deref(), Some("m99991231_000008_add_books_isbn_at_last"));
        assert!(super::name(&names, " -- ").is_err());
    }

    #[test]
    fn a_registered_revision_adds_two_lines() {
        let list = "//! Doc.\n\nmod m1_a;\n\nvec![\n        m1_a::revision(),\n    ]\n";
        let with = register(list, "m2_b").expect("a list");
        let expected = "//! Doc.\n\nmod m1_a;\nmod m2_b;\n\nvec![\n        m1_a::revision(),\n        \
                        m2_b::revision(),\n    ]\n";
        assert_eq!(with, expected);
        assert_eq!(register("fn main() {}", "m2_b"), None);
    }
}
