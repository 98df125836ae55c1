//! From a file's bytes to batches and rejects, without a service.

use std::io::Cursor;

use bookstore_client::v1::ImportBooksRow;

use super::{cut::Reject, *};

fn options(columns: &[&str], defaults: &[&str]) -> MappingOptions {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    MappingOptions { columns: read(columns), defaults: read(defaults), ..MappingOptions::default() }
}

fn csv(text: &[u8], options: &MappingOptions, size: usize) -> (Cutter, Shape) {
    csv_with(None, text, options, size)
}

/// As [`csv`], with `--escape`.
fn csv_with(
    escape: Option<u8>,
    text: &[u8],
    options: &MappingOptions,
    size: usize,
) -> (Cutter, Shape) {
    let input = FileInput::new(Cursor::new(text.to_vec())).unwrap();
    let mut source = CsvSource::new(input, b',', escape);
    let Some(Raw::Cells(header)) = source.next().unwrap().map(|record| record.raw) else {
        unreachable!("a header")
    };
    let mapping = ColumnMapping::of_header(options, header.clone()).unwrap();
    (Cutter::new(Source::Csv(Box::new(source)), mapping, size), Shape::Csv(header, b',', escape))
}

fn jsonl(text: &str, options: &MappingOptions) -> Cutter {
    let source = JsonlSource::new(FileInput::new(Cursor::new(text.as_bytes().to_vec())).unwrap());
    Cutter::new(Source::Jsonl(source), ColumnMapping::of_keys(options).unwrap(), 1_000)
}

fn pieces(mut cutter: Cutter) -> Vec<Piece> {
    std::iter::from_fn(|| cutter.next().unwrap()).collect()
}

/// All rows and all rejects of all pieces.
fn parts(cutter: Cutter) -> (Vec<ImportBooksRow>, Vec<Reject>) {
    let (rows, rejects): (Vec<_>, Vec<_>) =
        pieces(cutter).into_iter().map(|piece| (piece.rows, piece.rejects)).unzip();
    (rows.concat(), rejects.concat())
}

fn reported(rejects: &[Reject]) -> Vec<String> {
    let reported = |reject: &Reject| {
        let violations = reject.violations.iter();
        let violations: Vec<_> = violations
            .map(|violation| format!("{} {}", violation.field, violation.reason))
            .collect();
        format!("{}: {}", reject.line, violations.join("; "))
    };
    rejects.iter().map(reported).collect()
}

const PRICED: [&str; 2] = ["price=1.5", "price.currency_code=USD"];

#[test]
fn cells_are_converted_to_values() {
    let text = "id,title,author,price,stock,category_id,attributes,isbn,description\n\
        a,T,A,12.50,7,c,\"{\"\"n\"\":1,\"\"isbn\"\":2}\",x,\n\
        b,T,A,,,,,,d\n";
    let options =
        options(&["attributes.isbn=isbn"], &["price=1.5", "price.currency_code=USD", "stock=3"]);
    let (rows, rejects) = parts(csv(text.as_bytes(), &options, 10).0);
    assert!(rejects.is_empty());
    let [first, second] = rows.try_into().unwrap();
    assert_eq!((first.line, first.id.as_str()), (2, "a"));
    let book = first.book.unwrap();
    let price = book.price.unwrap();
    assert_eq!((price.units, price.nanos, price.currency_code.as_str()), (12, 500_000_000, "USD"));
    assert_eq!((book.stock, book.category_id.as_deref()), (7, Some("c")));
    assert_eq!(book.description, None);
    let attributes = crate::command::transfer::json::object(&book.attributes.unwrap());
    assert_eq!(attributes.to_string(), r#"{"isbn":"x","n":1}"#);

    let book = second.book.unwrap();
    assert_eq!((book.price.unwrap().units, book.stock), (1, 3));
    assert_eq!((book.category_id, book.attributes), (None, None));
    assert_eq!(book.description.as_deref(), Some("d"));
}

#[test]
fn any_text_can_stand_for_unset() {
    let mut options = options(&[], &PRICED);
    options.null = "\\N".into();
    let text = b"title,author,description,cover_image\nT,A,\\N,\n";
    let (rows, _) = parts(csv(text, &options, 10).0);
    let book = rows[0].book.as_ref().unwrap();
    assert_eq!((book.description.as_deref(), book.cover_image.as_deref()), (None, Some("")));
}

#[test]
fn the_same_text_makes_the_same_id() {
    let mut options = options(&[], &PRICED);
    options.id_from = Some("isbn".into());
    let (rows, rejects) =
        parts(csv(b"isbn,title,author\n978,T,A\n,T,A\n978,T,A\n", &options, 10).0);
    let id = "64c4abff-29dc-52ba-b53f-fbd9e520f4ec";
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [id, id]);
    assert_eq!(reported(&rejects), ["3: id is made of \"isbn\", which is empty"]);
    let lines = "{\"isbn\":\"978\",\"title\":\"T\"}\n{\"isbn\":978}\n{\"isbn\":null}\n{}";
    let (rows, rejects) = parts(jsonl(lines, &options));
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [id, id]);
    assert_eq!(rejects.len(), 2);
}

