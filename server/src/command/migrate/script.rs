//! `migrate sql` and `migrate roles`.

use bookstore_migration::{
    offline, revision::Engine, roles as database_roles, session::Opener as _, target,
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    context::{Context, Problem},
    output::Output,
};
use crate::migrations::InMemory;

/// The arguments of `sql`.
#[derive(Args)]
pub(super) struct Arguments {
    /// FROM:TO, as in base:head, m20261121_000004:head or, backwards, head:-1.
    #[arg(default_value = "base:head", allow_hyphen_values = true)]
    range: String,
    /// For which engine; that of the database URL otherwise.
    #[arg(long)]
    engine: Option<Dialect>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dialect {
    Postgres,
    Sqlite,
}

pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> Result<(), Problem> {
    let engine = match arguments.engine {
        Some(Dialect::Postgres) => Engine::Postgres,
        Some(Dialect::Sqlite) => Engine::Sqlite,
        None => context.opener()?.engine(),
    };
    let (from, to) = target::range(&context.chain, &arguments.range)?;
    let script = offline::script(&InMemory, &context.chain, engine, from, to).await?;
    context.output.line(&script);
    context.output.json(&json!({"engine": engine.name(), "sql": script}));
    Ok(())
}

/// Prints the roles and grants. Asks no database.
pub(super) fn roles(output: Output) {
    let script = database_roles::script();
    output.line(&script);
    output.json(&json!({"engine": Engine::Postgres.name(), "sql": script}));
}
