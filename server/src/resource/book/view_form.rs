//! What a view reads of a book, in one statement: its row with its category, and its reviews.

use std::{cmp::Reverse, sync::Arc};

use bookstore_entity::{
    book::{self, Model},
    category, review,
};
use bookstore_query::{
    Resource,
    crud::{self, Columns, MANY, Selected, columns_of, is_asked_for, select_of, with_related},
    mean::mean,
};
use bookstore_store::{CachedStatement, RowKind, StatementText, StoreError};
use sea_orm::{DbBackend, Iterable, QueryResult, Values};
use uuid::Uuid;

use super::Book;
use crate::resource::{category::Category, review::Review};

/// How many reviews are answered with a book.
const LATEST_REVIEWS: usize = 10;

/// A rating is summed as a whole number of these parts and a rest in parts of a part. Doubles from
/// 1 to 5 have at most 52 binary digits behind the point, so nothing is lost.
const RATING_PARTS: i64 = 1 << 26;

/// The square of that.
const SMALLEST_PARTS: f64 = (1_u64 << 52) as f64;

/// The number of the first form that reads only reviews.
const ONLY_REVIEWS: u8 = 96;

/// A book's row with its category; none if it has none, or the view.
pub type WithCategory = (Model, Option<Arc<category::Model>>);

/// The reviews of a book.
pub struct Reviews {
    /// The newest, the newest first.
    pub latest: Vec<review::Model>,
    /// How many there are.
    pub count: i64,
    /// The mean rating; none without reviews.
    pub mean: Option<f64>,
}

/// What is read of a book.
#[derive(Clone, Copy, Debug)]
pub struct ViewForm {
    /// Its own columns.
    pub book: Columns,
    /// The columns of its category; none if it isn't selected.
    pub category: Option<Columns>,
    /// The columns of its reviews; none if they aren't selected.
    pub reviews: Option<Columns>,
}

/// The number of the first form with related rows.
const FIRST: u8 = 64;

fn number(columns: Option<Columns>) -> u8 {
    match columns {
        None => 0,
        Some(Columns::All) => 1,
        Some(Columns::Narrow) => 2,
    }
}

fn columns(number: u8) -> Option<Columns> {
    match number & 3 {
        0 => None,
        1 => Some(Columns::All),
        _ => Some(Columns::Narrow),
    }
}

impl ViewForm {
    /// Whether only the book itself is read.
    pub fn is_plain(self) -> bool {
        self.category.is_none() && self.reviews.is_none()
    }

    fn number(self) -> u8 {
        let own = u8::from(self.book == Columns::Narrow);
        FIRST | own | number(self.category) << 1 | number(self.reviews) << 3
    }

    fn of_number(number: u8) -> Self {
        let book = if number & 1 == 1 { Columns::Narrow } else { Columns::All };
        Self { book, category: columns(number >> 1), reviews: columns(number >> 3) }
    }

    /// The kind of the rows, for reads that share statements.
    pub fn kind(self) -> RowKind {
        RowKind {
            resource: Book::NAME,
            form: self.number(),
            has_related: self.reviews.is_some(),
            statement: |backend, number, ids| {
                let text = StatementText::of(Book::NAME, number | MANY, backend, |backend| {
                    Self::of_number(number).text(backend, true)
                });
                CachedStatement { text, values: Values(vec![crud::value_of(backend, ids)]) }
            },
        }
    }

    /// The statement for one book.
    pub fn for_one(self, backend: DbBackend, id: Uuid) -> CachedStatement {
        let text = StatementText::of(Book::NAME, self.number(), backend, |backend| {
            self.text(backend, false)
        });
        CachedStatement { text, values: Values(vec![id.into()]) }
    }

