//! The stream of an import: sends batches, receives acknowledgements, and resumes at the first
//! batch without one after a break.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    time::SystemTime,
};

use bookstore_client::v1::{
    ImportBooksAcknowledgement, ImportBooksBatch, ImportBooksEnd, ImportBooksOptions,
    ImportBooksRequest, ImportBooksResponse,
    book_transfer_service_client::BookTransferServiceClient, import_books_request::Step,
    import_books_response::Step as Answer,
};
use bookstore_client::{CallOptions as _, Error, ResumeTimer, Transport};
use prost_types::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::{
    cut::{Piece, Reject},
    draft::RecordViolation,
    rejects::Rejects,
};
use crate::{
    command::transfer::progress::Progress,
    shutdown::{Signal, Signals},
};

/// The most pieces that were sent and not acknowledged.
const WINDOW: usize = 3;

/// How long an interrupted import waits for acknowledgements of sent batches.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Why an import stopped before its end.
#[derive(Debug)]
pub enum ImportStopped {
    /// It failed, and a retry can't help.
    Failed(String),
    /// A signal stopped it.
    Interrupted(Signal),
}

impl From<String> for ImportStopped {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// The counts of rows so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Books that are new.
    pub inserted: i64,
    /// Books that existed.
    pub updated: i64,
    /// Records that weren't imported.
    pub rejected: i64,
}

/// A running import.
pub struct ImportSession {
    /// The client of the service.
    pub client: BookTransferServiceClient<Transport>,
    /// What every stream of it begins with.
    pub options: ImportBooksOptions,
    /// The pieces of the file, in their order.
    pub pieces: mpsc::Receiver<io::Result<Piece>>,
    /// Where rejects go.
    pub rejects: Rejects,
    /// The progress display.
    pub progress: Progress,
    /// How long to go on after failures.
    pub timer: ResumeTimer,
    /// The signals that stop it.
    pub signals: Signals,
    /// What became of the rows so far.
    pub counts: Counts,
    /// The next batch to be acknowledged.
    pub next: i64,
    /// Pieces that aren't acknowledged, in their order.
    pub window: VecDeque<Piece>,
    /// The batches that were sent and not acknowledged, with the time when each was first sent.
    pub sent: VecDeque<(i64, SystemTime)>,
    /// When the first batch of a resumed import was first sent, or earlier.
    pub begun: Option<SystemTime>,
    /// Until when the last acknowledged batch is known to the service.
    pub key_expire_time: Option<SystemTime>,
    /// Whether the window holds the last piece.
    pub read: bool,
}

/// How one stream ended.
enum ImportStreamEnd {
    Stream(Status),
    Ended,
    Import(ImportStopped),
}

impl From<Status> for ImportStreamEnd {
    fn from(status: Status) -> Self {
        Self::Stream(status)
    }
}

impl From<ImportStopped> for ImportStreamEnd {
    fn from(stopped: ImportStopped) -> Self {
        Self::Import(stopped)
    }
}

impl ImportSession {
    /// When the next batch to be acknowledged was first sent, or earlier; now if it wasn't.
    #[must_use]
    pub fn first_sent(&self) -> SystemTime {
        let sent = self.sent.front().map(|(_, time)| *time);
        self.begun.or(sent).unwrap_or_else(SystemTime::now)
    }

    /// Runs the import to its end.
    ///
    /// # Errors
    /// Why it stopped early. Acknowledged batches are counted.
    pub async fn run(&mut self) -> Result<(), ImportStopped> {
        loop {
            self.fill().await?;
            if self.window.is_empty() {
                return Ok(());
            }
            let status = match self.stream().await {
                Ok(()) => return Ok(()),
                Err(ImportStreamEnd::Import(stopped)) => return Err(stopped),
                Err(ImportStreamEnd::Stream(status)) => Some(status),
                Err(ImportStreamEnd::Ended) => None,
            };
            let error = status.map(Error::from);
            let reason =
                error.as_ref().map_or("the stream ended too early".into(), ToString::to_string);
            let first = self.timer.is_fresh();
            let Some(pause) = self.timer.pause(error.as_ref()) else {
                return Err(ImportStopped::Failed(reason));
            };
            if first {
                self.progress.note(&format!("trying again: {reason}"));
            }
            tokio::select! {
                () = sleep(pause) => {}
                signal = self.signals.wait() => return Err(ImportStopped::Interrupted(signal)),
            }
        }
    }

