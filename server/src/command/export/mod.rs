//! `bookstore export`: books of a running service into a file.

mod columns;
mod output_file;

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use bookstore_client::v1::{
    ExportBooksRequest, ExportBooksResponse, ListBooksRequest, TotalSizeMode,
    book_transfer_service_client::BookTransferServiceClient,
};
use bookstore_client::{CallOptions as _, Client, Error, IntoCall as _, ResumeTimer, Transport};
use clap::Args;
use tokio::time::sleep;
use tonic::Status;

use self::{columns::ExportColumns, output_file::OutputFile};
use super::{
    failure::Failure,
    print,
    transfer::{
        client::Service,
        field::Assignment,
        format::{Format, delimiter, is_pipe},
        progress::Progress,
    },
};
use crate::shutdown::{Signal, Signals};

/// The arguments of `export`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 all books are in the file; 1 failed and 2 wrong command line, \
    the file is as it was before; 130 interrupted by Ctrl-C, 143 by SIGTERM, likewise. \
    docs/import-export.md tells more."
)]
pub struct Arguments {
    /// The file, which ends in .csv, .jsonl or .ndjson; - is standard output
    file: PathBuf,
    #[command(flatten)]
    service: Service,
    /// The file's format, if its name has another ending
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The books to export, as a filter of ListBooks [default: all]
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
    /// The order, as an order_by of ListBooks [default: create_time desc]
    #[arg(long, value_name = "ORDER", default_value = "", hide_default_value = true)]
    order_by: String,
    /// A column, or a key in JSON Lines, and its field of Book. If any are given, only those are
    /// written
    #[arg(long = "column", value_name = "FIELD=HEADER")]
    columns: Vec<Assignment>,
    /// The text of a cell of CSV that is unset [default: the empty text]
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// The separator of the cells of CSV; \t is a tab [default: ,]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
}

/// Why an export stopped before its end.
enum ExportStopped {
    Failed(String),
    Interrupted(Signal),
}

impl From<String> for ExportStopped {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// Exports to the file.
///
/// # Errors
/// If it failed: the file is as it was before.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let signals = Signals::install()?;
    let client = arguments.service.client()?;
    let format = Format::of(arguments.format, &arguments.file)?;
    if format == Format::Jsonl && (arguments.delimiter.is_some() || arguments.null.is_some()) {
        return Err("--delimiter and --null are for CSV; JSON has its own".into());
    }
    let delimiter = arguments.delimiter.unwrap_or(b',');
    let null = arguments.null.clone().unwrap_or_default();
    let mut export = Export {
        columns: ExportColumns::new(format, &arguments.columns, null, delimiter)?,
        output: OutputFile::create(&arguments.file)?,
        books: client.book_transfer(),
        filter: arguments.filter.clone(),
        order_by: arguments.order_by.clone(),
        page_token: String::new(),
        timer: arguments.service.timer(),
        progress: Progress::start(arguments.total(&client).await),
        signals,
        count: 0,
    };
    let done = export.run().await;
    export.progress.end();
    let Export { columns, output, count, .. } = export;
    match done {
        Ok(()) => {}
        Err(ExportStopped::Failed(reason)) => return Err(reason.into()),
        Err(ExportStopped::Interrupted(signal)) => {
            print::error("interrupted; the file is as it was before");
            return Ok(ExitCode::from(signal.exit_code()));
        }
    }
    output.finish().await?;
    if columns.ambiguous() > 0 {
        print::error(&format!(
            "warning: {} cells have the text that stands for unset and will be read so; \
             --null takes another text, such as \\N",
            columns.ambiguous()
        ));
    }
    match is_pipe(&arguments.file) {
        true => print::error(&format!("exported {count}")),
        false => print::line(&format!("exported {count}")),
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// The total for the progress bar. None if standard error is no terminal or the count fails.
    async fn total(&self, client: &Client) -> Option<u64> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let request = ListBooksRequest {
            page_size: 1,
            filter: self.filter.clone(),
            order_by: self.order_by.clone(),
            total_size_mode: TotalSizeMode::Exact.into(),
            ..Default::default()
        };
        let request = request.into_call().wait_for_ready(false);
        let answer = client.books().list_books(request).await.ok()?;
        u64::try_from(answer.into_inner().total_size?).ok()
    }
}

/// A running export.
struct Export {
    columns: ExportColumns,
    output: OutputFile,
    books: BookTransferServiceClient<Transport>,
    filter: String,
    order_by: String,
    /// The page token of the next stream: behind all that is written.
    page_token: String,
    timer: ResumeTimer,
    progress: Progress,
    signals: Signals,
    count: u64,
}

/// How one stream ended.
enum ExportStreamEnd {
    Stream(Option<Status>),
    Export(ExportStopped),
}

impl From<Status> for ExportStreamEnd {
    fn from(status: Status) -> Self {
        Self::Stream(Some(status))
    }
}

impl From<ExportStopped> for ExportStreamEnd {
    fn from(stopped: ExportStopped) -> Self {
        Self::Export(stopped)
    }
}

impl Export {
    async fn run(&mut self) -> Result<(), ExportStopped> {
        let header = self.columns.header()?;
        self.write(header).await?;
        loop {
            let status = match self.stream().await {
                Ok(()) => return Ok(()),
                Err(ExportStreamEnd::Export(stopped)) => return Err(stopped),
                Err(ExportStreamEnd::Stream(status)) => status,
            };
            let error = status.map(Error::from);
            let reason =
                error.as_ref().map_or("the stream ended too early".into(), ToString::to_string);
            let first = self.timer.is_fresh();
            let pause = self.timer.pause(error.as_ref());
            let Some(pause) = pause else { return Err(ExportStopped::Failed(reason)) };
            if first {
                self.progress.note(&format!("trying again: {reason}"));
            }
            tokio::select! {
                () = sleep(pause) => {}
                signal = self.signals.wait() => return Err(ExportStopped::Interrupted(signal)),
            }
        }
    }

    async fn stream(&mut self) -> Result<(), ExportStreamEnd> {
        let request = ExportBooksRequest {
            filter: self.filter.clone(),
            order_by: self.order_by.clone(),
            page_token: self.page_token.clone(),
        };
        // The outer loop waits and prints the reason.
        let request = request.into_call().wait_for_ready(false);
        let mut client = self.books.clone();
        let mut answers = tokio::select! {
            answer = client.export_books(request) => answer?.into_inner(),
            signal = self.signals.wait() => return Err(ExportStopped::Interrupted(signal).into()),
        };
        loop {
            let message = tokio::select! {
                message = answers.message() => message?,
                signal = self.signals.wait() => return Err(ExportStopped::Interrupted(signal).into()),
            };
            let Some(ExportBooksResponse { books, next_page_token }) = message else {
                return Err(ExportStreamEnd::Stream(None));
            };
            let bytes = self.columns.books(&books).map_err(ExportStopped::Failed)?;
            self.write(bytes).await?;
            self.timer.reset();
            self.count += books.len() as u64;
            self.progress.update(self.count, self.count, 0);
            if next_page_token.is_empty() {
                return Ok(());
            }
            self.page_token = next_page_token;
        }
    }

    /// Passes bytes to the writer, which may be slow.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), ExportStopped> {
        tokio::select! {
            done = self.output.write(bytes) => Ok(done?),
            signal = self.signals.wait() => Err(ExportStopped::Interrupted(signal)),
        }
    }
}
