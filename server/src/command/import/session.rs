//! The stream that carries an import: batches out, acknowledgements in, and again from the
//! first batch without one when it breaks.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use bookstore_client::v1::{
    ImportBooksAcknowledgement, ImportBooksBatch, ImportBooksEnd, ImportBooksOptions,
    ImportBooksRequest, ImportBooksResponse,
    book_transfer_service_client::BookTransferServiceClient, import_books_request::Step,
    import_books_response::Step as Answer,
};
use bookstore_client::{CallOptions as _, Error, ResumeTimer, Transport};
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

/// How long an interrupted import waits for what is on its way.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Why an import stopped before its end.
#[derive(Debug)]
pub enum ImportStopped {
    /// Nothing more can be done about it here.
    Failed(String),
    /// A person or the system asked for it.
    Interrupted(Signal),
}

impl From<String> for ImportStopped {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// What became of the rows so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Books that are new.
    pub inserted: i64,
    /// Books that were there.
    pub updated: i64,
    /// Records that weren't imported.
    pub rejected: i64,
}

/// An import under way.
pub struct ImportSession {
    /// Where it goes.
    pub client: BookTransferServiceClient<Transport>,
    /// What every stream of it begins with.
    pub options: ImportBooksOptions,
    /// The pieces of the file, in their order.
    pub pieces: mpsc::Receiver<io::Result<Piece>>,
    /// Where rejects go.
    pub rejects: Rejects,
    /// Where it is told how far it is.
    pub progress: Progress,
    /// How long to go on after failures.
    pub timer: ResumeTimer,
    /// How it is asked to stop.
    pub signals: Signals,
    /// What became of the rows so far.
    pub counts: Counts,
    /// The next batch to be acknowledged.
    pub next: i64,
    /// Pieces that aren't acknowledged, in their order.
    pub window: VecDeque<Piece>,
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
    /// Carries the import to its end.
    ///
    /// # Errors
    /// Why it stopped before. What was acknowledged is counted then.
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
        let _ = sender.try_send(step(Step::Options(self.options.clone())));
        let mut sender = Some(sender);
        // The loop around this waits by itself, and tells why.
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
                        // The stream is gone; its answers say why.
                        self.acknowledge(answers.message().await?)?;
                        continue;
                    };
                    permit.send(step(Step::Batch(ImportBooksBatch {
                        number,
                        rows: piece.rows.clone(),
                    })));
                    (sent, rows) = (sent + 1, rows + length(piece.rows.len()));
                    last_sent = number;
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

    /// Nothing is sent any more: waits for the answers to what is on its way.
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

    /// Everything is acknowledged: says so, and lets the service compare its counts.
    async fn end(
        &mut self,
        sender: Option<mpsc::Sender<ImportBooksRequest>>,
        mut answers: Streaming<ImportBooksResponse>,
        batches: i64,
        rows: i64,
    ) -> Result<(), ImportStreamEnd> {
        let end = ImportBooksRequest { step: Some(Step::End(ImportBooksEnd { batches, rows })) };
        if let Some(sender) = sender {
            // If the stream is gone, its answers say why.
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
            // Every batch is committed and acknowledged: nothing is left to be tried again.
            Err(status) if Error::from(status.clone()).is_transient() => Ok(()),
            Err(status) => Err(status.into()),
        }
    }

    /// A piece of the file came, or its end.
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
        self.counts.inserted += acknowledgement.inserted;
        self.counts.updated += acknowledgement.updated;
        self.finish(piece, Some(acknowledgement))?;
        self.settle()?;
        Ok(())
    }

    /// Lets go of pieces that wait for no acknowledgement.
    fn settle(&mut self) -> Result<(), ImportStopped> {
        while self.window.front().is_some_and(|piece| piece.number.is_none()) {
            if let Some(piece) = self.window.pop_front() {
                self.finish(piece, None)?;
            }
        }
        Ok(())
    }

    /// Writes what was rejected of a piece, and tells how far the import is.
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
        self.progress.tell(piece.read, count(inserted + updated + rejected), count(rejected));
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