    /// Waits until there is a batch to send; pieces without one need no service.
    async fn fill(&mut self) -> Result<(), ImportStopped> {
        while !self.read && !self.window.iter().any(|piece| piece.number.is_some()) {
            tokio::select! {
                piece = self.pieces.recv() => self.take(piece)?,
                signal = self.signals.wait() => return Err(ImportStopped::Interrupted(signal)),
            }
            self.settle()?;
        }
        Ok(())
    }

    /// One stream: it sends the whole window, and on from there.
    async fn stream(&mut self) -> Result<(), ImportStreamEnd> {
        let (sender, receiver) = mpsc::channel(1);
        let step = |step| ImportBooksRequest { step: Some(step) };
        // The channel is new and takes one.
        let sent = self.begun.or(self.sent.front().map(|(_, time)| *time));
        let first_sent_time = sent.map(Timestamp::from);
        let options = ImportBooksOptions { first_sent_time, ..self.options.clone() };
        let _ = sender.try_send(step(Step::Options(options)));
        let mut sender = Some(sender);
        // The outer loop waits and prints the reason.
        let request = Request::new(ReceiverStream::new(receiver)).wait_for_ready(false);
        let mut client = self.client.clone();
        let mut answers = tokio::select! {
            answer = client.import_books(request) => answer?.into_inner(),
            signal = self.signals.wait() => return Err(ImportStopped::Interrupted(signal).into()),
        };
        let (mut sent, mut rows) = (0, 0);
        let mut last_sent = self.next - 1;
        loop {
            let waiting = self.window.iter().find_map(|piece| {
                piece.number.filter(|number| *number > last_sent).map(|number| (number, piece))
            });
            let all_sent = waiting.is_none() && self.read;
            if all_sent && self.window.is_empty() && sender.is_some() {
                return self.end(sender.take(), answers, sent, rows).await;
            }
            let room = self.window.len() < WINDOW && !self.read;
            tokio::select! {
                answer = answers.message() => {
                    self.acknowledge(answer?)?;
                }
                permit = reserve(sender.as_ref()), if waiting.is_some() => {
                    let Some((number, piece)) = waiting else { continue };
                    let Some(permit) = permit else {
                        // The stream has ended; its answers hold the reason.
                        self.acknowledge(answers.message().await?)?;
                        continue;
                    };
                    permit.send(step(Step::Batch(ImportBooksBatch {
                        number,
                        rows: piece.rows.clone(),
                    })));
                    (sent, rows) = (sent + 1, rows + length(piece.rows.len()));
                    last_sent = number;
                    if self.sent.back().is_none_or(|(last, _)| *last < number) {
                        self.sent.push_back((number, SystemTime::now()));
                    }
                }
                piece = self.pieces.recv(), if room => {
                    self.take(piece)?;
                    self.settle()?;
                }
                signal = self.signals.wait() => {
                    return Err(self.stop(signal, answers, last_sent).await.into());
                }
            }
        }
    }

    /// Sends no more batches and waits for the acknowledgements of sent ones.
    async fn stop(
        &mut self,
        signal: Signal,
        mut answers: Streaming<ImportBooksResponse>,
        last_sent: i64,
    ) -> ImportStopped {
        let latest = Instant::now() + LAST_ANSWERS;
        while self.next <= last_sent {
            tokio::select! {
                answer = answers.message() => {
                    let Ok(answer) = answer else { break };
                    if self.acknowledge(answer).is_err() {
                        break;
                    }
                }
                () = sleep_until(latest) => break,
                again = self.signals.wait() => again.end_process(),
            }
        }
        ImportStopped::Interrupted(signal)
    }

