//! `bookstore explain`: what a list does for a filter and an order, and the indexes that it walks.

use std::{process::ExitCode, time::Duration};

use bookstore_query::{
    explain::{Detail, Plan, advice, explain, table_rows},
    filter::Filter,
    list::{ListDefinition, ListQuery, Total},
    order::OrderBy,
};
use bookstore_store::{Connection, Deadline, Freshness, Limit, Query, Schema, StoreError};
use clap::Args;

use super::{
    failure::{Failure, WRONG_COMMAND_LINE},
    print,
};
use crate::{app, config::Config, resource::RESOURCES};

/// The timeout for a connection to the database, the plan and, with `--analyze`, the list itself.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What to explain.
#[derive(Args)]
pub struct Arguments {
    /// The resource, in the plural: books, orders, users
    resource: String,
    /// The filter of the list, in the language of AIP-160; none for all rows
    #[arg(allow_hyphen_values = true, default_value = "")]
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
/// If the database does not answer.
pub async fn run(
    config: &Config,
    known: &[String],
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
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
    let deadline = Deadline::after(TIMEOUT);
    let is_ready =
        store.exists() && matches!(store.schema(known, deadline).await?, Schema::Right { .. });
    if !is_ready {
        return Err(
            "the database does not have the schema of this program: run bookstore migrate up"
                .into(),
        );
    }
    let read = store.read(Freshness::Strong, deadline, Limit::Statement, None, &query).await;
    store.close().await;
    let explained = read.result?;
    print::line(&explained.text(&query));
    Ok(ExitCode::SUCCESS)
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
    rows: Option<i64>,
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
        Ok(Explained { backend, statement: text, plan, rows })
    }
}

impl Explained {
    fn text(&self, ExplainList { list, page, .. }: &ExplainList) -> String {
        let advice = advice::advice(self.backend, &self.plan, &page.filter, &page.order, self.rows);
        let filter = match page.filter.is_empty() {
            true => "none".to_owned(),
            false => page.filter.to_string(),
        };
        let rows = self.rows.map(|rows| format!(" (about {rows} rows)")).unwrap_or_default();
        let advice = match advice.is_empty() {
            true => "none: an index bounds the read and gives the order".to_owned(),
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
