//! `migrate down`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use bookstore_migration::{
    chain::Chain,
    error::MigrationError,
    runner::{DownPlan, Event, Runner},
    target::{self, ChainPosition, TargetError},
};
use clap::Args;
use serde_json::json;

use super::context::{Context, Problem};

/// The arguments of `down`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where to go: base, -N, a revision, which stays, or the beginning of its name. Without it the
    /// last revision is reverted, if one is applied.
    #[arg(allow_hyphen_values = true)]
    target: Option<String>,
    /// Doesn't ask.
    #[arg(long)]
    yes: bool,
    /// Drops tables and columns that hold rows, too.
    #[arg(long)]
    allow_data_loss: bool,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let opener = context.opener()?;
    if !opener.0.exists() {
        // A wrong target is wrong here, too.
        resolved(&context.chain, arguments.target.as_deref(), 0, false)?;
        output.line("nothing to revert");
        output.json(&json!({"reverted": []}));
        return Ok(());
    }
    let mut report = |event: Event| output.event(&event);
    let mut runner = Runner::start(&opener, chain, context.options, &mut report).await?;
    let done = down(context, arguments, &mut runner).await;
    runner.finish().await;
    let reverted = done?;
    if reverted.is_empty() {
        output.line("nothing to revert");
    }
    output.json(&json!({"reverted": reverted}));
    Ok(())
}

async fn down(
    context: &Context<'_>,
    arguments: &Arguments,
    runner: &mut Runner<'_>,
) -> Result<Vec<String>, Problem> {
    let place = runner.place()?;
    let next = context.chain.revisions().get(place);
    let half = next.is_some_and(|next| runner.state().half_of(&next.name).is_some());
    let to = resolved(&context.chain, arguments.target.as_deref(), place, half)?;
    let plan = runner.plan_down(to).await?;
    if plan.revisions.is_empty() {
        return Ok(Vec::new());
    }
    if !plan.losses.is_empty() && !arguments.allow_data_loss {
        tell(context, &plan);
        return Err(MigrationError::DataLoss { what: plan.losses.join(", ") }.into());
    }
    if !arguments.yes {
        tell(context, &plan);
        confirm()?;
    }
    Ok(runner.down(to, arguments.allow_data_loss).await?)
}

/// The position that a target names, which is not after `place`. The half of a revision after
/// `place` counts as one.
fn resolved(
    chain: &Chain,
    target: Option<&str>,
    place: ChainPosition,
    half: bool,
) -> Result<ChainPosition, MigrationError> {
    let from = place + usize::from(half);
    let Some(target) = target else { return Ok(from.saturating_sub(1)) };
    // A number of revisions, as `down 2` was before.
    let sign = if target.parse::<u16>().is_ok() && !target.starts_with('+') { "-" } else { "" };
    let wrong_way = || TargetError::WrongWay {
        target: target.to_owned(),
        way: "down",
        current: target::name_of(chain, place),
    };
    match target::resolve(chain, &format!("{sign}{target}"), from) {
        Ok(to) if to > from || to > place && !half => Err(wrong_way().into()),
        Err(TargetError::TooFar { end: "head", .. }) => Err(wrong_way().into()),
        other => Ok(other?),
    }
}

fn tell(context: &Context<'_>, plan: &DownPlan) {
    context.output.note("This reverts, in this order:");
    for revision in &plan.revisions {
        let message = context.chain.get(revision).map_or("", |known| known.message.as_str());
        context.output.note(&format!("  {revision}  {message}"));
    }
    if !plan.losses.is_empty() {
        context.output.note("and loses:");
        for loss in &plan.losses {
            context.output.note(&format!("  {loss}"));
        }
    }
}

/// Asks at the terminal. Without one, `--yes` is the only way.
fn confirm() -> Result<(), Problem> {
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        return Err(MigrationError::NotConfirmed.into());
    }
    let mut question = std::io::stderr().lock();
    write!(question, "Go on? [y/N] ")?;
    question.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(MigrationError::NotConfirmed.into()),
    }
}
