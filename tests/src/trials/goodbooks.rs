//! Ten thousand real books are imported, exported and compared cell by cell with their source file.
//! Its path is in GOODBOOKS; the file is no part of the project.

use std::{collections::BTreeMap, env, path::Path, time::Instant};

use serde_json::{Map, Value as Json};

use crate::{Engine, Finished, TestServer, run};

/// The longest author of a book, in characters.
const LONGEST: usize = 255;

/// The mapping of columns.
const MAPPED: [(&str, &str); 5] = [
    ("author", "authors"),
    ("cover_image", "image_url"),
    ("attributes.isbn", "isbn"),
    ("attributes.language", "language_code"),
    ("attributes.original_title", "original_title"),
];

/// The values that the file lacks.
const DEFAULTS: [&str; 3] = ["price=9.99", "price.currency_code=USD", "stock=3"];

type Row = BTreeMap<String, String>;

/// Imports the file and exports it again, on each engine, in batches of this many rows.
pub(super) async fn goodbooks(batch_size: u32) {
    let path = env::var("GOODBOOKS").expect("the path of goodbooks_books.csv in GOODBOOKS");
    let source = rows(Path::new(&path), "book_id");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let folder = tempfile::tempdir().expect("a folder");
        let name = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (rejects, exported) = (name("rejects.csv"), name("books.csv"));
        let mut import = vec!["import".to_owned(), path.clone()];
        let mut option = |option: &str, value: &str| {
            import.extend([option.to_owned(), value.to_owned()]);
        };
        for (field, header) in MAPPED {
            option("--column", &format!("{field}={header}"));
        }
        DEFAULTS.iter().for_each(|value| option("--default", value));
        option("--column", "attributes.book_id=book_id");
        option("--id-from", "book_id");
        option("--rejects", &rejects);
        option("--batch-size", &batch_size.to_string());

        let start = Instant::now();
        let imported = client(&server, &import).await;
        let took = start.elapsed();
        assert!(matches!(imported.code, Some(0 | 3)), "{imported:?}");
        let start = Instant::now();
        let done = client(&server, &["export".to_owned(), exported.clone()]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        eprintln!("{engine:?}: import {took:?}, export {:?}", start.elapsed());
        eprint!("{}{}", imported.output, done.output);

        let rejects = match imported.code {
            Some(3) => rows(Path::new(&rejects), "book_id"),
            _ => BTreeMap::new(),
        };
        compare(&source, &rejects, &rows(Path::new(&exported), "id"));
    }
}

/// Asserts that every row of the source is unchanged among the books or among the rejects.
fn compare(
    source: &BTreeMap<String, Row>,
    rejects: &BTreeMap<String, Row>,
    books: &BTreeMap<String, Row>,
) {
    assert_eq!(source.len(), rejects.len() + books.len());
    let attributes = |book: &Row| -> Map<String, Json> {
        serde_json::from_str(&book["attributes"]).expect("a JSON object")
    };
    let books: BTreeMap<String, &Row> = books
        .values()
        .map(|book| (attributes(book)["book_id"].as_str().expect("a key").to_owned(), book))
        .collect();
    for (key, row) in source {
        if let Some(reject) = rejects.get(key) {
            let length = row["authors"].chars().count();
            assert!(length > LONGEST && reject["_reason"].ends_with(&format!("it has {length}")));
            assert!(row.iter().all(|(name, cell)| reject[name] == *cell), "{reject:?}");
            continue;
        }
        let book = books[key];
        let mut wanted = Map::from_iter([("book_id".to_owned(), key.as_str().into())]);
        for (field, header) in MAPPED {
            match field.strip_prefix("attributes.") {
                Some(_) if row[header].is_empty() => {}
                Some(name) => drop(wanted.insert(name.to_owned(), row[header].as_str().into())),
                None => assert_eq!(book[field], row[header], "{key}"),
            }
        }
        assert_eq!(attributes(book), wanted, "{key}");
        assert_eq!(book["title"], row["title"], "{key}");
        let rest = ["price", "price.currency_code", "stock", "category_id", "description"];
        assert_eq!(rest.map(|field| book[field].as_str()), ["9.99", "USD", "3", "", ""], "{key}");
    }
}

async fn client(server: &TestServer, arguments: &[String]) -> Finished {
    let url = format!("http://{}", server.address());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments, &[("BOOKSTORE_SERVER", &url)]).await
}

/// The rows of a file by one of their cells, each by its headers.
fn rows(path: &Path, key: &str) -> BTreeMap<String, Row> {
    let mut reader = csv::Reader::from_path(path).expect("a CSV file");
    let rows = reader.deserialize().map(|row| row.expect("a row"));
    rows.map(|row: Row| (row[key].clone(), row)).collect()
}
