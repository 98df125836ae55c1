//! Every `bookstore` command in a document has subcommands and flags that exist.

use std::collections::BTreeSet;

use bookstore_tests::run;
use regex::Regex;

use crate::tidy;

/// The commands of a document, in blocks and in the text, as words without the program.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    // From where a command may begin, also behind a variable, up to what ends it.
    let command =
        r"(?m)(?:^|`|\$ |&& |=\S+ )(?:bookstore|cargo run --) ((?:[a-z]|--)[^\n`|;#&()]*)";
    let word = r#""[^"]*"|'[^']*'|[^\s"']+"#;
    let [command, word] = [command, word].map(|text| Regex::new(text).expect("a pattern"));
    let words = |text: &str| {
        let words = word.find_iter(text).map(|word| word.as_str().trim_matches(['"', '\'']));
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    let found = command.captures_iter(text).map(|found| words(&found[1]));
    // A command that is shown in part is passed over.
    found.filter(|words| !words.iter().any(|word| word.contains('…'))).collect()
}

/// The code of a document: its blocks and its spans in backticks.
fn code(text: &str) -> String {
    let span = Regex::new(r"(?s)```.*?```|`[^`\n]+`").expect("a pattern");
    span.find_iter(text).map(|found| found.as_str()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_documented_command_and_flag_exists() {
    let mut count = 0;
    for (path, text) in tidy::files(".md") {
        if path == "CHANGELOG.md" {
            continue;
        }
        for words in commands(&code(&text)) {
            // Clap reads the words before the flag first, and refuses those that it doesn't know.
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.push("--help");
            let ended = run(&arguments, &[]).await;
            assert_eq!(
                ended.code,
                Some(0),
                "{path}: bookstore {}\n{}",
                words.join(" "),
                ended.errors
            );
            count += 1;
        }
    }
    assert!(count > 40, "{count} commands");
}

#[tokio::test]
async fn unknown_documented_command_is_reported() {
    let text =
        "`bookstore gone`, `bookstore serve`\n```sh\nX='a' bookstore migrate up --gone | cat\n```";
    let found = commands(&code(text));
    let wanted = [vec!["gone"], vec!["migrate", "up", "--gone"], vec!["serve"]];
    assert_eq!(found.iter().cloned().collect::<Vec<_>>(), wanted);
    for (words, code) in found.iter().zip([2, 2, 0]) {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        assert_eq!(run(&arguments, &[]).await.code, Some(code), "{words:?}");
    }
}
