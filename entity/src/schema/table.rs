//! A table as it is declared.

use sea_orm::{
    ColumnTrait, ColumnType, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, RelationTrait,
    sea_query::ForeignKeyAction,
};

/// An engine that something is declared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in SQL with `{words}`.
    pub type_name: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its default, an SQL expression.
    pub default: Option<String>,
    /// What it is computed from, where it is generated and stored.
    pub generated: Option<String>,
    /// The only engine that has it; none: both.
    pub on: Option<On>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The column that refers.
    pub column: String,
    /// The table that it refers to.
    pub references: String,
    /// The column there.
    pub referenced: String,
    /// `RESTRICT`, `CASCADE`, `SET NULL` or `SET DEFAULT`; none: `NO ACTION`.
    pub on_delete: Option<&'static str>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// What follows `ON "table"`: `("title", "id" DESC)`, `USING gin ("payload" jsonb_path_ops)`.
    pub body: String,
    /// Whether it is unique.
    pub unique: bool,
    /// The only engine that has it; none: both.
    pub on: Option<On>,
}

/// A table: its entity, and what that can't express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// The columns of the primary key.
    pub primary_key: Vec<String>,
    /// The columns of each unique constraint.
    pub uniques: Vec<Vec<String>>,
    /// The foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// The CHECKs, by name, each with its expression.
    pub checks: Vec<(String, String)>,
    /// The indexes.
    pub indexes: Vec<Index>,
}

impl Table {
    /// The table of an entity, with everything that the entity declares.
    pub fn of<E: EntityTrait>() -> Self {
        let name = E::default().table_name().to_owned();
        let columns = E::Column::iter().map(|column| {
            let definition = column.def();
            Column {
                name: column.as_str().to_owned(),
                type_name: type_name(definition.get_column_type()),
                nullable: definition.is_null(),
                default: None,
                generated: None,
                on: None,
            }
        });
        let unique = E::Column::iter().filter(|column| column.def().is_unique());
        let keys = E::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned());
        let relations = E::Relation::iter().map(|relation| relation.def());
        let relations = relations.filter(|relation| !relation.is_owner && !relation.skip_fk);
        let name_of = |identity: &sea_orm::Identity| {
            let names: Vec<String> = identity.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        let foreign_keys = relations.map(|relation| ForeignKey {
            column: name_of(&relation.from_col),
            references: relation.to_tbl.sea_orm_table().to_string(),
            referenced: name_of(&relation.to_col),
            on_delete: relation.on_delete.and_then(|action| match action {
                ForeignKeyAction::Restrict => Some("RESTRICT"),
                ForeignKeyAction::Cascade => Some("CASCADE"),
                ForeignKeyAction::SetNull => Some("SET NULL"),
                ForeignKeyAction::SetDefault => Some("SET DEFAULT"),
                _ => None,
            }),
        });
        Self {
            columns: columns.collect(),
            primary_key: keys.collect(),
            uniques: unique.map(|column| vec![column.as_str().to_owned()]).collect(),
            foreign_keys: foreign_keys.collect(),
            checks: Vec::new(),
            indexes: Vec::new(),
            name,
        }
    }

    fn column(&mut self, name: &str) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.name == name)
    }

    /// `created_at` and `updated_at` begin with now, `version` with 1, where the table has them.
    #[must_use]
    pub fn stamped(self) -> Self {
        let table = self.default("created_at", "{now}").default("updated_at", "{now}");
        table.default("version", "1")
    }

    /// `DEFAULT`, for a column that is there.
    #[must_use]
    pub fn default(mut self, column: &str, expression: &str) -> Self {
        if let Some(column) = self.column(column) {
            column.default = Some(expression.to_owned());
        }
        self
    }

    /// Another type than the entity's, in SQL: with a collation, for example.
    #[must_use]
    pub fn column_type(mut self, column: &str, type_name: &str) -> Self {
        if let Some(column) = self.column(column) {
            type_name.clone_into(&mut column.type_name);
        }
        self
    }

    /// A generated column that only PostgreSQL has and that no statement of the program uses
    /// through its entity.
    #[must_use]
    pub fn generated_on_postgres(mut self, name: &str, type_name: &str, expression: &str) -> Self {
        self.columns.push(Column {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            nullable: true,
            default: None,
            generated: Some(expression.to_owned()),
            on: Some(On::Postgres),
        });
        self
    }

    /// `CHECK`, under the name `TABLE_SUBJECT_check`; the subject is mostly a column.
    #[must_use]
    pub fn check(mut self, subject: &str, expression: &str) -> Self {
        let name = format!("{}_{subject}_check", self.name);
        self.checks.push((name, expression.to_owned()));
        self
    }

    /// `UNIQUE` over several columns.
    #[must_use]
    pub fn unique(mut self, columns: &[&str]) -> Self {
        self.uniques.push(columns.iter().map(|column| (*column).to_owned()).collect());
        self
    }

    /// An index over columns, each as `name` or `name DESC`.
    #[must_use]
    pub fn index(mut self, columns: &[&str]) -> Self {
        let split = |column: &&str| -> (String, String) {
            let (name, direction) = column.split_once(' ').unwrap_or((column, ""));
            (name.to_owned(), format!("\"{name}\" {direction}").trim().to_owned())
        };
        let (names, parts): (Vec<String>, Vec<String>) = columns.iter().map(split).unzip();
        self.indexes.push(Index {
            name: format!("{}_{}_idx", self.name, names.join("_")),
            body: format!("({})", parts.join(", ")),
            unique: false,
            on: None,
        });
        self
    }

    /// An index of any form, under the name `TABLE_SUBJECT_idx`; `body` is what follows
    /// `ON "table"`.
    #[must_use]
    pub fn index_as(mut self, subject: &str, on: Option<On>, body: &str) -> Self {
        self.indexes.push(Index {
            name: format!("{}_{subject}_idx", self.name),
            body: body.to_owned(),
            unique: false,
            on,
        });
        self
    }
}

/// The type of a column in SQL, with a word where the engines differ. `{text}` means text that is
/// compared byte by byte on both.
fn type_name(column_type: &ColumnType) -> String {
    let name = match column_type {
        ColumnType::Char(_) | ColumnType::String(_) | ColumnType::Text => "{text}",
        ColumnType::Blob | ColumnType::Binary(_) | ColumnType::VarBinary(_) => "{bytes}",
        ColumnType::SmallInteger | ColumnType::TinyInteger => "smallint",
        ColumnType::Integer => "integer",
        ColumnType::BigInteger => "bigint",
        ColumnType::Float => "real",
        ColumnType::Double => "{double}",
        ColumnType::Boolean => "boolean",
        ColumnType::Json | ColumnType::JsonBinary => "{json}",
        ColumnType::Uuid => "{uuid}",
        ColumnType::DateTime | ColumnType::Timestamp | ColumnType::TimestampWithTimeZone => {
            "{time}"
        }
        ColumnType::Date => "date",
        ColumnType::Custom(name) => return name.to_string(),
        // A type that no entity has yet: its table names it with `column_type`.
        _ => "{text}",
    };
    name.to_owned()
}