#[test]
fn an_unreadable_record_is_reported_with_its_line() {
    let text = b"title,author,price,stock,attributes\n\
        \"T\n2\",A,1,1,\n\
        T,A,1e3,many,[1]\n\
        T,A,1\n\
        T,A,1,1,,\n\
        \xff,A,1,1,{\n";
    let (rows, rejects) = parts(csv(text, &options(&[], &["price.currency_code=USD"]), 10).0);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        reported(&rejects),
        [
            "4: price must be a decimal number such as 12.5; it is \"1e3\"; \
             stock must be a whole number; it is \"many\"; attributes must be a JSON object",
            "5:  the record has 3 cells, the header has 5",
            "6:  the record has 6 cells, the header has 5",
            "7: title is not UTF-8; \
             attributes must be a JSON object: EOF while parsing an object at character 1",
        ]
    );
}

#[test]
fn json_lines_are_nested_or_flat() {
    let text = r#"{"title":"T","author":"A","price":{"currencyCode":"USD","units":"12","nanos":5000},"stock":2,"etag":"x"}
{"title":"T","author":"A","price":12.10,"price.currency_code":"EUR","attributes.n":[1],"categoryId":null}
{"title":"T","author":"A","price":"0.000001","year":1}
{"title":"T","author":"A","price":{"currency_code":"USD"},"price.currency_code":"EUR","title":"U"}
{"title":7,"price":{"cents":1}}
{"_raw":"{","_line":3}
"#;
    let mut cutter = jsonl(text, &options(&[], &["price.currency_code=CHF"]));
    let piece = cutter.next().unwrap().unwrap();
    let price = |at: usize| {
        let price = piece.rows[at].book.as_ref().unwrap().price.clone().unwrap();
        (price.units, price.nanos, price.currency_code)
    };
    assert_eq!(price(0), (12, 5_000, "USD".to_owned()));
    assert_eq!(price(1), (12, 100_000_000, "EUR".to_owned()));
    assert_eq!(price(2), (0, 1_000, "CHF".to_owned()));
    assert_eq!(piece.ignored, ["etag", "year"]);
    assert_eq!(
        reported(&piece.rejects),
        [
            "4: price.currency_code has two currencies, \"USD\" and \"EUR\"; \
             title stands twice in the line",
            "5: title must be a text, in quotes; price must have units and nanos; it has \"cents\"",
            "6:  the text in _raw is still to be mended",
        ]
    );
}

#[test]
fn a_file_is_cut_the_same_way_every_time() {
    let row = |at: usize| format!("T{at},A,{}\n", "d".repeat(if at == 5 { 900_000 } else { 10 }));
    let bad = "only one\n".repeat(4);
    let body: String = (0..10).map(row).collect();
    let huge = format!("T,A,{}\n", "d".repeat((1 << 20) - 20));
    let text = format!("title,author,description\n{bad}{body}{huge}{bad}");
    let cut = || {
        let (cutter, _) = csv(text.as_bytes(), &options(&[], &PRICED), 4);
        let pieces = pieces(cutter).into_iter();
        let cut = pieces.map(|piece| (piece.number, piece.rows.len(), piece.rejects.len()));
        cut.collect::<Vec<_>>()
    };
    let wanted = [(None, 0, 4), (Some(1), 4, 0), (Some(2), 4, 0), (Some(3), 2, 1), (None, 0, 4)];
    assert_eq!(cut(), wanted);
    assert_eq!(cut(), wanted);
    // Bytes end a batch as well.
    let two = format!("title,author,description\n{}{}T,A,\n", row(5), row(5));
    let (cutter, _) = csv(two.as_bytes(), &options(&[], &PRICED), 4);
    let rows: Vec<_> = pieces(cutter).iter().map(|piece| piece.rows.len()).collect();
    assert_eq!(rows, [1, 2]);
}

