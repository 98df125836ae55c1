//! The fields of a book in files: their names on the command line, in headers and in JSON.

use std::{borrow::Cow, fmt, str::FromStr};

/// A field of `bookstore.v1.Book` that a column of a file can hold. It can't hold the etag, which
/// belongs to a state of a book and not to its data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BookField {
    /// `id`.
    Id,
    /// `title`.
    Title,
    /// `author`.
    Author,
    /// `description`.
    Description,
    /// `price`: the amount, in decimal units of its currency.
    Price,
    /// `price.currency_code`.
    CurrencyCode,
    /// `stock`.
    Stock,
    /// `category_id`.
    CategoryId,
    /// `cover_image`.
    CoverImage,
    /// `attributes`: all of them, as a JSON object.
    Attributes,
    /// `attributes.KEY`: one of them. The text after the first dot is its key.
    Attribute(String),
    /// `create_time`, which the service sets.
    CreateTime,
    /// `update_time`, which the service sets.
    UpdateTime,
}

use BookField::{
    Attributes, Author, CategoryId, CoverImage, CreateTime, CurrencyCode, Description, Id, Price,
    Stock, Title, UpdateTime,
};

impl BookField {
    /// All fields, in the order of an export's columns.
    pub const ALL: [Self; 12] = [
        Id,
        Title,
        Author,
        Description,
        Price,
        CurrencyCode,
        Stock,
        CategoryId,
        CoverImage,
        Attributes,
        CreateTime,
        UpdateTime,
    ];

    /// The required fields.
    pub const REQUIRED: [Self; 4] = [Title, Author, Price, CurrencyCode];

    /// Its name, such as `price.currency_code`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Id => "id",
            Title => "title",
            Author => "author",
            Description => "description",
            Price => "price",
            CurrencyCode => "price.currency_code",
            Stock => "stock",
            CategoryId => "category_id",
            CoverImage => "cover_image",
            Attributes => "attributes",
            Self::Attribute(key) => return Cow::Owned(format!("attributes.{key}")),
            CreateTime => "create_time",
            UpdateTime => "update_time",
        })
    }

    /// The field of Book that it is or is a part of, as an update mask names it.
    #[must_use]
    pub fn in_book(&self) -> &'static str {
        match self.name() {
            Cow::Borrowed(name) => name.split('.').next().unwrap_or(name),
            Cow::Owned(_) => "attributes",
        }
    }

    /// Whether an import may set it. The service sets the others.
    #[must_use]
    pub fn is_importable(&self) -> bool {
        !matches!(self, CreateTime | UpdateTime)
    }

    /// Whether an update may change it.
    #[must_use]
    pub fn is_updatable(&self) -> bool {
        self.is_importable() && *self != Id
    }

    /// The field that a header names without a mapping: by its name, or in lower camel case as in
    /// protobuf's JSON (`categoryId`).
    #[must_use]
    pub fn of_header(header: &str) -> Option<Self> {
        let mut snake = String::new();
        if let Some(key) = header.strip_prefix("attributes.") {
            return (!key.is_empty()).then(|| Self::Attribute(key.to_owned()));
        }
        for c in header.chars() {
            if c.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        header.parse().ok().or_else(|| snake.parse().ok())
    }
}

impl fmt::Display for BookField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

impl FromStr for BookField {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(key) = name.strip_prefix("attributes.").filter(|key| !key.is_empty()) {
            return Ok(Self::Attribute(key.to_owned()));
        }
        Self::ALL.into_iter().find(|field| field.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::name).collect();
            format!("no field is called {name:?}; there are {}, attributes.KEY", names.join(", "))
        })
    }
}

/// `FIELD=TEXT`, as `--column` and `--default` take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The field.
    pub field: BookField,
    /// The text after the equals sign: a header, or a value.
    pub text: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, text) = text.split_once('=').ok_or("must be FIELD=TEXT")?;
        Ok(Self { field: field.parse()?, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for field in BookField::ALL.into_iter().chain([BookField::Attribute("a.b".into())]) {
            assert_eq!(field.name().parse(), Ok(field.clone()));
            assert_eq!(BookField::of_header(&field.name()), Some(field));
        }
        assert_eq!(BookField::of_header("categoryId"), Some(CategoryId));
        assert_eq!(BookField::of_header("price.currencyCode"), Some(CurrencyCode));
        assert_eq!(BookField::of_header("Title"), None);
        assert_eq!(BookField::of_header("attributes."), None);
        assert!("etag".parse::<BookField>().is_err());
        assert_eq!(CurrencyCode.in_book(), "price");
        assert_eq!(BookField::Attribute("isbn".into()).in_book(), "attributes");
    }

    #[test]
    fn an_assignment_ends_its_field_at_the_first_equals_sign() {
        let read: Assignment = "title=a=b".parse().unwrap();
        assert_eq!(read, Assignment { field: Title, text: "a=b".into() });
        assert_eq!("title".parse::<Assignment>(), Err("must be FIELD=TEXT".into()));
        assert!("colour=x".parse::<Assignment>().unwrap_err().contains("\"colour\""));
    }
}
