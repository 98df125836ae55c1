//! The imports of a revision's file.

pub use crate::revision::{
    Backfill, Engine, Question, Rebuild, Revision, backfill, code, postgres, rebuild, sql, sqlite,
};
