//! Maps the columns of a file to the fields of a book.

use std::collections::{BTreeMap, BTreeSet};

use csv::ByteRecord;

use crate::command::transfer::field::{Assignment, BookField};

/// The columns that a rejects file has before the source's own.
pub const NOTES: [&str; 3] = ["_line", "_field", "_reason"];

/// The key under which the rejects file of JSON Lines has a line that isn't JSON.
pub const RAW: &str = "_raw";

/// The command line's options about columns.
#[derive(Clone, Debug, Default)]
pub struct MappingOptions {
    /// `--column`.
    pub columns: Vec<Assignment>,
    /// `--default`.
    pub defaults: Vec<Assignment>,
    /// `--id-from`.
    pub id_from: Option<String>,
    /// `--null`.
    pub null: String,
}

/// The checked mapping.
#[derive(Clone, Debug)]
pub struct ColumnMapping {
    /// The values of fields that a row doesn't have.
    pub defaults: BTreeMap<BookField, String>,
    /// The text of a cell that is unset.
    pub null: String,
    /// Where the fields are.
    pub places: Places,
    /// The columns without a mapping, which are ignored; only for CSV.
    pub ignored: Vec<String>,
}

/// Where the fields are.
#[derive(Clone, Debug)]
pub enum Places {
    /// In columns, counted from 0.
    Columns {
        /// Each field with its column.
        fields: BTreeMap<BookField, usize>,
        /// The column that ids are made of.
        id_from: Option<usize>,
        /// The file's header.
        header: ByteRecord,
    },
    /// Under keys, which may differ from line to line.
    Keys {
        /// The fields that were mapped, by their keys.
        mapped: BTreeMap<String, Vec<BookField>>,
        /// The key that ids are made of.
        id_from: Option<String>,
    },
}

impl ColumnMapping {
    /// The mapping of CSV with this header.
    ///
    /// # Errors
    /// All problems, a line each.
    pub fn of_header(options: &MappingOptions, header: ByteRecord) -> Result<Self, String> {
        let (defaults, mut problems) = options.check();
        let names: Result<Vec<&str>, _> = header.iter().map(std::str::from_utf8).collect();
        let Ok(names) = names else { return Err("the header is not UTF-8".into()) };
        let mut fields = BTreeMap::new();
        for Assignment { field, text } in &options.columns {
            fields.extend(
                place(&names, text, &field.name(), &mut problems).map(|at| (field.clone(), at)),
            );
        }
        let id_from = options.id_from.as_deref();
        let id_from = id_from.and_then(|name| place(&names, name, "--id-from", &mut problems));
        let mapped: BTreeSet<BookField> = options.fields();
        for name in &names {
            let field = BookField::of_header(name).filter(|field| options.takes(field, &mapped));
            let Some(field) = field else { continue };
            // Two headers may name one field: `category_id` and `categoryId`.
            if let Some(at) = place(&names, name, &field.name(), &mut problems)
                && fields.insert(field.clone(), at).is_some_and(|before| before != at)
            {
                problems.push(format!("{field}: two columns are called so"));
            }
        }
        for field in BookField::REQUIRED {
            if !fields.contains_key(&field)
                && !defaults.contains_key(&field)
                && !mapped.contains(&field)
            {
                problems.push(format!("{field}: has neither a column nor a default"));
            }
        }
        if !problems.is_empty() {
            problems.dedup();
            let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            problems.push(format!("the file's columns are {}", names.join(", ")));
            return Err(problems.join("\n"));
        }
        let used: BTreeSet<usize> = fields.values().copied().chain(id_from).collect();
        let unused = (0..names.len()).filter(|at| !used.contains(at)).map(|at| names[at]);
        let ignored = unused.filter(|name| !NOTES.contains(name)).map(str::to_owned).collect();
        let places = Places::Columns { fields, id_from, header };
        Ok(Self { defaults, null: options.null.clone(), places, ignored })
    }

    /// The mapping of JSON Lines.
    ///
    /// # Errors
    /// Everything that doesn't fit, together.
    pub fn of_keys(options: &MappingOptions) -> Result<Self, String> {
        let (defaults, problems) = options.check();
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        let mut mapped: BTreeMap<String, Vec<BookField>> = BTreeMap::new();
        for Assignment { field, text } in &options.columns {
            mapped.entry(text.clone()).or_default().push(field.clone());
        }
        let places = Places::Keys { mapped, id_from: options.id_from.clone() };
        Ok(Self { defaults, null: options.null.clone(), places, ignored: Vec::new() })
    }

    /// The fields of Book that rows can have; none if that isn't known before they are read.
    #[must_use]
    pub fn given(&self) -> Option<BTreeSet<&'static str>> {
        let Places::Columns { fields, .. } = &self.places else { return None };
        Some(fields.keys().chain(self.defaults.keys()).map(BookField::in_book).collect())
    }

    /// The field that a key of JSON Lines names, unless another key was mapped to it.
    #[must_use]
    pub fn of_key(&self, key: &str) -> Vec<BookField> {
        let Places::Keys { mapped, id_from } = &self.places else { return Vec::new() };
        if let Some(fields) = mapped.get(key) {
            return fields.clone();
        }
        let taken = |field: &BookField| {
            mapped.values().flatten().any(|mapped| mapped == field)
                || (*field == BookField::Id && id_from.is_some())
        };
        let field =
            BookField::of_header(key).filter(|field| field.is_importable() && !taken(field));
        field.into_iter().collect()
    }
}

