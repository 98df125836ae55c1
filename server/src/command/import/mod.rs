//! `bookstore import`: books of a file into a running service.

mod convert;
mod cut;
mod draft;
mod mapping;
mod rejects;
mod resume;
mod session;
pub(super) mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bookstore_client::v1::{ImportBooksOptions, ImportMode};
use clap::{Args, builder::NonEmptyStringValueParser};
use prost_types::FieldMask;
use tokio::sync::mpsc;

use self::{
    cut::{Cutter, Piece},
    mapping::{ColumnMapping, MappingOptions, Places},
    rejects::{Rejects, RejectsMode, Shape},
    resume::Resume,
    session::{Counts, ImportSession, ImportStopped},
    source::{CsvSource, FileInput, JsonlSource, Raw, Source},
};
use super::{
    failure::Failure,
    print,
    transfer::{
        client::Service,
        field::{Assignment, BookField},
        format::{Format, delimiter, is_pipe},
        progress::Progress,
    },
};
use crate::shutdown::Signals;

/// The exit code of a complete import that rejected records.
const REJECTED: u8 = 3;

/// The arguments of `import`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 all records are in; 1 failed, nothing more is sent; 2 wrong \
    command line; 3 finished, records were rejected; 130 interrupted by Ctrl-C, 143 by SIGTERM. \
    docs/import-export.md tells more, with an example."
)]
pub struct Arguments {
    /// The file, which ends in .csv, .jsonl or .ndjson; - is standard input
    file: PathBuf,
    #[command(flatten)]
    service: Service,
    /// The file's format, if its name has another ending
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The column, or JSON key, of a field
    ///
    /// Takes a field of Book from a column, or from a key in JSON Lines. Without it the
    /// field is taken from the column of its own name. `attributes.KEY` is one attribute
    #[arg(long = "column", value_name = "FIELD=HEADER")]
    columns: Vec<Assignment>,
    /// The value of a field that is unset
    ///
    /// It stands for the field where its cell is unset or its column isn't there
    #[arg(long = "default", value_name = "FIELD=VALUE")]
    defaults: Vec<Assignment>,
    /// The text of a cell of CSV that is unset [default: the empty text]
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Makes each book's id of this column
    ///
    /// The same text gives the same id every time
    #[arg(long, value_name = "HEADER", value_parser = NonEmptyStringValueParser::new())]
    id_from: Option<String>,
    /// Changes the book that has the row's id
    ///
    /// Without it a row whose id a book has is rejected
    #[arg(long, value_parser = ["id"])]
    key: Option<String>,
    /// The fields to change; `*` is all
    ///
    /// They are changed in books that are there [default: for CSV those with a column or a default,
    /// for JSON Lines all]
    #[arg(
        long,
        value_name = "FIELD,...",
        value_delimiter = ',',
        requires = "key",
        value_parser = updatable
    )]
    update: Vec<String>,
    /// The separator of the cells of CSV; \t is a tab [default: ,]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// What stands before a quote within quotes
    ///
    /// For a file that doesn't double such quotes, as MySQL's exports, which have a backslash
    /// [default: quotes are doubled]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    escape: Option<u8>,
    /// The most records of a transaction
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 500,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    batch_size: u16,
    /// Resumes an import that stopped
    ///
    /// The file and the options are the same. All of it is sent again, or all from this batch on
    #[arg(long, value_name = "ID[:BATCH][@TIME]")]
    resume: Option<Resume>,
    /// Where rejected records are written
    ///
    /// [default: FILE.rejects.csv or .jsonl]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// A field as an update mask names it.
fn updatable(name: &str) -> Result<String, String> {
    let known = BookField::ALL.iter().filter(|field| field.is_updatable());
    let mut names: Vec<_> = known.map(BookField::in_book).collect();
    names.dedup();
    if name == "*" || names.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("an update changes {} or *", names.join(", ")))
}

