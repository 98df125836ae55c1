//! `migrate stamp` and `migrate repair`: the bookkeeping alone.

use bookstore_migration::{
    runner::{Event, Runner},
    target,
};
use clap::Args;
use serde_json::json;

use super::{
    context::{Context, Problem},
    line::line,
};

/// The arguments of `stamp`.
#[derive(Args)]
pub(super) struct StampArguments {
    /// Where the schema is: head, base, a revision or the beginning of its name.
    #[arg(allow_hyphen_values = true)]
    target: String,
    /// Forgets revisions of other programs, too.
    #[arg(long)]
    purge: bool,
}

/// The arguments of `repair`.
#[derive(Args)]
pub(super) struct RepairArguments {
    /// The revision, or the beginning of its name.
    revision: String,
    /// Why both do the same; `history -v` shows it.
    #[arg(long, value_parser = line)]
    reason: String,
}

pub(super) async fn stamp(
    context: &Context<'_>,
    arguments: &StampArguments,
) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    target::check(chain, &arguments.target)?;
    let opener = context.opener()?;
    let mut report = |event: Event| output.event(&event);
    let mut runner = Runner::start(&opener, chain, context.options, &mut report).await?;
    let done = async {
        // With a gap in the bookkeeping there is no place to count from.
        let place = runner.place().unwrap_or_default();
        let to = target::resolve(chain, &arguments.target, place)?;
        Ok::<_, Problem>(runner.stamp(to, arguments.purge).await?)
    };
    let done = done.await;
    runner.finish().await;
    let (added, removed) = done?;
    for name in &added {
        output.line(&format!("stamped {name}"));
    }
    for name in &removed {
        output.line(&format!("forgot {name}"));
    }
    if added.is_empty() && removed.is_empty() {
        output.line("nothing to change");
    }
    output.json(&json!({"stamped": added, "forgot": removed}));
    Ok(())
}

pub(super) async fn repair(
    context: &Context<'_>,
    arguments: &RepairArguments,
) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let name = target::find(chain, &arguments.revision)?;
    let opener = context.opener()?;
    let mut report = |event: Event| output.event(&event);
    let mut runner = Runner::start(&opener, chain, context.options, &mut report).await?;
    let done = runner.repair(&name, &arguments.reason).await;
    runner.finish().await;
    let changed = done?;
    output.line(&match changed {
        true => format!("accepted {name}"),
        false => format!("{name} is as it was applied: nothing to repair"),
    });
    output.json(&json!({"revision": name, "repaired": changed}));
    Ok(())
}
