//! The program under test, with two more roles: `trial` runs a long trial and `guard` owns what a
//! run of tests has started.
//!
//! Cargo builds a program only for the tests of its own package, so the service can be started from
//! here.

use std::{io::Read, process::ExitCode, thread};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("guard") => bookstore_tests::hold(),
        Some("trial") => bookstore_tests::run_trial(&arguments[1..]),
        _ => {
            if std::env::var_os("BOOKSTORE_TEST_STDIN_GUARD").is_some() {
                end_with_standard_input();
            }
            match std::env::var_os(bookstore_tests::REVISIONS) {
                Some(path) => bookstore_server::main_with(bookstore_tests::played(path.as_ref())),
                None => bookstore_server::main(),
            }
        }
    }
}

/// Ends the program when its standard input ends. The test process holds the other end, so a
/// service never outlives its test, even if the test is killed.
fn end_with_standard_input() {
    thread::spawn(|| {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(1..)) {}
        std::process::exit(9);
    });
}
