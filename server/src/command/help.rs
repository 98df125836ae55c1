//! The help of every command: `-h` and `--help` print one line for each flag, `bookstore help COMMAND`
//! prints the descriptions too.

use clap::{Arg, ArgAction, Command};

/// The command and its subcommands with flags for the short help. `path` is the command's name behind
/// `bookstore`, with a space before each word.
pub(super) fn short(command: Command, path: &str) -> Command {
    let text = if path.is_empty() {
        "Help; `bookstore help COMMAND` has more".to_owned()
    } else {
        format!("Help; `bookstore help{path}` has more")
    };
    let flag = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help(text);
    // The text of this setting is the longest one of many commands.
    let command = command.mut_args(|arg| match arg.get_help().cloned() {
        Some(long) if arg.get_id() == "database_url" && path != " settings" => {
            arg.help("The URL of the database [env: DATABASE_URL]").long_help(long)
        }
        _ => arg,
    });
    command.disable_help_flag(true).arg(flag).mut_subcommands(|subcommand| {
        let path = format!("{path} {}", subcommand.get_name());
        short(subcommand, &path)
    })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use crate::command::command_line;

    /// The columns and rows of a screen.
    const SCREEN: (usize, usize) = (80, 24);

    /// The most rows of the commands that have more flags than fit on a screen.
    const LONGER: &[(&str, usize)] = &[
        ("", 33),
        (" migrate", 51),
        (" migrate down", 25),
        (" migrate sql", 25),
        (" migrate new", 36),
        (" backup", 32),
        (" restore", 26),
        (" import", 37),
        (" export", 32),
        (" policy", 25),
        (" explain", 27),
    ];

    /// The paths of a command and of its subcommands.
    fn paths(command: &clap::Command, path: &str) -> Vec<String> {
        let own = std::iter::once(path.to_owned());
        let named =
            command.get_subcommands().filter(|it| !["help", "settings"].contains(&it.get_name()));
        own.chain(named.flat_map(|it| paths(it, &format!("{path} {}", it.get_name())))).collect()
    }

    fn help(words: &str) -> String {
        let words = std::iter::once("bookstore").chain(words.split_whitespace());
        let shown = command_line().try_get_matches_from(words).unwrap_err();
        assert_eq!(shown.kind(), ErrorKind::DisplayHelp, "{shown}");
        shown.to_string()
    }

    /// The rows of a text on the screen, which breaks lines that are too long.
    fn rows(text: &str) -> usize {
        text.lines().map(|line| line.chars().count().div_ceil(SCREEN.0).max(1)).sum()
    }

    #[test]
    fn help_of_every_command_fits_one_screen() {
        let paths = paths(&command_line(), "");
        assert!(paths.len() > 30, "{paths:?}");
        let mut too_long = Vec::new();
        for path in &paths {
            let text = help(&format!("{path} --help"));
            assert_eq!(text, help(&format!("{path} -h")), "{path}");
            let longer = LONGER.iter().find(|(name, _)| name == path);
            let most = longer.map_or(SCREEN.1, |(_, most)| *most);
            if rows(&text) > most {
                too_long.push(format!("{path}: {} of {most} rows\n{text}", rows(&text)));
            }
        }
        assert!(too_long.is_empty(), "{}", too_long.join("\n"));
        for (path, _) in LONGER {
            assert!(paths.iter().any(|it| it == path), "{path} is no command");
        }
    }

    #[test]
    fn short_help_names_the_command_that_tells_more() {
        for path in paths(&command_line(), "").iter().filter(|path| !path.is_empty()) {
            let text = help(&format!("{path} --help"));
            assert!(text.contains(&format!("`bookstore help{path}`")), "{text}");
            assert!(help(&format!("help{path}")).len() >= text.len(), "{path}");
        }
        // A refused command line still names the flag.
        let refused = command_line().try_get_matches_from(["bookstore", "import", "--gone"]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("try '--help'"), "{refused}");
        let more = |text: &str| text.lines().count();
        assert!(more(&help("help import")) > more(&help("import --help")) * 3 / 2);
    }

    #[test]
    fn rows_count_what_a_terminal_breaks() {
        let long = "x".repeat(SCREEN.0);
        assert_eq!(rows(&long), 1);
        assert_eq!(rows(&format!("{long}x\n\n{long}{long}x")), 2 + 1 + 3);
    }
}
