//! Long trials: the suite's cases at a larger scale, run by name.

mod access;
mod backup;
mod backup_kills;
mod bulk;
mod by_book;
mod checklist;
mod cost;
mod crowd;
mod deadlines;
mod drops;
mod failover;
mod files;
mod goodbooks;
mod history;
mod ipv6;
mod kills;
mod names;
mod orders;
mod patroni;
mod pgbouncer;
mod placing;
mod plan_log;
mod plans;
mod point_in_time;
mod readers;
mod repairs;
mod replicas;
mod resume;
mod search;
mod slow_log;
mod soak;
mod steady;
mod stock;
mod stops;
mod telemetry;
mod versions;

use std::{future::Future, io::Write as _, pin::Pin, process::ExitCode};

/// A trial's function, given its scale. It panics if the service fails.
pub type Work = fn(u32) -> Pin<Box<dyn Future<Output = ()>>>;

/// A test that is too long for every run. The suite runs the same function at a small scale.
#[derive(Clone, Copy)]
pub struct Trial {
    /// The name to run it by.
    pub name: &'static str,
    /// One line on what it shows and what its scale counts.
    pub about: &'static str,
    /// The scale if none is given.
    pub scale: u32,
    /// The function.
    pub work: Work,
}

/// All trials.
pub const TRIALS: &[Trial] = &[
    Trial {
        name: "access",
        about: "compares GetBook's cost with and without TLS, tokens and JSON Web Tokens, this many rounds",
        scale: 5,
        work: |scale| Box::pin(access::access(scale)),
    },
    Trial {
        name: "backup",
        about: "backs up under write load and restores, this many times on each engine; no order is missing",
        scale: 50,
        work: |scale| Box::pin(backup::backup(scale)),
    },
    Trial {
        name: "backup_kills",
        about: "kills this many backups and restores on each engine at random moments under a write load",
        scale: 50,
        work: |scale| Box::pin(backup_kills::backup_kills(scale)),
    },
    Trial {
        name: "bulk",
        about: "imports this many books and exports them to a slow reader, in bounded memory",
        scale: 1_000_000,
        work: |scale| Box::pin(bulk::bulk(scale)),
    },
    Trial {
        name: "by-book",
        about: "lists the orders of a book among this many orders, on each engine, by an index",
        scale: 200_000,
        work: |scale| Box::pin(by_book::by_book(scale)),
    },
    Trial {
        name: "checklist",
        about: "adds a resource by CONTRIBUTING.md's checklist in a copy, builds and tests it this many times",
        scale: 1,
        work: |scale| Box::pin(checklist::checklist(scale)),
    },
    Trial {
        name: "cost",
        about: "counts instructions of calls in valgrind, 500 times this many, and compares with tests/cost.toml",
        scale: 2,
        work: |scale| Box::pin(cost::cost(scale)),
    },
    Trial {
        name: "crowd",
        about: "opens this many silent or hostile connections; other calls are served",
        scale: 5_000,
        work: |scale| Box::pin(crowd::crowd(scale)),
    },
    Trial {
        name: "deadlines",
        about: "lets this many calls pass their deadlines; half as many succeed afterwards",
        scale: 2_000,
        work: |scale| Box::pin(deadlines::deadlines(scale)),
    },
    Trial {
        name: "drops",
        about: "cancels this many calls at random points, on each engine",
        scale: 4_000,
        work: |scale| Box::pin(drops::drops(scale)),
    },
    Trial {
        name: "failover",
        about: "kills the primary under load and rejoins it as a replica, this many times",
        scale: 10,
        work: |scale| Box::pin(failover::failover(scale)),
    },
    Trial {
        name: "files",
        about: "imports and exports a file of this many rows, in bounded memory of the command",
        scale: 1_000_000,
        work: |scale| Box::pin(files::files(scale)),
    },
    Trial {
        name: "goodbooks",
        about: "imports and exports the real books of the file GOODBOOKS, in batches of this many",
        scale: 500,
        work: |scale| Box::pin(goodbooks::goodbooks(scale)),
    },
    Trial {
        name: "history",
        about: "runs this many transactions over broken connections; a serial order explains them",
        scale: 5_000,
        work: |scale| Box::pin(history::history(scale)),
    },
    Trial {
        name: "ipv6",
        about: "makes this many calls with the service and two nodes on ::1 alone",
        scale: 10_000,
        work: |scale| Box::pin(ipv6::ipv6(scale)),
    },
    Trial {
        name: "kills",
        about: "kills migrations at random moments, this many times on each engine; the next run ends at head",
        scale: 50,
        work: |scale| Box::pin(kills::kills(scale)),
    },
    Trial {
        name: "names",
        about: "lists users by words of their names among this many users, on each engine, by an index",
        scale: 1_000_000,
        work: |scale| Box::pin(names::names(scale)),
    },
    Trial {
        name: "orders",
        about: "places this many orders over broken connections on each engine, each exactly once",
        scale: 5_000,
        work: |scale| Box::pin(orders::orders(scale)),
    },
    Trial {
        name: "patroni",
        about: "switches over, kills the primary and loses its node under Patroni, this many times",
        scale: 1,
        work: |scale| Box::pin(patroni::patroni(scale)),
    },
    Trial {
        name: "pgbouncer",
        about: "calls this many times through PgBouncer in session mode; the other modes are refused",
        scale: 20_000,
        work: |scale| Box::pin(pgbouncer::pgbouncer(scale)),
    },
    Trial {
        name: "placing",
        about: "places this many orders in one statement and statement by statement, and compares the cost",
        scale: 2_000,
        work: |scale| Box::pin(placing::placing(scale)),
    },
    Trial {
        name: "plans",
        about: "lists this many books and orders; every plan walks an index and sorts nothing",
        scale: 1_000_000,
        work: |scale| Box::pin(plans::plans(scale)),
    },
    Trial {
        name: "point_in_time",
        about: "undoes a wrong DELETE to the second before it from a base backup and archived WAL, this many times",
        scale: 5,
        work: |scale| Box::pin(point_in_time::point_in_time(scale)),
    },
    Trial {
        name: "repairs",
        about: "this many drifts on each engine mended by `migrate new`, and all compiled if it takes in every one",
        scale: 1_000,
        work: |scale| Box::pin(repairs::repairs(scale)),
    },
    Trial {
        name: "replicas",
        about: "writes this many books and reads them at lagging replicas; no read is stale",
        scale: 100_000,
        work: |scale| Box::pin(replicas::replicas(scale)),
    },
    Trial {
        name: "resume",
        about: "kills the client, server or database of imports, this many times on each engine",
        scale: 20,
        work: |scale| Box::pin(resume::resume(scale)),
    },
    Trial {
        name: "search",
        about: "searches this many books on each engine, and prints the cost",
        scale: 100_000,
        work: |scale| Box::pin(search::search(scale)),
    },
    Trial {
        name: "slow-log",
        about: "makes this many calls while the reader of standard error is stopped, slow and gone",
        scale: 50_000,
        work: |scale| Box::pin(slow_log::slow_log(scale)),
    },
    Trial {
        name: "soak",
        about: "mixed load with faults on each engine for this many seconds; what the service holds stays flat",
        scale: 1_800,
        work: |scale| Box::pin(soak::soak(scale)),
    },
    Trial {
        name: "stock",
        about: "lets 64 callers order and cancel, this many times on each engine; the stock adds up",
        scale: 20_000,
        work: |scale| Box::pin(stock::stock(scale)),
    },
    Trial {
        name: "stops",
        about: "sends SIGTERM under load, this many times; no answered call is lost, and it ends in time",
        scale: 20,
        work: |scale| Box::pin(stops::stops(scale)),
    },
    Trial {
        name: "telemetry",
        about: "compares GetBook's cost with and without telemetry, this many rounds on each engine",
        scale: 10,
        work: |scale| Box::pin(telemetry::telemetry(scale)),
    },
    Trial {
        name: "versions",
        about: "runs an older and a newer program under load across a revision, this many calls each way",
        scale: 20_000,
        work: |scale| Box::pin(versions::versions(scale)),
    },
];

