//! The verbs that change nothing: `current`, `history`, `show`, `status`.

use bookstore_migration::{
    bookkeeping::{self, Applied, BookkeepingState},
    clock, listing,
    revision::{Engine, Revision},
    session::Opener as _,
    target,
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    context::{Context, Problem},
    output::or_dash,
};

/// The arguments of `history`.
#[derive(Args)]
pub(super) struct HistoryArguments {
    /// With author, time and program.
    #[arg(short, long)]
    verbose: bool,
}

/// The arguments of `show`.
#[derive(Args)]
pub(super) struct ShowArguments {
    /// The revision, or the beginning of its name.
    #[arg(default_value = "head")]
    revision: String,
}

/// What the database says of its revisions. One that isn't there has none.
pub(super) async fn state(context: &Context<'_>) -> Result<BookkeepingState, Problem> {
    let opener = context.opener()?;
    if !opener.0.exists() {
        return Ok(BookkeepingState::default());
    }
    let session = opener.open().await?;
    let state = bookkeeping::read(&session).await;
    session.close().await;
    Ok(state?)
}

/// Says that the database is ahead.
pub(super) fn newer(unknown: &[String]) -> String {
    format!(
        "the database has revisions of a newer program, which this one goes on with: {}",
        unknown.join(" ")
    )
}

/// A revision as a line of `status`.
struct StatusRow {
    state: String,
    name: String,
    applied: Option<Applied>,
    message: String,
}

/// Every revision with its state, the oldest first; those of a newer program last.
fn lines(context: &Context<'_>, state: &BookkeepingState, engine: Engine) -> Vec<StatusRow> {
    let known = context.chain.revisions().iter().map(|revision| {
        let applied = state.get(&revision.name).cloned();
        let hash = applied.as_ref().and_then(|one| one.details.as_ref()).map(|one| &one.hash);
        let shown = match (&applied, state.half_of(&revision.name)) {
            (Some(_), _) if hash.is_some_and(|hash| *hash != revision.hash(engine)) => {
                "changed".to_owned()
            }
            (Some(_), _) => "applied".to_owned(),
            (None, Some(steps)) => {
                let done = steps.iter().filter(|step| step.is_done).count();
                let all = revision.steps(engine, bookstore_migration::revision::Direction::Up);
                format!("half ({done} of {} steps)", all.len())
            }
            (None, None) => "pending".to_owned(),
        };
        let (name, message) = (revision.name.clone(), revision.message.clone());
        StatusRow { state: shown, name, applied, message }
    });
    let unknown = state.unknown(&context.chain).into_iter().map(|applied| StatusRow {
        state: "unknown".to_owned(),
        name: applied.name.clone(),
        message: applied.details.as_ref().map_or_else(String::new, |one| one.message.clone()),
        applied: Some(applied.clone()),
    });
    known.chain(unknown).collect()
}

pub(super) async fn status(context: &Context<'_>) -> Result<(), Problem> {
    let state = state(context).await?;
    let engine = context.opener()?.engine();
    let lines = lines(context, &state, engine);
    let time = |line: &StatusRow| line.applied.as_ref().map(|one| clock::text(one.applied_at));
    let row = |line: &StatusRow| {
        let time = or_dash(time(line).as_deref());
        vec![line.state.clone(), line.name.clone(), time, line.message.clone()]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    context.output.table(&["STATE", "REVISION", "APPLIED", "MESSAGE"], &rows);
    let document = |line: &StatusRow| {
        let state = line.state.split(' ').next();
        json!({"revision": line.name, "state": state, "applied_at": time(line), "message": line.message})
    };
    let revisions: Vec<Value> = lines.iter().map(document).collect();
    context.output.json(&json!({"revisions": revisions}));
    Ok(())
}

pub(super) async fn current(context: &Context<'_>) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let state = state(context).await?;
    let place = state.place(chain)?;
    let unknown: Vec<String> = state.unknown(chain).iter().map(|one| one.name.clone()).collect();
    let known = place.checked_sub(1).map(|at| chain.revisions()[at].name.clone());
    let is_head = place == chain.revisions().len();
    let half = chain.revisions().get(place).filter(|next| state.half_of(&next.name).is_some());
    match (&known, unknown.last()) {
        (_, Some(newest)) => {
            output.line(&format!("{newest} (unknown to this program)"));
            output.note(&newer(&unknown));
        }
        (None, None) => output.line("base"),
        (Some(known), None) if is_head => output.line(&format!("{known} (head)")),
        (Some(known), None) => output.line(known),
    }
    if let Some(half) = half {
        output.note(&format!("{} is half applied: `up` goes on, `down -1` undoes it", half.name));
    }
    output.json(&json!({
        "current": known,
        "is_head": is_head,
        "half": half.map(|half| &half.name),
        "unknown": unknown,
    }));
    Ok(())
}

pub(super) async fn history(
    context: &Context<'_>,
    arguments: &HistoryArguments,
) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    // The revisions are the program's; only times and programs are the database's.
    let state = match state(context).await {
        Ok(state) => state,
        Err(problem) => {
            output.note(&format!("what is applied isn't known: {}", problem.text()));
            BookkeepingState::default()
        }
    };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    let mut add = |name: &str, own: Option<&Revision>| {
        let applied = state.get(name);
        let details = applied.and_then(|applied| applied.details.as_ref());
        let parent =
            own.map_or(details.and_then(|one| one.parent.as_deref()), |one| one.parent.as_deref());
        let message = own.map_or(details.map_or("", |one| &one.message), |one| &one.message);
        let author =
            own.map_or(details.and_then(|one| one.author.as_deref()), |one| one.author.as_deref());
        let time = applied.map(|applied| clock::text(applied.applied_at));
        let program = details.and_then(|details| details.program.as_deref());
        let note = details.and_then(|details| details.note.as_deref());
        let parent_text = parent.unwrap_or("base").to_owned();
        let mut row = vec![name.to_owned(), parent_text];
        if arguments.verbose {
            let cells = [time.as_deref(), program, author, note];
            row.extend(cells.into_iter().map(or_dash));
        }
        row.push(message.to_owned());
        rows.push(row);
        documents.push(json!({
            "revision": name, "parent": parent, "message": message, "author": author,
            "applied_at": time, "program": program, "note": note, "known": own.is_some(),
        }));
    };
    for unknown in state.unknown(chain).into_iter().rev() {
        add(&unknown.name, None);
    }
    for revision in chain.revisions().iter().rev() {
        add(&revision.name, Some(revision));
    }
    let head: &[&str] = match arguments.verbose {
        true => &["REVISION", "PARENT", "APPLIED", "BY", "AUTHOR", "NOTE", "MESSAGE"],
        false => &["REVISION", "PARENT", "MESSAGE"],
    };
    output.table(head, &rows);
    output.json(&json!({"revisions": documents}));
    Ok(())
}