    /// All batches are acknowledged: sends the end, so that the service compares the counts.
    async fn end(
        &mut self,
        sender: Option<mpsc::Sender<ImportBooksRequest>>,
        mut answers: Streaming<ImportBooksResponse>,
        batches: i64,
        rows: i64,
    ) -> Result<(), ImportStreamEnd> {
        let end = ImportBooksRequest { step: Some(Step::End(ImportBooksEnd { batches, rows })) };
        if let Some(sender) = sender {
            // If the stream has ended, its answers hold the reason.
            let _ = sender.send(end).await;
        }
        let answer = tokio::select! {
            answer = answers.message() => answer,
            signal = self.signals.wait() => return Err(ImportStopped::Interrupted(signal).into()),
        };
        match answer {
            Ok(answer) => match answer.and_then(|answer| answer.step) {
                Some(Answer::Summary(summary)) if summary.batches == batches => Ok(()),
                other => Err(odd(&format!("{other:?} instead of the summary")).into()),
            },
            // Every batch is committed and acknowledged, so there is nothing to retry.
            Err(status) if Error::from(status.clone()).is_transient() => Ok(()),
            Err(status) => Err(status.into()),
        }
    }

    /// Takes a piece of the file, or its end.
    fn take(&mut self, piece: Option<io::Result<Piece>>) -> Result<(), ImportStopped> {
        match piece {
            Some(Ok(piece)) => {
                if !piece.ignored.is_empty() {
                    self.progress.note(&format!("ignored: {}", piece.ignored.join(", ")));
                }
                self.window.push_back(piece);
            }
            Some(Err(error)) => return Err(ImportStopped::Failed(format!("the file: {error}"))),
            None => self.read = true,
        }
        Ok(())
    }

    fn acknowledge(&mut self, answer: Option<ImportBooksResponse>) -> Result<(), ImportStreamEnd> {
        let Some(answer) = answer else { return Err(ImportStreamEnd::Ended) };
        let step = answer.step;
        let Some(Answer::Acknowledgement(acknowledgement)) = step else {
            return Err(odd(&format!("{step:?} instead of an acknowledgement")).into());
        };
        let expected = self.window.front().and_then(|piece| piece.number);
        if expected != Some(acknowledgement.number) {
            let reason =
                format!("acknowledgement {} instead of {expected:?}", acknowledgement.number);
            return Err(odd(&reason).into());
        }
        self.timer.reset();
        let Some(piece) = self.window.pop_front() else { return Ok(()) };
        self.next = acknowledgement.number + 1;
        self.begun = None;
        self.sent.retain(|(number, _)| *number > acknowledgement.number);
        let until = acknowledgement.key_expire_time.and_then(|time| time.try_into().ok());
        self.key_expire_time = until.or(self.key_expire_time);
        self.counts.inserted += acknowledgement.inserted;
        self.counts.updated += acknowledgement.updated;
        self.finish(piece, Some(acknowledgement))?;
        self.settle()?;
        Ok(())
    }

    /// Drops pieces that need no acknowledgement.
    fn settle(&mut self) -> Result<(), ImportStopped> {
        while self.window.front().is_some_and(|piece| piece.number.is_none()) {
            if let Some(piece) = self.window.pop_front() {
                self.finish(piece, None)?;
            }
        }
        Ok(())
    }

    /// Writes the rejects of a piece and updates the progress.
    fn finish(
        &mut self,
        piece: Piece,
        acknowledgement: Option<ImportBooksAcknowledgement>,
    ) -> Result<(), ImportStopped> {
        let mut reasons: BTreeMap<i64, Vec<RecordViolation>> = BTreeMap::new();
        for rejection in acknowledgement.into_iter().flat_map(|given| given.rejections) {
            let violations = reasons.entry(rejection.line).or_default();
            violations.push(RecordViolation { field: rejection.field, reason: rejection.reason });
        }
        let mut rejects = piece.rejects;
        for (row, raw) in piece.rows.into_iter().zip(piece.raws) {
            if let Some(violations) = reasons.remove(&row.line) {
                rejects.push(Reject { line: row.line, raw, violations });
            }
        }
        rejects.sort_by_key(|reject| reject.line);
        self.counts.rejected += length(rejects.len());
        let shown = self.rejects.path().display().to_string();
        self.rejects.write(&rejects).map_err(|error| format!("{shown}: {error}"))?;
        let Counts { inserted, updated, rejected } = self.counts;
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        self.progress.update(piece.read, count(inserted + updated + rejected), count(rejected));
        Ok(())
    }
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

async fn reserve(
    sender: Option<&mpsc::Sender<ImportBooksRequest>>,
) -> Option<mpsc::Permit<'_, ImportBooksRequest>> {
    sender?.reserve().await.ok()
}

fn odd(reason: &str) -> ImportStopped {
    ImportStopped::Failed(format!("the service answered {reason}"))
}
