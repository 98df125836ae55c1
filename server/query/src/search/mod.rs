//! Full-text search: the rows whose texts hold the words of a query, by rank.
//!
//! The query language is the same on both engines. Each engine finds and ranks with an index of its
//! own (PostgreSQL, 12. Full Text Search; sqlite.org/fts5.html).

mod language;
pub(crate) mod words;

use bookstore_store::{Connection, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, QueryTrait, Statement,
    sea_query::{Alias, Expr, ExprTrait, JoinType, Order as Direction, Query},
};

pub use self::{language::Language, words::Words};
use crate::{
    crud::{self, Columns, Resource, Row},
    filter::Filter,
    list::PAGE_BYTES,
    page_token::PageToken,
};

/// The most results on all pages together. Each page ranks all matches again, so the cost of all
/// pages grows with the square of their number.
pub const MOST_RESULTS: usize = 1_000;

/// A resource with a full-text index. On PostgreSQL its table has a column `words`, a `tsvector`
/// with the weights A to C. On SQLite the FTS5 table is `<name>_words`, and `<name>_word_keys` maps
/// its rowids to ids.
pub trait Searched: Resource {
    /// The weight of each field on SQLite, in the order of the index. On PostgreSQL the weights A to
    /// C are 1, 0.4 and 0.2.
    const WEIGHTS: &'static str;
}

/// A checked request for one page of results.
#[derive(Clone)]
pub struct SearchQuery {
    /// The unique name of the search. A page token of another one is refused.
    pub name: &'static str,
    /// The words to find.
    pub words: Words,
    /// The filter on the results.
    pub filter: Filter,
    /// The number of better results to skip.
    pub offset: usize,
    /// The most rows of the page.
    pub limit: usize,
    /// The columns to read.
    pub columns: Columns,
    /// The key that seals the next page's token.
    pub sealing_key: [u8; 32],
}

/// The rows of a page.
#[derive(Clone, Debug)]
pub struct SearchPage<M> {
    /// The rows by rank, those of equal rank by their ids.
    pub rows: Vec<M>,
    /// Whether more follow.
    pub more: bool,
}

/// Reads a page of results in one statement. The page ends before its rows exceed 3 MiB.
///
/// # Errors
/// What the database answers.
pub async fn search<R: Searched>(
    connection: &Connection,
    query: &SearchQuery,
) -> Result<SearchPage<Row<R>>, StoreError> {
    let limit = query.limit.min(MOST_RESULTS.saturating_sub(query.offset));
    let statement = match connection.get_database_backend() {
        DbBackend::Postgres => on_postgres::<R>(query, limit),
        _ => on_sqlite::<R>(query, limit),
    };
    let read = connection.query_up_to(statement, PAGE_BYTES).await?;
    let more = read.cut || read.rows.len() > limit;
    let rows = read.rows.iter().take(limit).map(|(row, _)| R::from_row(row, 0));
    Ok(SearchPage { rows: rows.collect::<Result<_, _>>()?, more })
}

impl SearchQuery {
    /// The token of the page after `answered` rows of this one; `None` after [`MOST_RESULTS`].
    pub fn token_behind(&self, answered: usize) -> Option<String> {
        let offset = self.offset.saturating_add(answered);
        let Self { name, sealing_key, words, filter, .. } = self;
        (offset < MOST_RESULTS)
            .then(|| PageToken::seal_offset(sealing_key, name, &words.to_string(), filter, offset))
    }
}

fn on_postgres<R: Searched>(query: &SearchQuery, limit: usize) -> Statement {
    let table = R::FIELDS.table;
    let words = query.words.to_tsquery();
    let with_words = |sql: String| Expr::cust_with_values(sql, [words.as_str()]);
    let mut select = crud::select::<R>(DbBackend::Postgres, query.columns).into_query();
    select
        .and_where(with_words(format!(r#""{table}"."words" @@ CAST($1 AS tsquery)"#)))
        .cond_where(query.filter.condition(DbBackend::Postgres))
        .order_by_expr(
            with_words(format!(r#"ts_rank("{table}"."words", CAST($1 AS tsquery))"#)),
            Direction::Desc,
        )
        .order_by((table, "id"), Direction::Asc);
    let mut statement = DbBackend::Postgres.build(&select);
    // As literals, for the same reason as in `page::statement`.
    statement.sql += &format!(" LIMIT {} OFFSET {}", limit.saturating_add(1), query.offset);
    statement
}

/// Ranks the ids first and reads their rows after that, so that the sort holds no texts.
fn on_sqlite<R: Searched>(query: &SearchQuery, limit: usize) -> Statement {
    let (table, name) = (R::FIELDS.table, R::NAME);
    let (index, keys) = (format!("{name}_words"), format!("{name}_word_keys"));
    let (index, keys) = (Alias::new(index), Alias::new(keys));
    let (key, found) = (Alias::new(format!("{name}_id")), Alias::new("found"));
    let mut ranked = Query::select();
    let number = Expr::col((keys.clone(), "number"));
    ranked
        .expr_as(Expr::col((keys.clone(), key.clone())), "id")
        .expr_as(Expr::cust(format!("bm25(\"{name}_words\", {})", R::WEIGHTS)), "place")
        .from(index.clone())
        .join(JoinType::CrossJoin, keys.clone(), Expr::cust("1"))
        .and_where(number.eq(Expr::col((index, "rowid"))))
        .and_where(Expr::cust_with_values(
            format!("\"{name}_words\" MATCH ?"),
            [query.words.to_string()],
        ));
    if !query.filter.is_empty() {
        let of_row = Expr::col((table, "id")).eq(Expr::col((keys, key)));
        ranked
            .join(JoinType::InnerJoin, table, of_row)
            .cond_where(query.filter.condition(DbBackend::Sqlite));
    }
    ranked
        .order_by("place", Direction::Asc)
        .order_by("id", Direction::Asc)
        .limit(limit.saturating_add(1) as u64)
        .offset(query.offset as u64);
    let same = Expr::col((found.clone(), "id")).eq(Expr::col((table, "id")));
    let mut select = crud::select::<R>(DbBackend::Sqlite, query.columns).into_query();
    select
        .join_subquery(JoinType::InnerJoin, ranked, found.clone(), same)
        .order_by((found.clone(), "place"), Direction::Asc)
        .order_by((found, "id"), Direction::Asc);
    DbBackend::Sqlite.build(&select)
}
