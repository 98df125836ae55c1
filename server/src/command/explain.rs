//! `bookstore explain`: what a list does for a filter and an order, and the indexes that it walks.

use std::{process::ExitCode, time::Duration};

use bookstore_query::{
    explain::{
        Detail, Plan, TableIndex, TableRows,
        advice::{Facts, advice, all_is_well},
        explain, table_indexes, table_rows,
    },
    filter::Filter,
    list::{ListDefinition, ListQuery, Total},
    order::OrderBy,
};
use bookstore_store::{Connection, Deadline, Freshness, Limit, Query, Schema, Store, StoreError};
use clap::Args;

use super::{
    failure::{Failure, WRONG_COMMAND_LINE},
    print,
};
use crate::{app, config::Config, resource::RESOURCES, shutdown::Signals};

/// The timeout for a connection to the database, the plan and, with `--analyze`, the list itself.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the command waits until the database has ended a cancelled statement.
const CANCELLATION: Duration = Duration::from_secs(2);

/// The pause between two checks whether it has.
const CANCELLATION_PERIOD: Duration = Duration::from_millis(10);

/// What to explain.
#[derive(Args)]
pub struct Arguments {
    /// The resource, in the plural: books, orders, users
    resource: String,
    /// The filter of the list (AIP-160), behind -- if it begins with -; none for all rows
    #[arg(default_value = "")]
    filter: String,
    /// The order of the list: `price desc, stock`
    #[arg(long, value_name = "FIELDS", default_value = "")]
    order_by: String,
    /// The most rows of the page
    #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    page_size: u16,
    /// The number of rows to skip
    #[arg(long, value_name = "ROWS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    skip: u64,
    /// Runs the list too, and shows rows and times. PostgreSQL only
    #[arg(long)]
    analyze: bool,
}

/// Prints the statement of the list, its plan, and advice if it sorts or scans.
///
/// # Errors
/// If the database does not answer. On Ctrl-C and SIGTERM the statement is cancelled.
pub async fn run(
    config: &Config,
    known: &[String],
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    // From here on a signal ends the statement first.
    let mut signals = Signals::install()?;
    let query = match arguments.list() {
        Ok(list) => list,
        Err(problems) => {
            problems.iter().for_each(|problem| print::error(&format!("error: {problem}")));
            return Ok(ExitCode::from(WRONG_COMMAND_LINE));
        }
    };
    let store = app::open_store(&config.database)?;
    let is_sqlite = store.sqlite_file().is_some();
    if arguments.analyze && is_sqlite {
        let problem =
            "error: --analyze: SQLite plans a statement but does not measure it; leave it out";
        print::error(problem);
        return Ok(ExitCode::from(WRONG_COMMAND_LINE));
    }
    let explained = tokio::select! {
        explained = read(&store, known, &query) => explained,
        signal = signals.wait() => {
            cancelled(&store).await;
            print::last_words("interrupted: the statement was cancelled".to_owned());
            return Ok(ExitCode::from(signal.exit_code()));
        }
    };
    store.close().await;
    print::line(&explained?.text(&query));
    Ok(ExitCode::SUCCESS)
}

async fn read(store: &Store, known: &[String], query: &ExplainList) -> Result<Explained, Failure> {
    let deadline = Deadline::after(TIMEOUT);
    let schema = match store.exists() {
        true => Some(store.schema(known, deadline).await.map_err(|error| cause(&error))?),
        false => None,
    };
    if !matches!(schema, Some(Schema::Right { .. })) {
        return Err(
            "the database does not have the schema of this program: run bookstore migrate up"
                .into(),
        );
    }
    let read = store.read(Freshness::Strong, deadline, Limit::Statement, None, query).await;
    read.result.map_err(|error| cause(&error).into())
}

/// Why the database did not answer, for the operator who calls the command.
fn cause(error: &StoreError) -> String {
    match error {
        StoreError::Unsuitable(sentence) => sentence.clone(),
        StoreError::Internal(source) => format!("the database: {source}"),
        error => format!("the database: {}", error.report()),
    }
}

