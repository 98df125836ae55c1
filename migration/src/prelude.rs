//! What the file of a revision is written with.

pub use crate::revision::{
    Backfill, Engine, Question, Rebuild, Revision, backfill, code, postgres, rebuild, sql, sqlite,
};
