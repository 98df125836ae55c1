//! The common parts of every search: the request's query, filter and page, and the next page's
//! token.

use bookstore_query::{
    Resource,
    crud::{Columns, Row},
    filter::Filter,
    list::PAGE_BYTES,
    page_token::PageToken,
    search::{SearchPage, SearchQuery, Words},
};
use prost::Message;

use super::{check::Check, list::page_size, standard::Standard};

/// The fields that every search request has.
pub struct SearchFields {
    /// `query`.
    pub query: String,
    /// `page_size`.
    pub page_size: i32,
    /// `page_token`.
    pub page_token: String,
    /// `skip`.
    pub skip: i32,
    /// `filter`.
    pub filter: String,
}

/// Checks a search request. Violations name `query`, `filter` and `page_token`.
pub fn query<R: Resource>(
    check: &mut Check<'_>,
    name: &'static str,
    fields: SearchFields,
    columns: Columns,
) -> Option<SearchQuery> {
    let language = check.search_language;
    // A field that the contract's rules refused gets no second violation.
    let mut violation = |field: &str, description: String| {
        if !check.has_violation(field) {
            check.violation(field, description);
        }
    };
    let words = Words::parse(&fields.query, language);
    let words = words.map_err(|description| violation("query", description.to_string())).ok();
    let filter = Filter::parse(&fields.filter, &R::FIELDS);
    let filter = filter.map_err(|description| violation("filter", description.to_string())).ok();
    let (words, filter) = (words?, filter?);
    let offset = match fields.page_token.as_str() {
        "" => 0,
        token => {
            let asked = words.to_string();
            PageToken::open_offset(&check.page_key(), token, name, &asked, &filter)
                .map_err(|description| check.violation("page_token", description.to_string()))
                .ok()?
        }
    };
    let skip = usize::try_from(fields.skip).ok()?;
    Some(SearchQuery {
        name,
        words,
        filter,
        offset: offset.saturating_add(skip),
        limit: page_size(fields.page_size)?,
        columns,
        sealing_key: check.page_key(),
    })
}

/// A page as messages, as many rows as fit, and the token of the next one; empty at the end.
pub fn page<R: Standard>(
    query: &SearchQuery,
    found: SearchPage<Row<R>>,
) -> (Vec<R::Message>, String) {
    let SearchPage { rows, mut more } = found;
    let mut messages = Vec::with_capacity(rows.len());
    let mut size = 0;
    for row in rows {
        let message = R::message(row);
        size += message.encoded_len();
        if size > PAGE_BYTES && !messages.is_empty() {
            more = true;
            break;
        }
        messages.push(message);
    }
    let token = query.token_behind(messages.len()).filter(|_| more).unwrap_or_default();
    (messages, token)
}