/// Waits until the database has ended the statement of a dropped read, which the pool cancels.
async fn cancelled(store: &Store) {
    let ended = async {
        while store.pools().iter().any(|pool| pool.used > 0) {
            tokio::time::sleep(CANCELLATION_PERIOD).await;
        }
    };
    // The session ends with this process, also if the statement has not ended.
    let _ = tokio::time::timeout(CANCELLATION, ended).await;
}

impl Arguments {
    /// The list that is to be explained, or what is wrong with the command line.
    fn list(&self) -> Result<ExplainList, Vec<String>> {
        let lists = || RESOURCES.iter().filter_map(|resource| resource.list.as_ref());
        let Some(list) = lists().find(|list| list.fields.table == self.resource) else {
            let mut known: Vec<_> = lists().map(|list| list.fields.table).collect();
            known.sort_unstable();
            known.dedup();
            let known = known.join(", ");
            return Err(vec![format!(
                "RESOURCE: {:?} has no list; those that have one: {known}",
                self.resource
            )]);
        };
        let filter = Filter::parse(&self.filter, &list.fields);
        let order = OrderBy::parse(&self.order_by, &list.fields);
        let (filter, order) = match (filter, order) {
            (Ok(filter), Ok(order)) => (filter, order),
            (filter, order) => {
                let problem = |name, error: Option<_>| error.map(|it| format!("{name}: {it}"));
                let problems =
                    [problem("FILTER", filter.err()), problem("--order-by", order.err())];
                return Err(problems.into_iter().flatten().collect());
            }
        };
        let detail = if self.analyze { Detail::Measured } else { Detail::Planned };
        let page = ListQuery {
            name: "explain",
            filter,
            order,
            after: Vec::new(),
            skip: self.skip,
            limit: self.page_size.into(),
            columns: Default::default(),
            total: Total::None,
            sealing_key: [0; 32],
        };
        Ok(ExplainList { list: *list, page, detail })
    }
}

/// Explains a page of a list.
struct ExplainList {
    list: ListDefinition,
    page: ListQuery,
    detail: Detail,
}

/// What the database answers.
struct Explained {
    backend: sea_orm::DbBackend,
    statement: String,
    plan: Plan,
    rows: TableRows,
    indexes: Vec<TableIndex>,
}

impl Query for ExplainList {
    const NAME: &'static str = "ExplainList";
    type Output = Explained;

    async fn fetch(&self, connection: &Connection) -> Result<Explained, StoreError> {
        let backend = sea_orm::ConnectionTrait::get_database_backend(connection);
        let statement = self.list.statement(backend, &self.page);
        let text = statement.sql.clone();
        let plan = explain(connection, statement, self.detail).await?;
        let rows = table_rows(connection, self.list.fields.table).await?;
        let indexes = table_indexes(connection, self.list.fields.table).await?;
        Ok(Explained { backend, statement: text, plan, rows, indexes })
    }
}

impl Explained {
    fn text(&self, ExplainList { list, page, .. }: &ExplainList) -> String {
        let Explained { backend, plan, rows, indexes, .. } = self;
        let facts = Facts { backend: *backend, plan, rows: *rows, indexes };
        let advice = advice(&facts, &page.filter, &page.order);
        let filter = match page.filter.is_empty() {
            true => "none".to_owned(),
            false => page.filter.to_string(),
        };
        let rows = match rows {
            TableRows::Unknown => String::new(),
            TableRows::NeverAnalyzed => " (never analyzed)".to_owned(),
            TableRows::About(rows) => format!(" (about {rows} rows)"),
        };
        let advice = match advice.is_empty() {
            true => all_is_well(plan, &page.filter),
            false => advice.join("\n  "),
        };
        format!(
            "list: {}{rows}\nfilter: {filter}\norder: {}\nstatement:\n  {}\nplan:\n  {}\nindexes: \
             {}\nadvice:\n  {advice}",
            list.fields.table,
            page.order,
            self.statement,
            self.plan.lines.join("\n  "),
            self.plan.indexes(),
        )
    }
}
