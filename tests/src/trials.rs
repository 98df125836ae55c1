//! Long trials: the suite's own cases at a larger scale, run by name.

mod bulk;
mod checklist;
mod crowd;
mod deadlines;
mod drops;
mod failover;
mod files;
mod goodbooks;
mod history;
mod kills;
mod orders;
mod patroni;
mod placing;
mod plan_log;
mod plans;
mod repairs;
mod replicas;
mod resume;
mod search;
mod steady;
mod stock;
mod stops;
mod telemetry;
mod versions;

use std::{future::Future, io::Write as _, pin::Pin, process::ExitCode};

/// What a trial does, given its scale; it panics where the service fails it.
pub type Work = fn(u32) -> Pin<Box<dyn Future<Output = ()>>>;

/// A test that is too long for every run. The suite runs the same function at
/// a small scale.
#[derive(Clone, Copy)]
pub struct Trial {
    /// The word to run it by.
    pub name: &'static str,
    /// One line on what it shows and what its scale counts.
    pub about: &'static str,
    /// The scale when none is given.
    pub scale: u32,
    /// The work itself.
    pub work: Work,
}

/// Every trial there is.
pub const TRIALS: &[Trial] = &[
    Trial {
        name: "bulk",
        about: "this many books imported, and exported to a slow reader, in bounded memory",
        scale: 1_000_000,
        work: |scale| Box::pin(bulk::bulk(scale)),
    },
    Trial {
        name: "checklist",
        about: "one more resource by CONTRIBUTING.md's checklist, in a copy, built and tried so often",
        scale: 1,
        work: |scale| Box::pin(checklist::checklist(scale)),
    },
    Trial {
        name: "crowd",
        about: "this many connections that are silent or talk nonsense; others are served",
        scale: 5_000,
        work: |scale| Box::pin(crowd::crowd(scale)),
    },
    Trial {
        name: "deadlines",
        about: "this many calls run into their deadlines, half as many are served afterwards",
        scale: 2_000,
        work: |scale| Box::pin(deadlines::deadlines(scale)),
    },
    Trial {
        name: "drops",
        about: "callers leave at random points, this many of them on each engine",
        scale: 4_000,
        work: |scale| Box::pin(drops::drops(scale)),
    },
    Trial {
        name: "failover",
        about: "the primary lost under load and joined again as a replica, so many times before one service",
        scale: 10,
        work: |scale| Box::pin(failover::failover(scale)),
    },
    Trial {
        name: "files",
        about: "a file of this many rows goes in and out in little memory of the command",
        scale: 1_000_000,
        work: |scale| Box::pin(files::files(scale)),
    },
    Trial {
        name: "goodbooks",
        about: "real books, the file named by GOODBOOKS, in and out in batches of this many",
        scale: 500,
        work: |scale| Box::pin(goodbooks::goodbooks(scale)),
    },
    Trial {
        name: "history",
        about: "this many transactions over lines that break, the service killed: an order explains them",
        scale: 5_000,
        work: |scale| Box::pin(history::history(scale)),
    },
    Trial {
        name: "kills",
        about: "migrations killed at random moments, this many times on each engine: the next run ends at head",
        scale: 50,
        work: |scale| Box::pin(kills::kills(scale)),
    },
    Trial {
        name: "orders",
        about: "this many orders over lines that break, the service killed, on each engine: each once",
        scale: 5_000,
        work: |scale| Box::pin(orders::orders(scale)),
    },
    Trial {
        name: "patroni",
        about: "a switchover, the primary killed, its node lost under Patroni, this many times",
        scale: 1,
        work: |scale| Box::pin(patroni::patroni(scale)),
    },
    Trial {
        name: "placing",
        about: "so many orders as one statement and statement by statement, with what they cost",
        scale: 2_000,
        work: |scale| Box::pin(placing::placing(scale)),
    },
    Trial {
        name: "plans",
        about: "lists over this many books and orders walk an index and sort nothing",
        scale: 1_000_000,
        work: |scale| Box::pin(plans::plans(scale)),
    },
    Trial {
        name: "repairs",
        about: "this many drifts on each engine mended by `migrate new`, and all compiled if it takes in every one",
        scale: 1_000,
        work: |scale| Box::pin(repairs::repairs(scale)),
    },
    Trial {
        name: "replicas",
        about: "this many writes and reads of them at replicas that lag; none is stale",
        scale: 100_000,
        work: |scale| Box::pin(replicas::replicas(scale)),
    },
    Trial {
        name: "resume",
        about: "imports whose client, server or database is killed, this many times on each engine",
        scale: 20,
        work: |scale| Box::pin(resume::resume(scale)),
    },
    Trial {
        name: "search",
        about: "searches over this many books on each engine, with what they cost",
        scale: 100_000,
        work: |scale| Box::pin(search::search(scale)),
    },
    Trial {
        name: "stock",
        about: "64 callers order and call off, this many times on each engine; the stock agrees",
        scale: 20_000,
        work: |scale| Box::pin(stock::stock(scale)),
    },
    Trial {
        name: "stops",
        about: "SIGTERM under load, this many times: nothing answered is lost, it ends in time",
        scale: 20,
        work: |scale| Box::pin(stops::stops(scale)),
    },
    Trial {
        name: "telemetry",
        about: "GetBook with and without telemetry, so many rounds on each engine: what it costs",
        scale: 10,
        work: |scale| Box::pin(telemetry::telemetry(scale)),
    },
    Trial {
        name: "versions",
        about: "an older and a newer program under load across a revision, this many calls, in both orders",
        scale: 20_000,
        work: |scale| Box::pin(versions::versions(scale)),
    },
];

/// Carries a trial out, at the suite's scale.
///
/// # Panics
/// If there is no such trial, or it fails.
pub async fn trial(name: &str, scale: u32) {
    let trial = TRIALS.iter().find(|trial| trial.name == name).expect("a trial of that name");
    (trial.work)(scale).await;
}

/// `trial` lists the trials, `trial NAME [SCALE]` runs one; the exit code is 2
/// for a name or a scale that can't be used, and a panic's if the trial fails.
pub fn run_trial(arguments: &[String]) -> ExitCode {
    // A closed pipe on the other side is no reason to stop a trial.
    let say = |line: String| drop(writeln!(std::io::stdout(), "{line}"));
    let Some(name) = arguments.first() else {
        say("trial NAME [SCALE], where NAME is one of".to_owned());
        for trial in TRIALS {
            say(format!("  {:<16} {} (scale {})", trial.name, trial.about, trial.scale));
        }
        return ExitCode::SUCCESS;
    };
    let Some(trial) = TRIALS.iter().find(|trial| trial.name == name) else {
        say(format!("no trial is called {name}; `trial` alone lists them"));
        return ExitCode::from(2);
    };
    let scale = arguments.get(1).map_or(Ok(trial.scale), |text| text.parse());
    let Ok(scale) = scale else {
        say("SCALE is a whole number".to_owned());
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime for the trial");
    runtime.block_on((trial.work)(scale));
    say(format!("{} passed at scale {scale}", trial.name));
    ExitCode::SUCCESS
}
