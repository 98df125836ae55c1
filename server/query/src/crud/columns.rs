//! Which columns a read selects: all of them, or all but those that may hold much.

use sea_orm::{
    ColumnTrait, ColumnType, DbBackend, EntityTrait, IdenStatic, Iterable, QuerySelect, Select,
    sea_query::Expr,
};

use crate::crud::resource::Resource;

/// The columns that a read is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// All.
    #[default]
    All,
    /// All but those of [`Resource::LARGE`], which come as empty.
    Narrow,
}

/// Selects from a resource's table. There are two SQL texts only, so that each is prepared once.
pub fn select<R: Resource>(backend: DbBackend, columns: Columns) -> Select<R::Entity> {
    let select = R::Entity::find();
    if columns == Columns::All || R::LARGE.is_empty() {
        return select;
    }
    let all = <R::Entity as EntityTrait>::Column::iter();
    all.fold(select.select_only(), |select, column| match R::LARGE.contains(&column.as_str()) {
        true => select.expr_as(empty(&column, backend), column.as_str()),
        false => select.column(column),
    })
}

/// A value of a column's type that holds nothing.
fn empty(column: &impl ColumnTrait, backend: DbBackend) -> Expr {
    Expr::cust(empty_literal(column, backend))
}

/// The same as SQL text.
pub(crate) fn empty_literal(column: &impl ColumnTrait, backend: DbBackend) -> String {
    let definition = column.def();
    let json = matches!(definition.get_column_type(), ColumnType::Json | ColumnType::JsonBinary);
    let value = match (definition.is_null(), json) {
        (true, _) => "NULL",
        (false, true) => "'{}'",
        (false, false) => "''",
    };
    match backend {
        DbBackend::Postgres => {
            let kind = if json { "jsonb" } else { "text" };
            format!("CAST({value} AS {kind})")
        }
        // Its values have types of their own.
        _ => value.to_owned(),
    }
}
