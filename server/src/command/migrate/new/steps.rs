//! The steps of a new revision: from what the entities have changed, or from the drift of a
//! database. Each is proven on both engines before it is shown.

use bookstore_entity::schema::{self, On};
use bookstore_migration::{
    catalog::Catalog,
    check::{self, Replay},
    generate::{Answers, Plan, Source, plan, prove, prove_repair, scratch_schema, source, steps},
    revision::{Engine, Revision},
    session::Opener,
    sql::dialect,
};

use super::Arguments;
use crate::{
    command::migrate::context::{Context, Problem},
    migrations::InMemory,
};

/// The source of the steps; none if there is nothing to do.
pub(super) async fn written(
    context: &Context<'_>,
    arguments: &Arguments,
    name: &str,
) -> Result<Option<Source>, Problem> {
    let mut answers = answers(arguments)?;
    answers.is_tolerant = arguments.from_drift;
    let revisions = context.chain.revisions();
    let opener = context.opener()?;
    let mut plans = Vec::new();
    let mut proofs = Vec::new();
    let mut questions = Vec::new();
    for engine in engines(arguments, opener.engine())? {
        let own: &dyn Opener = match engine {
            Engine::Postgres => &opener,
            Engine::Sqlite => &InMemory,
        };
        let (from, to) = match arguments.from_drift {
            true => (live(context).await?, scratch_schema(own, revisions, "").await?),
            false => {
                let wanted = dialect::resolve(&schema::create(on(engine)), engine);
                let from = scratch_schema(own, revisions, "").await?;
                (from, scratch_schema(own, &[], &wanted).await?)
            }
        };
        let Plan { pairs, questions: open } = plan(&from, &to, &answers);
        questions.extend(open);
        plans.push((engine, pairs));
        proofs.push((engine, from, to));
    }
    questions.dedup();
    if !questions.is_empty() {
        return Err(questions.join("\n").into());
    }
    if plans.iter().all(|(_, pairs)| pairs.is_empty()) {
        return Ok(None);
    }
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for (engine, pairs) in &plans {
        let (way_up, way_down) = steps(*engine, pairs);
        up.extend(way_up);
        down.extend(way_down);
    }
    let mut revision = Revision::new(name, &arguments.message);
    if let Some(head) = context.chain.head() {
        revision = revision.after(&head.name);
    }
    let revision = revision.up(up).down(down);
    for (engine, from, to) in &proofs {
        let own: &dyn Opener = match engine {
            Engine::Postgres => &opener,
            Engine::Sqlite => &InMemory,
        };
        let proven = match arguments.from_drift {
            true => prove_repair(own, revisions, &revision, from, to).await,
            false => prove(own, revisions, &revision, from, to).await,
        };
        proven.map_err(|error| format!("the revision was not written, {engine}: {error}"))?;
    }
    Ok(Some(source(&plans)))
}

fn on(engine: Engine) -> On {
    match engine {
        Engine::Postgres => On::Postgres,
        Engine::Sqlite => On::Sqlite,
    }
}

/// Drift is of one database; entities are for both engines, and PostgreSQL needs a server to be
/// tried on.
fn engines(arguments: &Arguments, own: Engine) -> Result<Vec<Engine>, Problem> {
    match (arguments.from_drift, own) {
        (true, own) => Ok(vec![own]),
        (false, Engine::Postgres) => Ok(vec![Engine::Postgres, Engine::Sqlite]),
        (false, Engine::Sqlite) => Err("a revision is tried on both engines before it is shown: \
                                        DATABASE_URL has to name a PostgreSQL database whose \
                                        owner may create a schema"
            .into()),
    }
}

/// The schema of the database as it is. A database that isn't at head has to be migrated first.
async fn live(context: &Context<'_>) -> Result<Catalog, Problem> {
    let opener = context.opener()?;
    let session = opener.open_for_inspection().await?;
    let scratch = opener.open_scratch_for(&session).await?;
    let report = check::check(&session, scratch.as_ref(), Replay::Allowed, &context.chain).await?;
    session.close().await;
    if report.findings.iter().any(|finding| finding.kind.starts_with("revision.")) {
        return Err("the database isn't at this program's head: migrate it first".into());
    }
    Ok(report.found)
}

fn answers(arguments: &Arguments) -> Result<Answers, Problem> {
    let mut answers = Answers::default();
    for rename in &arguments.rename {
        let told = || format!("--rename {rename}: expected TABLE.OLD:TABLE.NEW or OLD:NEW");
        let (old, new) = rename.split_once(':').ok_or_else(told)?;
        match (old.split_once('.'), new.split_once('.')) {
            (Some((table, old)), Some((_, new))) => {
                let column = (table.to_owned(), old.to_owned());
                answers.renames.columns.insert(column, new.to_owned());
            }
            (None, None) => {
                answers.renames.tables.insert(old.to_owned(), new.to_owned());
            }
            // `posts.body:` says that it is gone.
            (Some(_), None) if new.is_empty() => answers.not_renamed.push(old.to_owned()),
            _ => return Err(told().into()),
        }
    }
    for fill in &arguments.fill {
        let told = || format!("--fill {fill}: expected TABLE.COLUMN=EXPRESSION");
        let (column, value) = fill.split_once('=').ok_or_else(told)?;
        let (table, column) = column.split_once('.').ok_or_else(told)?;
        answers.fills.push((table.to_owned(), column.to_owned(), value.to_owned()));
    }
    Ok(answers)
}
