//! The language of `order_by` (AIP-132): `price desc, stock` becomes columns with directions.
//!
//! Every order ends with the id. So it is total, and pages neither repeat nor omit rows.

use std::fmt;

use crate::field::{Field, Invalid, Kind, ResourceFields, shown};

/// How many fields an order may name.
pub const MOST_FIELDS: usize = 4;

/// The column that makes every order total. Each table has it.
static ID: Field = Field { kind: Kind::Id, ..Field::filterable("id", "id") };

/// The order of a list. Its `Display` is canonical: equal orders have equal texts.
#[derive(Clone, Debug)]
pub struct OrderBy {
    table: &'static str,
    columns: Vec<Column>,
}

/// One column of an order.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The field whose column it is.
    pub field: &'static Field,
    /// Whether the greatest value comes first.
    pub descending: bool,
}

impl OrderBy {
    /// Parses an `order_by`. An empty one is the resource's default order. Commas separate the
    /// fields; `asc` (the default) or `desc` may follow each. The id is added last, in the last
    /// field's direction.
    ///
    /// # Errors
    /// More than [`MOST_FIELDS`] fields, a field that isn't sortable or is repeated, and a word
    /// that is no direction.
    pub fn parse(text: &str, fields: &ResourceFields) -> Result<OrderBy, Invalid> {
        let text = if text.trim().is_empty() { fields.default_order } else { text };
        if text.split(',').count() > MOST_FIELDS {
            return Err(Invalid(format!("an order names at most {MOST_FIELDS} fields")));
        }
        let mut columns: Vec<Column> = Vec::with_capacity(MOST_FIELDS + 1);
        for part in text.split(',') {
            let column = column(part, fields)?;
            if columns.iter().any(|other| other.field.name == column.field.name) {
                return Err(Invalid(format!("{} stands twice in the order", column.field.name)));
            }
            columns.push(column);
        }
        if columns.iter().all(|column| column.field.column != ID.column) {
            let descending = columns.last().is_some_and(|last| last.descending);
            columns.push(Column { field: &ID, descending });
        }
        Ok(OrderBy { table: fields.table, columns })
    }

    /// The columns in their order, never empty.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The table whose columns they are.
    pub fn table(&self) -> &'static str {
        self.table
    }
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, column) in self.columns.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let direction = if column.descending { "desc" } else { "asc" };
            write!(f, "{comma}{} {direction}", column.field.name)?;
        }
        Ok(())
    }
}

fn column(part: &str, fields: &ResourceFields) -> Result<Column, Invalid> {
    let mut words = part.split_whitespace();
    let Some(name) = words.next() else {
        return Err(Invalid("the order has an empty entry between its commas".to_owned()));
    };
    let descending = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("asc") => false,
        Some(word) if word.eq_ignore_ascii_case("desc") => true,
        Some(word) => return Err(no_direction(word)),
    };
    if let Some(word) = words.next() {
        return Err(no_direction(word));
    }
    match fields.fields.iter().find(|field| field.sortable && field.name == name) {
        Some(field) => Ok(Column { field, descending }),
        None => Err(Invalid(format!(
            "{} can't be sorted by; what can: {}",
            shown(name),
            fields.sortable()
        ))),
    }
}

fn no_direction(word: &str) -> Invalid {
    Invalid(format!("{} is no direction: write asc or desc after a field", shown(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    static FIELDS: ResourceFields = ResourceFields {
        table: "books",
        fields: &[
            sortable("title", "title", Kind::Text),
            sortable("price", "price_micros", Kind::Micros),
            sortable("stock", "stock", Kind::Integer),
            sortable("author", "author", Kind::Text),
            sortable("create_time", "created_at", Kind::Time),
            Field { sortable: false, ..sortable("description", "description", Kind::Text) },
        ],
        default_order: "create_time desc",
    };

    const fn sortable(name: &'static str, column: &'static str, kind: Kind) -> Field {
        Field { kind, sortable: true, ..Field::filterable(name, column) }
    }

    fn parsed(text: &str) -> Result<String, String> {
        OrderBy::parse(text, &FIELDS).map(|order| order.to_string()).map_err(|error| error.0)
    }

    #[test]
    fn an_order_is_read() {
        for (text, order) in [
            ("", "create_time desc, id desc"),
            (" \t", "create_time desc, id desc"),
            ("title", "title asc, id asc"),
            ("  price   DESC ,stock", "price desc, stock asc, id asc"),
            ("price desc,stock Asc,title desc", "price desc, stock asc, title desc, id desc"),
        ] {
            assert_eq!(parsed(text), Ok(order.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_order_that_names_the_id_ends_there() {
        static WITH_ID: ResourceFields = ResourceFields {
            fields: &[sortable("id", "id", Kind::Id)],
            default_order: "id",
            ..FIELDS
        };
        let order = OrderBy::parse("id desc", &WITH_ID).map(|order| order.to_string());
        assert_eq!(order, Ok("id desc".to_owned()));
    }

    #[test]
    fn a_bad_order_is_refused() {
        for (text, error) in [
            ("title, author, stock, price, create_time", "at most 4"),
            ("description", "`description` can't be sorted by; what can: title, price, stock"),
            ("Title", "`Title` can't be sorted by"),
            ("price_micros", "`price_micros` can't be sorted by"),
            ("title, title desc", "title stands twice"),
            ("title down", "`down` is no direction"),
            ("title desc asc", "`asc` is no direction"),
            ("title desc nulls first", "`nulls` is no direction"),
            ("title,,author", "empty entry"),
            ("title,", "empty entry"),
            (",", "empty entry"),
        ] {
            let answer = parsed(text).expect_err(text);
            assert!(answer.contains(error), "{text:?} answers {answer:?}");
        }
    }
}