impl MappingOptions {
    /// The fields that were mapped.
    fn fields(&self) -> BTreeSet<BookField> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }

    /// Whether a column maps to a field by its own name.
    fn takes(&self, field: &BookField, mapped: &BTreeSet<BookField>) -> bool {
        let made = *field == BookField::Id && self.id_from.is_some();
        field.is_importable() && !mapped.contains(field) && !made
    }

    /// The defaults, and the problems that don't depend on the file.
    fn check(&self) -> (BTreeMap<BookField, String>, Vec<String>) {
        let mut problems = Vec::new();
        let mut unique = |assignments: &[Assignment], option: &str| {
            let mut fields = BTreeMap::new();
            for Assignment { field, text } in assignments {
                if !field.is_importable() {
                    problems.push(format!("{field}: the service sets it"));
                } else if fields.insert(field.clone(), text.clone()).is_some() {
                    problems.push(format!("{field}: two {option} name it"));
                }
            }
            fields
        };
        let columns = unique(&self.columns, "--column");
        let defaults = unique(&self.defaults, "--default");
        if self.id_from.is_some() && columns.contains_key(&BookField::Id) {
            problems.push("id: --id-from makes it, so no --column can be it".into());
        }
        if defaults.contains_key(&BookField::Id) {
            problems.push("id: must differ from row to row, so it has no --default".into());
        }
        (defaults, problems)
    }
}

/// The index of the column of this name, which must occur once.
fn place(names: &[&str], name: &str, wanted: &str, problems: &mut Vec<String>) -> Option<usize> {
    let mut found = (0..names.len()).filter(|at| names[*at] == name);
    let first = found.next();
    if first.is_none() {
        problems.push(format!("{wanted}: the file has no column {name:?}"));
    } else if found.next().is_some() {
        problems.push(format!("{wanted}: column {name:?} is there twice"));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(columns: &[&str], defaults: &[&str]) -> MappingOptions {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        MappingOptions {
            columns: read(columns),
            defaults: read(defaults),
            ..MappingOptions::default()
        }
    }

    fn header(names: &[&str]) -> ByteRecord {
        names.to_vec().into()
    }

    #[test]
    fn columns_are_found_by_mapping_and_by_name() {
        let options = options(&["author=authors"], &["price=1", "price.currency_code=USD"]);
        let names = header(&["title", "authors", "categoryId", "attributes.isbn", "year", "_line"]);
        let mapping = ColumnMapping::of_header(&options, names).unwrap();
        let Places::Columns { fields, .. } = &mapping.places else { unreachable!("{mapping:?}") };
        let fields: Vec<_> = fields.iter().map(|(field, at)| (field.to_string(), *at)).collect();
        let wanted = [("title", 0), ("author", 1), ("category_id", 2), ("attributes.isbn", 3)];
        assert_eq!(fields, wanted.map(|(name, at)| (name.to_owned(), at)));
        assert_eq!(mapping.ignored, ["year"]);
        let given: Vec<_> = mapping.given().unwrap().into_iter().collect();
        assert_eq!(given, ["attributes", "author", "category_id", "price", "title"]);
    }

    #[test]
    fn problems_of_a_mapping_are_reported_together() {
        let mut wrong = options(
            &["title=name", "author=a", "author=b", "create_time=c"],
            &["stock=1", "stock=2", "id=x"],
        );
        wrong.id_from = Some("isbn".into());
        let reported = ColumnMapping::of_header(&wrong, header(&["a", "b", "c", "c"])).unwrap_err();
        for line in [
            "title: the file has no column \"name\"",
            "author: two --column name it",
            "create_time: the service sets it",
            "stock: two --default name it",
            "id: must differ from row to row, so it has no --default",
            "--id-from: the file has no column \"isbn\"",
            "price: has neither a column nor a default",
            "price.currency_code: has neither a column nor a default",
            "the file's columns are \"a\", \"b\", \"c\", \"c\"",
        ] {
            assert!(reported.lines().any(|reported| reported == line), "{line}\nin\n{reported}");
        }
    }

    #[test]
    fn a_duplicate_column_is_refused_only_if_it_is_mapped() {
        let all = ["price=1", "price.currency_code=USD"];
        let twice = header(&["title", "author", "x", "x", "author"]);
        let reported = ColumnMapping::of_header(&options(&[], &all), twice.clone()).unwrap_err();
        assert!(reported.starts_with("author: column \"author\" is there twice\n"), "{reported}");
        let reported = ColumnMapping::of_header(&options(&["author=x"], &all), twice).unwrap_err();
        assert!(reported.starts_with("author: column \"x\" is there twice\n"), "{reported}");
        let twice = header(&["title", "author", "x", "x"]);
        assert!(ColumnMapping::of_header(&options(&[], &all), twice).is_ok());
        let both = header(&["title", "author", "category_id", "categoryId"]);
        let reported = ColumnMapping::of_header(&options(&[], &all), both).unwrap_err();
        assert!(reported.starts_with("category_id: two columns are called so\n"), "{reported}");
    }

    #[test]
    fn keys_are_found_in_both_spellings() {
        let mapping = ColumnMapping::of_keys(&options(&["title=name"], &[])).unwrap();
        assert_eq!(mapping.of_key("name"), [BookField::Title]);
        assert_eq!(mapping.of_key("title"), []);
        assert_eq!(mapping.of_key("coverImage"), [BookField::CoverImage]);
        assert_eq!(mapping.of_key("createTime"), []);
        assert!(mapping.given().is_none());
    }
}