/// Imports the file.
///
/// # Errors
/// If nothing was sent: the file, the options or the address can't be used.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let signals = Signals::install()?;
    let client = arguments.service.client()?;
    let (source, mapping, length) = arguments.open()?;
    let options = arguments.options(&mapping)?;
    let shape = match &mapping.places {
        Places::Columns { header, .. } => {
            Shape::Csv(header.clone(), arguments.delimiter.unwrap_or(b','), arguments.escape)
        }
        Places::Keys { .. } => Shape::Jsonl,
    };
    let start = arguments.resume.map_or(RejectsMode::New, |resume| match resume.batch {
        Some(_) => RejectsMode::Append,
        None => RejectsMode::Anew,
    });
    let rejects = Rejects::open(arguments.rejects_path(shape.format())?, shape, start)?;
    let progress = Progress::start(length);
    let id = options.import_id.clone();
    let file = arguments.file.display();
    progress.note(&format!("import {id}: {file} to {}", arguments.service.url()));
    if !mapping.ignored.is_empty() {
        progress.note(&format!("ignored: {}", mapping.ignored.join(", ")));
    }
    let first = arguments.resume.and_then(|resume| resume.batch).unwrap_or(1);
    let cutter = Cutter::new(source, mapping, usize::from(arguments.batch_size));
    let mut session = ImportSession {
        client: client.book_transfer(),
        options,
        pieces: read(cutter, first),
        rejects,
        progress,
        timer: arguments.service.timer(),
        signals,
        counts: Counts::default(),
        next: first,
        window: VecDeque::new(),
        sent: VecDeque::new(),
        begun: arguments.resume.and_then(|resume| resume.first_sent),
        key_expire_time: None,
        read: false,
    };
    let done = session.run().await;
    session.progress.end();
    let Counts { inserted, updated, rejected } = session.counts;
    print::line(&format!("inserted {inserted}"));
    print::line(&format!("updated {updated}"));
    match rejected {
        0 => print::line("rejected 0"),
        _ => print::line(&format!("rejected {rejected}, see {}", session.rejects.path().display())),
    }
    let code = match done {
        Ok(()) if rejected == 0 => return Ok(ExitCode::SUCCESS),
        Ok(()) => return Ok(ExitCode::from(REJECTED)),
        Err(ImportStopped::Interrupted(signal)) => {
            print::error("interrupted; every batch is in as a whole or not at all");
            ExitCode::from(signal.exit_code())
        }
        Err(ImportStopped::Failed(reason)) => {
            print::error(&format!("error: {reason}"));
            ExitCode::FAILURE
        }
    };
    let place = format!("{id}:{}@{}", session.next, resume::time(session.first_sent()));
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let again = resume::command(words, &place);
    let until = match session.key_expire_time {
        Some(until) => format!("to go on until {}", resume::time(until)),
        None => "to go on".to_owned(),
    };
    print::error(&format!("{until}, with the same file:\n  {again}"));
    Ok(code)
}