pub(super) async fn show(context: &Context<'_>, arguments: &ShowArguments) -> Result<(), Problem> {
    let Context { chain, output, .. } = context;
    let opener = context.opener()?;
    let engine = opener.engine();
    let (state, session) = match opener.0.exists().then_some(opener.open().await) {
        Some(Ok(session)) => (bookkeeping::read(&session).await?, Some(session)),
        Some(Err(error)) => {
            output.note(&format!("what is applied isn't known: {error}"));
            (BookkeepingState::default(), None)
        }
        None => (BookkeepingState::default(), None),
    };
    let mut names = chain.names();
    names.extend(state.unknown(chain).iter().map(|unknown| unknown.name.clone()));
    let place = state.place(chain).unwrap_or_default();
    let name = match arguments.revision.as_str() {
        "head" => chain.head().map(|head| head.name.clone()).unwrap_or_default(),
        "current" => place.checked_sub(1).map(|at| names[at].clone()).unwrap_or_default(),
        given => target::find_among(names, given)?,
    };
    let recorded = match &session {
        Some(session) => bookkeeping::recorded_sql(session, &name).await?,
        None => None,
    };
    if let Some(session) = session {
        session.close().await;
    }
    let own = chain.get(&name);
    let applied = state.get(&name);
    let details = applied.and_then(|applied| applied.details.as_ref());
    let text = own.map(|revision| listing::text(revision, engine));
    let hash = own.map(|revision| revision.hash(engine));
    let parent = own.map_or(details.and_then(|one| one.parent.clone()), |one| one.parent.clone());
    let message =
        own.map_or(details.map(|one| one.message.clone()), |one| Some(one.message.clone()));
    let author = own.map_or(details.and_then(|one| one.author.clone()), |one| one.author.clone());
    let time = applied.map(|applied| clock::text(applied.applied_at));
    let rows = [
        ("revision", Some(name.clone())),
        ("parent", parent.clone()),
        ("message", message.clone()),
        ("author", author.clone()),
        ("shuts out below", own.and_then(|one| one.minimum_head.clone())),
        ("hash", hash.clone()),
        ("applied", time.clone()),
        ("by", details.and_then(|one| one.program.clone())),
        ("note", details.and_then(|one| one.note.clone())),
        (
            "recorded hash",
            details.map(|one| one.hash.clone()).filter(|one| Some(one) != hash.as_ref()),
        ),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            output.line(&format!("{:<16} {value}", format!("{name}:")));
        }
    }
    match (&text, &recorded) {
        (Some(text), Some(recorded)) if text != recorded => {
            output.line(&format!("\n-- this program\n{text}\n-- as it was applied\n{recorded}"));
        }
        (Some(text), _) | (None, Some(text)) => output.line(&format!("\n{text}")),
        (None, None) => output.line("\n-- its SQL isn't recorded"),
    }
    output.json(&json!({
        "revision": name, "parent": parent, "message": message, "author": author, "hash": hash,
        "recorded_hash": details.map(|one| &one.hash), "applied_at": time, "sql": text,
        "recorded_sql": recorded, "known": own.is_some(),
    }));
    Ok(())
}
