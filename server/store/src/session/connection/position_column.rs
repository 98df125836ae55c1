//! How the text of a query returns the position at which it was answered, as one more column.

use crate::position::{POSITION, PRIMARY_LSN};

/// The column that holds the position.
pub(crate) const POSITION_COLUMN: &str = "bookstore_position";

/// The column that is true in rows of the query itself. Without any, the only row has NULL here.
pub(crate) const ROW_COLUMN: &str = "bookstore_row";

/// How a statement returns the position at which it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionColumn {
    /// Not at all.
    None,
    /// As the answer to [`POSITION`], without rows too.
    Role,
    /// As the answer to [`PRIMARY_LSN`] of a primary on this timeline, without rows too.
    Number(u32),
    /// The same in each row. Without rows there is none.
    NumberOfRow(u32),
}

/// The text of a query that returns the position. The position is evaluated once, after the
/// snapshot was taken.
pub(crate) fn with_position(sql: &str, column: PositionColumn) -> String {
    let joined = |position| {
        format!(
            "SELECT q.*, p.{POSITION_COLUMN} FROM ({position}) AS p ({POSITION_COLUMN}) \
             LEFT JOIN (SELECT t.*, true AS {ROW_COLUMN} FROM ({sql}) AS t) AS q ON true"
        )
    };
    match column {
        PositionColumn::None => sql.to_owned(),
        PositionColumn::Role => joined(POSITION),
        PositionColumn::Number(_) => joined(PRIMARY_LSN),
        PositionColumn::NumberOfRow(_) => {
            format!("SELECT t.*, ({PRIMARY_LSN}) AS {POSITION_COLUMN} FROM ({sql}) AS t")
        }
    }
}