/// Reads and cuts the file in a thread of its own, only as far ahead as needed.
fn read(mut cutter: Cutter, first: i64) -> mpsc::Receiver<std::io::Result<Piece>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        loop {
            let piece = match cutter.next() {
                Ok(Some(piece)) if is_before(&piece, cutter.number(), first) => continue,
                Ok(Some(piece)) => Ok(piece),
                Ok(None) if cutter.number() + 1 < first => {
                    let reason = format!("there are only {} batches in it", cutter.number());
                    Err(std::io::Error::other(reason))
                }
                Ok(None) => return,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            // The receiver is gone once the import has ended.
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Whether a piece comes before this batch and was handled by an earlier run.
fn is_before(piece: &Piece, number: i64, first: i64) -> bool {
    piece.number.map_or(number + 1 < first, |number| number < first)
}

impl Arguments {
    /// The file's records, their mapping, and the file's length, if it is known.
    fn open(&self) -> Result<(Source, ColumnMapping, Option<u64>), String> {
        let format = Format::of(self.format, &self.file)?;
        let shown = self.file.display();
        let is_for_csv = self.delimiter.is_some() || self.null.is_some() || self.escape.is_some();
        if format == Format::Jsonl && is_for_csv {
            return Err("--delimiter, --escape and --null are for CSV; JSON has its own".into());
        }
        if self.escape.is_some_and(|escape| escape == self.delimiter.unwrap_or(b',')) {
            return Err("--escape and --delimiter name the same character".into());
        }
        let options = MappingOptions {
            columns: self.columns.clone(),
            defaults: self.defaults.clone(),
            id_from: self.id_from.clone(),
            null: self.null.clone().unwrap_or_default(),
        };
        let (input, length) =
            FileInput::open(&self.file).map_err(|error| format!("{shown}: {error}"))?;
        let (source, mapping) = match format {
            Format::Jsonl => {
                (Source::Jsonl(JsonlSource::new(input)), ColumnMapping::of_keys(&options)?)
            }
            Format::Csv => {
                let mut source = CsvSource::new(input, self.delimiter.unwrap_or(b','), self.escape);
                let header = source.next().map_err(|error| format!("{shown}: {error}"))?;
                let header = match header.map(|record| record.raw) {
                    Some(Raw::Cells(header)) => header,
                    Some(Raw::Misquoted { column, fault, .. }) => {
                        let (column, reason) = (column + 1, fault.reason());
                        return Err(format!("{shown}: column {column} of the header {reason}"));
                    }
                    Some(_) => {
                        return Err(format!(
                            "{shown}: the header is too large, or a quote in it is open"
                        ));
                    }
                    None => return Err(format!("{shown} is empty: it has no header")),
                };
                let mapping = ColumnMapping::of_header(&options, header);
                (
                    Source::Csv(Box::new(source)),
                    mapping.map_err(|reason| format!("{shown}: {reason}"))?,
                )
            }
        };
        mapping.check_defaults()?;
        Ok((source, mapping, length))
    }

    /// The options of the import as the service takes them.
    fn options(&self, mapping: &ColumnMapping) -> Result<ImportBooksOptions, String> {
        let mode = if self.key.is_some() { ImportMode::Upsert } else { ImportMode::Insert };
        let given = mapping.given();
        let named = self.update.iter().map(String::as_str).filter(|name| *name != "*");
        let missing = |name: &&str| given.as_ref().is_some_and(|given| !given.contains(name));
        if let Some(name) = named.clone().find(missing) {
            return Err(format!(
                "--update {name}: it has neither a column nor a default, so it would be cleared"
            ));
        }
        let all = self.update.iter().any(|name| name == "*");
        let paths: Vec<String> = match (&given, self.update.is_empty()) {
            _ if all => Vec::new(),
            (_, false) => named.map(str::to_owned).collect(),
            (Some(given), true) => {
                given.iter().filter(|name| **name != "id").map(|name| (*name).to_owned()).collect()
            }
            (None, true) => Vec::new(),
        };
        let masked = mode == ImportMode::Upsert && !paths.is_empty();
        Ok(ImportBooksOptions {
            import_id: self.resume.map_or_else(uuid::Uuid::now_v7, |resume| resume.id).to_string(),
            mode: mode.into(),
            key: self.key.clone().unwrap_or_default(),
            update_mask: masked.then_some(FieldMask { paths }),
            first_sent_time: None,
        })
    }

    fn rejects_path(&self, format: Format) -> Result<PathBuf, String> {
        let path = self.rejects.clone().unwrap_or_else(|| {
            let ending = format!("rejects.{}", format.ending());
            match is_pipe(&self.file) {
                true => Path::new("import").with_extension(ending),
                false => self.file.with_extension(ending),
            }
        });
        if path == self.file {
            return Err("--rejects names the file itself".into());
        }
        Ok(path)
    }
}