    fn text(self, backend: DbBackend, many: bool) -> String {
        let mut own = columns_of::<Book>(backend, self.book, "b", "");
        let category = self.category.map(|it| columns_of::<Category>(backend, it, "c", "c_"));
        let join = match category {
            Some(_) => r#" LEFT JOIN "categories" AS c ON c."id" = b."category_id""#,
            None => "",
        };
        own.extend(category.into_iter().flatten());
        let asked = is_asked_for(backend, r#"b."id""#, many);
        let from = format!(r#""books" AS b{join} WHERE {asked}"#);
        match self.reviews {
            None => select_of(&own, &from),
            Some(it) => {
                let reviews = columns_of::<Review>(backend, it, "r", "r_");
                let (related, from_reviews) = latest(backend, reviews, many.then_some(ANY_ORDER));
                with_related((&own, &from), (&related, r#"r."r_book_id""#, &from_reviews))
            }
        }
    }

    /// Makes the answer of the rows that were read for a book.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] at the field `id`.
    pub fn read(
        self,
        id: Uuid,
        rows: &[QueryResult],
    ) -> Result<(WithCategory, Option<Reviews>), StoreError> {
        let mut book: Option<WithCategory> = None;
        let (mut latest, mut figures) = (Vec::new(), None);
        // The first column of each is the id.
        let category_at = book::Column::iter().count();
        let reviews_at =
            category_at + self.category.map_or(0, |_| category::Column::iter().count());
        let is_there = |row: &QueryResult, at| {
            Ok::<_, StoreError>(row.try_get_by_index::<Option<Uuid>>(at)?.is_some())
        };
        for row in rows {
            if self.reviews.is_some() && is_there(row, reviews_at)? {
                latest.push(Review::from_row(row, reviews_at)?);
                figures.get_or_insert(row);
                continue;
            }
            let mut category = None;
            if self.category.is_some() && is_there(row, category_at)? {
                category = Some(Arc::new(Category::from_row(row, category_at)?));
            }
            book = Some((Book::from_row(row, 0)?, category));
        }
        let missing = || StoreError::NotFound { resource: Book::NAME, id, field: "id".into() };
        let book = book.ok_or_else(missing)?;
        if self.reviews.is_none() {
            return Ok((book, None));
        }
        latest.sort_unstable_by_key(|review| Reverse((review.created_at, review.id)));
        let (mut count, mut mean_rating) = (0, None);
        if let Some(row) = figures {
            count = row.try_get("", "review_count")?;
            mean_rating = Some(mean_of(row, count)?);
        }
        Ok((book, Some(Reviews { latest, count, mean: mean_rating })))
    }
}

/// The mean rating in a row with the figures of `count` reviews.
fn mean_of(row: &QueryResult, count: i64) -> Result<f64, StoreError> {
    let (whole, rest) = (row.try_get("", "whole")?, row.try_get("", "rest")?);
    #[expect(clippy::cast_precision_loss, reason = "at most 55 digits; 53 of them are kept")]
    let mean = mean(whole, rest, RATING_PARTS, count) as f64;
    Ok(mean / SMALLEST_PARTS)
}

/// The statement for the latest reviews of books and the figures of all their reviews, in the order of
/// the books.
pub fn reviews_of(backend: DbBackend, columns: Columns, ids: &[Uuid]) -> CachedStatement {
    let form = ONLY_REVIEWS | number(Some(columns)) | MANY;
    let text = StatementText::of(Book::NAME, form, backend, |backend| {
        let reviews = columns_of::<Review>(backend, columns, "r", "r_");
        let (related, from) = latest(backend, reviews, Some(IN_ORDER));
        let order = r#"w.place, r."r_created_at" DESC, r."r_id" DESC"#;
        format!("{} ORDER BY {order}", select_of(&related, &from))
    });
    CachedStatement { text, values: Values(vec![crud::value_of(backend, ids)]) }
}

/// Pairs books with their reviews, from the rows that [`reviews_of`] reads for them. If `is_cut`, the
/// answer ends before the first book whose reviews may not all have been read.
///
/// # Errors
/// If a row has another form: a defect of this program.
pub fn reviews_by_book(
    ids: &[Uuid],
    rows: &[QueryResult],
    is_cut: bool,
) -> Result<Vec<Reviews>, StoreError> {
    let mut answer = Vec::with_capacity(ids.len());
    let mut rows = rows.iter().peekable();
    for id in ids {
        let mut of_book = Reviews { latest: Vec::new(), count: 0, mean: None };
        while let Some(row) = rows.peek() {
            let review = Review::from_row(row, 0)?;
            if review.book_id != *id {
                break;
            }
            if of_book.latest.is_empty() {
                of_book.count = row.try_get("", "review_count")?;
                of_book.mean = Some(mean_of(row, of_book.count)?);
            }
            of_book.latest.push(review);
            rows.next();
        }
        // The next row, which was not read, may belong to this book.
        if is_cut && rows.peek().is_none() {
            break;
        }
        answer.push(of_book);
    }
    Ok(answer)
}

/// Where the books of a statement come from that reads the reviews of many: on PostgreSQL, on SQLite, and
/// the condition there.
type RowSource = (&'static str, &'static str, &'static str);

/// The books without their order, which SQLite need not join.
const ANY_ORDER: RowSource = ("(SELECT DISTINCT unnest($1) AS id) AS w", "", "");

/// The books with their places. An id that fills the array up to the planned length comes again, and
/// only its first place counts.
const IN_ORDER: RowSource = (
    "(SELECT id, min(place) AS place FROM unnest($1) WITH ORDINALITY AS w (id, place) GROUP BY id) AS w",
    "(SELECT unhex(value) AS id, key AS place FROM json_each($1)) AS w CROSS JOIN ",
    r#" AND r."r_book_id" = w.id"#,
);

/// The columns of the latest reviews of books, with the figures of all reviews of their book, and
/// where they are read from.
fn latest(
    backend: DbBackend,
    reviews: Vec<Selected>,
    many: Option<RowSource>,
) -> (Vec<Selected>, String) {
    let (whole, rest) = rating_parts(backend);
    let named = |names: &[Selected]| -> Vec<Selected> {
        names.iter().map(|(_, name)| (format!(r#"r."{name}""#), name.clone())).collect()
    };
    let mut related = named(&reviews);
    let order = r#"r."created_at" DESC, r."id" DESC"#;
    let figure_names = ["review_count", "whole", "rest"];
    let from = match (many, backend) {
        (Some((_, books, of_book)), DbBackend::Sqlite) => {
            // It has no LATERAL.
            let asked = is_asked_for(backend, r#"r."book_id""#, true);
            let over = r#"OVER (PARTITION BY r."book_id")"#;
            let mut all = reviews;
            all.push(("count(*) ".to_owned() + over, "review_count".to_owned()));
            all.push((format!("CAST(sum({whole}) {over} AS bigint)"), "whole".to_owned()));
            all.push((format!("CAST(sum({rest}) {over} AS bigint)"), "rest".to_owned()));
            let place = format!(r#"row_number() OVER (PARTITION BY r."book_id" ORDER BY {order})"#);
            all.push((place, "place".to_owned()));
            let all = select_of(&all, &format!(r#""reviews" AS r WHERE {asked}"#));
            related.extend(figure_names.map(|name| (format!(r#"r."{name}""#), name.to_owned())));
            format!("{books}({all}) AS r WHERE r.place <= {LATEST_REVIEWS}{of_book}")
        }
        _ => {
            let of = if many.is_some() { r#"r."book_id" = w.id"# } else { r#"r."book_id" = $1"# };
            let latest = select_of(&reviews, &format!(r#""reviews" AS r WHERE {of}"#));
            let latest = format!("{latest} ORDER BY {order} LIMIT {LATEST_REVIEWS}");
            let figures = format!(
                r#"SELECT count(*) AS review_count, {} AS whole, {} AS rest FROM "reviews" AS r WHERE {of}"#,
                sum(&whole),
                sum(&rest)
            );
            related.extend(figure_names.map(|name| (format!("f.{name}"), name.to_owned())));
            match many {
                Some((books, ..)) => format!(
                    "{books} CROSS JOIN LATERAL ({latest}) AS r CROSS JOIN LATERAL ({figures}) AS f"
                ),
                None => format!("({latest}) AS r CROSS JOIN ({figures}) AS f"),
            }
        }
    };
    (related, from)
}

fn sum(part: &str) -> String {
    format!("CAST(sum({part}) AS bigint)")
}

/// A rating as a whole number of parts, and the rest as one of parts of these: sums of whole
/// numbers are the same in any order, sums of doubles are not.
fn rating_parts(backend: DbBackend) -> (String, String) {
    let parts = format!(r#"r."rating" * {RATING_PARTS}"#);
    let whole = match backend {
        // Its CAST rounds.
        DbBackend::Postgres => format!("CAST(floor({parts}) AS bigint)"),
        _ => format!("CAST({parts} AS bigint)"),
    };
    let rest = format!("CAST(({parts} - {whole}) * {RATING_PARTS} AS bigint)");
    (whole, rest)
}