#[test]
fn corrected_rejects_can_be_imported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    let text = b"title,author,price,note\n\"T, \"\"1\"\"\",A,x,\xff\nT,A\nT,A,1,2,3\nT,A,,\n";
    let options = options(&[], &["price.currency_code=USD"]);
    let (cutter, shape) = csv(text, &options, 10);
    let (rows, rejects) = parts(cutter);
    assert_eq!((rows.len(), rejects.len()), (1, 3));
    let open = |start| Rejects::open(path.clone(), shape.clone(), start);
    open(RejectsMode::New).unwrap().write(&[]).unwrap();
    assert!(!path.exists(), "made without a reject");
    open(RejectsMode::New).unwrap().write(&rejects[..2]).unwrap();
    assert!(open(RejectsMode::New).is_err_and(|reported| reported.contains("is there already")));

    // A resumed import writes no reject twice.
    open(RejectsMode::Append).unwrap().write(&rejects).unwrap();
    let written = std::fs::read(&path).unwrap();
    let wanted = b"_line,_field,_reason,title,author,price,note\n\
        2,price,\"price must be a decimal number such as 12.5; it is \"\"x\"\"\",\"T, \"\"1\"\"\",A,x,\xff\n\
        3,,\"the record has 2 cells, the header has 4\",T,A\n\
        4,,\"the record has 5 cells, the header has 4\",T,A,1,2,3\n";
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(wanted));
    assert_eq!(written, wanted);
    open(RejectsMode::Anew).unwrap().write(&rejects).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), wanted);

    // Read again they are the same rejects, and the notes map to no field.
    let (cutter, shape) = csv(wanted, &options, 10);
    let again = parts(cutter).1;
    assert_eq!(again.len(), 3);
    let other = folder.path().join("again.csv");
    Rejects::open(other.clone(), shape, RejectsMode::New).unwrap().write(&again).unwrap();
    let other = String::from_utf8_lossy(&std::fs::read(other).unwrap()).into_owned();
    assert!(other.starts_with("_line,_field,_reason,title,author,price,note\n2,price,"), "{other}");
    assert_eq!(other.lines().count(), 4);

    let mended = String::from_utf8_lossy(wanted).replace(",A,x,", ",A,9,");
    let (rows, rejects) = parts(csv(mended.as_bytes(), &options, 10).0);
    assert_eq!((rows.len(), rejects.len()), (1, 2));
    assert_eq!(rows[0].book.as_ref().unwrap().title, "T, \"1\"");
}

#[test]
fn misquoted_record_keeps_its_cells_in_each_round() {
    let folder = tempfile::tempdir().unwrap();
    for (escape, record) in [
        (None, r#""T, ""1""","A" B,1"#),
        (Some(b'\\'), r#""T, \"1\"","A" B,1"#),
        (Some(b'\\'), r#"T,"A\nB",1"#),
    ] {
        let round = |number: u32, text: &[u8]| {
            let (cutter, shape) = csv_with(escape, text, &options(&[], &PRICED), 10);
            let path = folder.path().join(format!("{number}.csv"));
            let mut file = Rejects::open(path.clone(), shape, RejectsMode::Append).unwrap();
            file.write(&parts(cutter).1).unwrap();
            let written = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            String::from_utf8(written).unwrap()
        };
        let first = round(1, format!("title,author,stock\n{record}\n").as_bytes());
        assert!(first.ends_with(&format!(",{record}\n")), "{first}");
        assert_eq!(round(2, first.as_bytes()), first);
    }
}

#[cfg(unix)]
#[test]
fn replaced_rejects_file_keeps_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    let (cutter, shape) = csv(b"title,author,stock\nT,A,x\n", &options(&[], &PRICED), 10);
    std::fs::write(&path, "old").unwrap();
    // Only root may give a file away.
    let _ = chown(&path, Some(12_345), Some(12_345));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let of = |path| std::fs::metadata(path).map(|it| (it.uid(), it.gid(), it.mode())).unwrap();
    let before = of(&path);
    let mut file = Rejects::open(path.clone(), shape, RejectsMode::Anew).unwrap();
    file.write(&parts(cutter).1).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("_line,"));
    assert_eq!(of(&path), before);
}

#[test]
fn rejected_json_lines_keep_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let text = "{\"title\":\"T\",\"stock\":1.50, \"n\" : 1e400 }\nno json\n{\"_line\":9,\"stock\":\"x\"}\n";
    let rejects = parts(jsonl(text, &options(&[], &[]))).1;
    let mut file = Rejects::open(path.clone(), Shape::Jsonl, RejectsMode::New).unwrap();
    file.write(&rejects).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = written.lines().collect();
    assert!(lines[1].ends_with(",\"_raw\":\"no json\"}"), "{written}");
    assert!(
        lines[2].starts_with("{\"_line\":3,\"_field\":\"stock\",")
            && lines[2].ends_with(",\"stock\":\"x\"}"),
        "{written}"
    );
    let mut file = Rejects::open(path.clone(), Shape::Jsonl, RejectsMode::Append).unwrap();
    file.write(&rejects).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}
