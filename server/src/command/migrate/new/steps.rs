//! The steps of a new revision: from what the entities have changed, or from the drift of a
//! database. Each is proven on both engines before it is shown.

use std::collections::BTreeSet;

use bookstore_entity::schema;
use bookstore_migration::{
    catalog::{Catalog, ObjectKey},
    check::{self, ReplayPolicy},
    drift::{Renames, Severity, compare},
    generate::{
        Answers, RevisionPlan, RevisionSource, keep, plan, prove, prove_repair, scratch_schema,
        source, steps, undeclared_indexes,
    },
    revision::{Engine, Revision},
    session::Opener,
    sql::dialect,
};

use super::Arguments;
use crate::{
    command::migrate::context::{Context, Problem},
    migrations::{InMemory, StoreOpener},
};

/// The source of the steps; none if there is nothing to do.
pub(super) async fn written(
    context: &Context<'_>,
    arguments: &Arguments,
    name: &str,
) -> Result<Option<RevisionSource>, Problem> {
    let mut answers = answers(arguments)?;
    answers.is_tolerant = arguments.from_drift;
    let revisions = context.chain.revisions();
    let opener = context.opener()?;
    let mut plans = Vec::new();
    let mut proofs = Vec::new();
    let mut questions = Vec::new();
    let mut undeclared = BTreeSet::new();
    for engine in engines(arguments, opener.engine())? {
        let own: &dyn Opener = match engine {
            Engine::Postgres => &opener,
            Engine::Sqlite => &InMemory,
        };
        let (from, mut to) = match arguments.from_drift {
            true => (live(context, &opener).await?, scratch_schema(own, revisions, "").await?),
            false => {
                let wanted = dialect::resolve(&schema::create(engine.into()), engine);
                let from = scratch_schema(own, revisions, "").await?;
                (from, scratch_schema(own, &[], &wanted).await?)
            }
        };
        if !arguments.from_drift {
            keep_undeclared(arguments, &from, &mut to, &answers, &mut undeclared);
        }
        let RevisionPlan { pairs, questions: open } = plan(&from, &to, &answers);
        questions.extend(open);
        plans.push((engine, pairs));
        proofs.push((engine, from, to));
    }
    if let Some(unknown) = unknown(&answers, &proofs) {
        return Err(unknown.into());
    }
    if let Some(statement) = rename_by_hand(&answers, &proofs) {
        return Err(format!(
            "SQLite has no conditional rename, so no revision can rename it back: run {statement} \
             by hand"
        )
        .into());
    }
    if let Some(unknown) = arguments.drop.iter().find(|name| !undeclared.contains(*name)) {
        let message = "the revisions make no index of that name, or an entity declares it";
        return Err(format!("--drop {unknown}: {message}").into());
    }
    for name in undeclared.iter().filter(|name| !is_dropped(arguments, name)) {
        context.output.note(&format!(
            "index {name} is made by a revision and no entity declares it, so it stays: \
             --drop {name} drops it"
        ));
    }
    // Both engines ask most of them.
    let mut asked = BTreeSet::new();
    questions.retain(|question| asked.insert(question.clone()));
    if !questions.is_empty() {
        return Err(questions.join("\n").into());
    }
    if plans.iter().all(|(_, pairs)| pairs.is_empty()) {
        return match left(&proofs) {
            Some(left) => Err(format!("no step can make or mend this: {left}").into()),
            None => Ok(None),
        };
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

/// Keeps the indexes that no entity declares, but for those that are to be dropped; adds the names
/// of both to `undeclared`.
fn keep_undeclared(
    arguments: &Arguments,
    from: &Catalog,
    to: &mut Catalog,
    answers: &Answers,
    undeclared: &mut BTreeSet<String>,
) {
    let indexes = undeclared_indexes(from, to, &answers.renames);
    let kept: Vec<&ObjectKey> =
        indexes.iter().filter(|index| !is_dropped(arguments, &index.name)).collect();
    keep(from, to, &kept);
    undeclared.extend(indexes.into_iter().map(|index| index.name));
}

fn is_dropped(arguments: &Arguments, index: &str) -> bool {
    arguments.yes || arguments.drop.iter().any(|name| name == index)
}

/// The differences for which no step was found.
fn left(schemas: &[(Engine, Catalog, Catalog)]) -> Option<String> {
    let findings = schemas.iter().flat_map(|(_, from, to)| compare(to, from).findings());
    let errors = findings.filter(|finding| finding.level == Severity::Error);
    let lines: Vec<String> = errors.map(|finding| finding.to_line()).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// The statement for the first rename that no step can make.
fn rename_by_hand(answers: &Answers, schemas: &[(Engine, Catalog, Catalog)]) -> Option<String> {
    let Renames { tables, columns, .. } = &answers.renames;
    let columns = columns.iter().map(|((table, old), new)| {
        let table = answers.renames.new_table(table);
        (format!("{table}.{old}"), format!("{table}.{new}"))
    });
    let tables = tables.iter().map(|(old, new)| (old.clone(), new.clone()));
    let mut renames = tables.chain(columns);
    let (engine, _, _) = schemas.first()?;
    renames.find_map(|(old, new)| answers.rename_by_hand(*engine, &old, &new))
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
async fn live(context: &Context<'_>, opener: &StoreOpener) -> Result<Catalog, Problem> {
    let session = opener.open_for_inspection().await?;
    let report = async {
        let scratch = opener.open_scratch_for(&session).await?;
        let policy = ReplayPolicy::Allowed;
        Ok::<_, Problem>(check::check(&session, scratch.as_ref(), policy, &context.chain).await?)
    };
    let report = report.await;
    session.close().await;
    let report = report?;
    if report.findings.iter().any(|finding| finding.kind.starts_with("revision.")) {
        return Err("the database isn't at this program's head: migrate it first".into());
    }
    Ok(report.found)
}

/// An error if an answer names a table or column that doesn't exist. Without it, a mistyped rename
/// would have no effect and no message.
fn unknown(answers: &Answers, schemas: &[(Engine, Catalog, Catalog)]) -> Option<String> {
    let was = |key: &ObjectKey| schemas.iter().any(|(_, from, _)| from.objects.contains_key(key));
    let is = |key: &ObjectKey| schemas.iter().any(|(_, _, to)| to.objects.contains_key(key));
    let column = |table: &str, name: &str| ObjectKey::new("column", table, name);
    for (old, new) in &answers.renames.tables {
        let (before, after) = (ObjectKey::new("table", "", old), ObjectKey::new("table", "", new));
        if !was(&before) {
            return Some(format!("--rename {old}:{new}: there is no table {old}"));
        }
        if !is(&after) {
            return Some(format!("--rename {old}:{new}: there is to be no table {new}"));
        }
    }
    for ((table, old), new) in &answers.renames.columns {
        let message = format!("--rename {table}.{old}:{table}.{new}");
        let new_table = answers.renames.new_table(table);
        if !was(&column(table, old)) {
            return Some(format!("{message}: there is no column {table}.{old}"));
        }
        if !is(&column(&new_table, new)) {
            return Some(format!("{message}: there is to be no column {new_table}.{new}"));
        }
    }
    for name in &answers.not_renamed {
        let (kind, key) = match name.split_once('.') {
            Some((table, old)) => ("column", column(table, old)),
            None => ("table", ObjectKey::new("table", "", name)),
        };
        if !was(&key) {
            return Some(format!("--rename {name}: there is no {kind} {name}"));
        }
    }
    for (table, name, _) in &answers.fills {
        if !is(&column(table, name)) {
            return Some(format!("--fill {table}.{name}: there is to be no column {table}.{name}"));
        }
    }
    None
}

fn answers(arguments: &Arguments) -> Result<Answers, Problem> {
    let mut answers = Answers::default();
    for rename in &arguments.rename {
        let message = || format!("--rename {rename}: expected TABLE.OLD:TABLE.NEW or OLD:NEW");
        let (old, new) = rename.split_once(':').ok_or_else(message)?;
        match (old.split_once('.'), new.split_once('.')) {
            (Some((table, old)), Some((other, new))) => {
                let tables = arguments.rename.iter().any(|one| *one == format!("{table}:{other}"));
                if table != other && !tables {
                    return Err(format!(
                        "--rename {rename}: a column stays in its table, and {other} isn't {table}"
                    )
                    .into());
                }
                let column = (table.to_owned(), old.to_owned());
                answers.renames.columns.insert(column, new.to_owned());
            }
            // `posts:` says that it is gone.
            (None, None) if new.is_empty() => answers.not_renamed.push(old.to_owned()),
            (None, None) => {
                answers.renames.tables.insert(old.to_owned(), new.to_owned());
            }
            // `posts.body:` says that it is gone.
            (Some(_), None) if new.is_empty() => answers.not_renamed.push(old.to_owned()),
            _ => return Err(message().into()),
        }
    }
    for fill in &arguments.fill {
        let message = || format!("--fill {fill}: expected TABLE.COLUMN=EXPRESSION");
        let (column, value) = fill.split_once('=').ok_or_else(message)?;
        let (table, column) = column.split_once('.').ok_or_else(message)?;
        answers.fills.push((table.to_owned(), column.to_owned(), value.to_owned()));
    }
    Ok(answers)
}
