//! The harness of the suite and of the trials: a database for each test on each engine, and the
//! real program in front of it.
//!
//! Start with [`TestServer`]. [`on_every_engine`] makes a test of a case for each [`Engine`].

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a harness that can't go on has to fail the test, and say why"
)]

mod authority;
mod catalog;
mod credentials;
mod database;
mod drifts;
mod engine;
mod examples;
pub mod frames;
mod guard;
mod history;
mod line;
mod postgres;
mod program;
mod raw;
mod revisions;
mod server;
mod sink;
mod stopwatch;
mod trials;
mod wait;
mod written;

pub use authority::{Authority, Pair, Purpose, TlsFiles, dns, uri, write_whole};
pub use catalog::catalog;
pub use credentials::{AccessFiles, Issuer, KeyServer, methods, now, policy};
pub use database::{Database, Row, SqliteDatabase};
pub use drifts::{Drift, drifts};
pub use engine::Engine;
pub use guard::hold;
pub use line::{Line, Side};
pub use postgres::{
    Origin, Postgres, PostgresDatabase, REVERSED_SETTINGS, Replicated, has_pgbouncer, psql,
    reverse_settings,
};
pub use program::{Finished, Lines, program, run};
pub use raw::{Raw, raw};
pub use revisions::{VARIABLE as REVISIONS, known as known_revisions, played};
pub use server::{Builder, Ended, Resources, Signal, TestServer};
pub use sink::Sink;
pub use stopwatch::{Stopwatch, Took};
pub use trials::{TRIALS, Trial, Work, run_trial, trial};
pub use wait::{SOON, until, until_within};
pub use written::written;
