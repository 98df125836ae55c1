//! The texts of statements that run often: each is made once, in every form that a session needs.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use sea_orm::{DbBackend, Values};

use crate::session::connection::position_column::{self, PositionColumn};

/// The name of a statement's text: what it reads, a number for its form, and the engine.
type TextName = (&'static str, u8, bool);

static TEXTS: RwLock<Option<HashMap<TextName, &'static StatementText>>> = RwLock::new(None);

/// The text of a statement that returns rows. It is made once and kept for as long as the program
/// runs.
#[derive(Debug)]
pub struct StatementText {
    /// The statement itself, which the log prints.
    own: String,
    /// It with its position; empty if a session asks for none.
    forms: [String; 3],
}

/// A statement with a text that was made once.
#[derive(Clone, Debug)]
pub struct CachedStatement {
    /// Its text.
    pub text: &'static StatementText,
    /// Its values.
    pub values: Values,
}

impl StatementText {
    /// The text of a name. The first use makes it. A `name` is that of a resource, and `form` tells
    /// its statements apart: there may be a few dozen of them.
    pub fn of(
        name: &'static str,
        form: u8,
        backend: DbBackend,
        make: impl FnOnce(DbBackend) -> String,
    ) -> &'static Self {
        let key = (name, form, backend == DbBackend::Postgres);
        let texts = TEXTS.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.as_ref().and_then(|texts| texts.get(&key)) {
            return text;
        }
        drop(texts);
        let text: &'static Self = Box::leak(Box::new(Self::new(make(backend), backend)));
        let mut texts = TEXTS.write().unwrap_or_else(PoisonError::into_inner);
        texts.get_or_insert_default().entry(key).or_insert(text)
    }

    fn new(own: String, backend: DbBackend) -> Self {
        let form = |column| match backend {
            DbBackend::Postgres => position_column::with_position(&own, column),
            _ => String::new(),
        };
        let forms = [
            form(PositionColumn::Role),
            form(PositionColumn::Number(0)),
            form(PositionColumn::NumberOfRow(0)),
        ];
        Self { own, forms }
    }

    /// The statement itself.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The text that returns the position so.
    pub(crate) fn form(&'static self, column: PositionColumn) -> &'static str {
        match column {
            PositionColumn::None => &self.own,
            PositionColumn::Role => &self.forms[0],
            PositionColumn::Number(_) => &self.forms[1],
            PositionColumn::NumberOfRow(_) => &self.forms[2],
        }
    }
}
