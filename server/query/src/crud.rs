//! Reads, inserts, changes and deletions of rows by id, for any resource.

mod columns;
mod ids;
mod import;
mod read;
mod related;
mod removal;
mod resource;
mod times;
mod write;

pub(crate) use self::ids::column;
pub use self::{
    columns::{Columns, select},
    ids::{column_in, position_in, value_of},
    import::{Landed, import},
    read::{
        FoundRows, Ids, MANY, One, at_index, find_many, get, get_many, of_row, of_rows, row_by_id,
        rows_by_id,
    },
    related::{Selected, columns_of, is_asked_for, select_of, with_related},
    removal::{checks_of_removal, delete, lock_for_delete, single_delete},
    resource::{Change, Expected, Fixed, Insert, Removal, Resource, Row, Values},
    times::{later, later_sql},
    write::{
        ANSWER_MARGIN, came_and_went, checks_of_insert, checks_of_update, insert, lock_all,
        single_insert, state_is, update,
    },
};
