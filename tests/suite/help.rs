//! The help of the program and of each subcommand.

use bookstore_tests::run;

/// The most lines of a screen.
const SCREEN: usize = 40;

async fn help(arguments: &[&str]) -> String {
    let finished = run(arguments, &[]).await;
    assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
    finished.output
}

#[tokio::test]
async fn help_of_every_subcommand_fits_one_screen() {
    let program = help(&["--help"]).await;
    let (_, commands) = program.split_once("Commands:\n").expect("the commands");
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    assert!(program.lines().count() <= SCREEN, "{program}");
    assert!(program.contains("`bookstore help settings`"), "{program}");
    for command in commands.into_iter().filter(|name| *name != "settings") {
        let text = help(&[command, "--help"]).await;
        // It has verbs and exit codes for more than that.
        let most = if command == "migrate" { 50 } else { SCREEN };
        assert!(text.lines().count() <= most, "{command}: {}\n{text}", text.lines().count());
    }
    for command in ["serve", "migrate", "topology", "explain", "config"] {
        let text = help(&[command, "--help"]).await;
        assert!(text.contains("`bookstore help settings`"), "{command}:\n{text}");
        assert!(!text.contains("--max-calls"), "{command}:\n{text}");
    }
}

#[tokio::test]
async fn help_settings_lists_every_setting() {
    let listed = help(&["help", "settings"]).await;
    let settings = |text: &str| text.split_once("\nSettings:\n").map(|it| it.1.trim().to_owned());
    assert_eq!(settings(&help(&["settings"]).await), settings(&listed));
    for setting in bookstore_server::config::SETTINGS {
        let flag = format!("--{} ", setting.key.replace('_', "-"));
        assert!(listed.contains(&flag), "{flag}\n{listed}");
        assert!(listed.contains(&format!("[env: {}]", setting.key.to_ascii_uppercase())), "{flag}");
    }
    // A setting is a flag of every command that reads settings.
    let config = help(&["config", "--max-calls", "77"]).await;
    assert!(config.contains("max_calls = 77"), "{config}");
}
