//! Reads, inserts, changes and deletions of rows by id, for any resource.

mod columns;
mod ids;
mod import;
mod read;
mod removal;
mod resource;
mod times;
mod write;

pub(crate) use self::ids::column;
pub use self::{
    columns::{Columns, select},
    ids::{column_in, position_in},
    import::{Landed, import},
    read::{FoundRows, Ids, One, find_many, get, get_many, of_row, row_by_id},
    removal::{checks_of_removal, delete, lock_for_delete, single_delete},
    resource::{Change, Expected, Fixed, Insert, Removal, Resource, Row, Values},
    times::{later, later_sql},
    write::{
        ANSWER_MARGIN, came_and_went, checks_of_insert, checks_of_update, insert, lock_all,
        single_insert, state_is, update,
    },
};
