//! SearchBooks between the wire and the store.

use bookstore_entity::book::Model;
use bookstore_proto::v1::{SearchBooksRequest, SearchBooksResponse};
use bookstore_query::search::{SearchPage, SearchQuery, Searched};
use bookstore_store::{Query, StoreError};

use super::Book;
use crate::rpc::{check::Check, request::ReadRequest, search, stamp::queries};

impl Searched for Book {
    const WEIGHTS: &'static str = "10.0, 4.0, 2.0";
}

queries! {
    /// Reads a page of what a search finds.
    SearchBooks(SearchQuery) -> SearchPage<Model> = bookstore_query::search::search::<Book>;
}

impl ReadRequest for SearchBooksRequest {
    type Query = SearchBooks;
    type Answer = SearchBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<SearchBooks> {
        let Self { query, page_size, page_token, skip, filter } = self;
        let fields = search::SearchFields { query, page_size, page_token, skip, filter };
        let columns = check.columns::<Book>("books");
        search::query::<Book>(check, SearchBooks::NAME, fields, columns).map(SearchBooks)
    }

    fn answer(
        query: &SearchBooks,
        found: SearchPage<Model>,
    ) -> Result<SearchBooksResponse, StoreError> {
        let (books, next_page_token) = search::page::<Book>(&query.0, found);
        Ok(SearchBooksResponse { books, next_page_token })
    }
}