/// Runs a trial at the suite's scale.
///
/// # Panics
/// If there is no such trial, or it fails.
pub async fn trial(name: &str, scale: u32) {
    let trial = TRIALS.iter().find(|trial| trial.name == name).expect("a trial of that name");
    (trial.work)(scale).await;
}

/// `trial` lists the trials and `trial NAME [SCALE]` runs one. The exit code is 2 for an unknown
/// name or a bad scale, and a panic's if the trial fails.
pub fn run_trial(arguments: &[String]) -> ExitCode {
    // A closed pipe doesn't stop a trial.
    let print = |line: String| drop(writeln!(std::io::stdout(), "{line}"));
    let Some(name) = arguments.first() else {
        print("trial NAME [SCALE], where NAME is one of".to_owned());
        for trial in TRIALS {
            print(format!("  {:<16} {} (scale {})", trial.name, trial.about, trial.scale));
        }
        return ExitCode::SUCCESS;
    };
    let Some(trial) = TRIALS.iter().find(|trial| trial.name == name) else {
        print(format!("no trial is called {name}; `trial` alone lists them"));
        return ExitCode::from(2);
    };
    let scale = arguments.get(1).map_or(Ok(trial.scale), |text| text.parse());
    let Ok(scale) = scale else {
        print("SCALE is a whole number".to_owned());
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime for the trial");
    runtime.block_on((trial.work)(scale));
    print(format!("{} passed at scale {scale}", trial.name));
    ExitCode::SUCCESS
}
