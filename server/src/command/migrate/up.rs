//! `migrate up`.

use bookstore_migration::{
    bookkeeping, listing,
    revision::{Engine, Revision},
    runner::{Event, Runner},
    session::Opener as _,
    target,
};
use clap::Args;
use serde_json::json;

use super::{
    context::{Context, Problem},
    read,
};

/// The arguments of `up`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where to go: head, +N, a revision or the beginning of its name.
    #[arg(default_value = "head")]
    target: String,
    /// Prints what would be run, and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let opener = context.opener()?;
    if arguments.dry_run {
        return dry_run(context, &arguments.target).await;
    }
    // A target that there isn't is no reason to make a file or to wait for a lock.
    target::check(chain, &arguments.target)?;
    let mut report = |event: Event| output.event(&event);
    let mut runner = Runner::start(&opener, chain, context.options, &mut report).await?;
    let done = async {
        let to = target::resolve(chain, &arguments.target, runner.place()?)?;
        Ok::<_, Problem>(runner.up(to).await?)
    };
    let done = done.await;
    let unknown: Vec<String> =
        runner.state().unknown(chain).iter().map(|one| one.name.clone()).collect();
    runner.finish().await;
    let applied = done?;
    if !unknown.is_empty() {
        output.note(&read::newer(&unknown));
    }
    if applied.is_empty() {
        output.line("nothing to apply");
    }
    output.json(&json!({"applied": applied, "unknown": unknown}));
    Ok(())
}

async fn dry_run(context: &Context<'_>, target: &str) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let opener = context.opener()?;
    let engine: Engine = opener.engine();
    let state = read::state(context).await?;
    state.check_minimum_head(chain)?;
    state.check_hashes(chain, engine)?;
    let place = state.place(chain)?;
    let to = target::resolve(chain, target, place)?;
    let pending: Vec<&Revision> = chain.revisions().iter().take(to).skip(place).collect();
    for revision in &pending {
        output.line(&format!("-- {}: {}", revision.name, revision.message));
        if let Some(half) = state.half_of(&revision.name) {
            let done = half.iter().filter(|step| step.is_done).count();
            output.line(&format!("-- {done} steps of it are done already"));
        }
        let text = listing::text(revision, engine);
        output.line(text.split("-- down\n").next().unwrap_or_default());
    }
    if pending.is_empty() {
        output.line("nothing to apply");
    }
    let pending: Vec<_> = pending
        .iter()
        .map(|revision| {
            json!({
                "revision": revision.name,
                "message": revision.message,
                "in_one_transaction": revision.is_transactional(engine),
                "sql": listing::text(revision, engine),
            })
        })
        .collect();
    output.json(&json!({"would_apply": pending, "program": bookkeeping::PROGRAM}));
    Ok(())
}
