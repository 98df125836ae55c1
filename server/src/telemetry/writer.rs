//! Writes the log to standard error on a thread of its own. A call only appends its line to a
//! queue, so that no call waits for the reader of the log. If the queue is full, the line is dropped
//! and counted.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::meters::LOG_LINES_DROPPED;

/// The most bytes that wait to be written. As many can be on their way to the reader.
const ROOM: usize = 1 << 20;

/// The least time between two writes, so that under load each has many lines.
const GATHER: Duration = Duration::from_millis(5);

/// How long the thread waits if standard error has no room and does not block.
const FULL: Duration = Duration::from_millis(5);

static LOG: OnceLock<Arc<Queue>> = OnceLock::new();

/// The lines that wait to be written.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the thread.
    filled: Condvar,
    /// Wakes those who wait until everything is written.
    written: Condvar,
    /// Lines that were dropped and not yet reported.
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    is_writing: bool,
    is_urgent: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line, or drops and counts it.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > ROOM {
            drop(waiting);
            self.count_dropped(1);
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        LOG_LINES_DROPPED.add(lines, &[]);
    }

    /// Waits until everything is written, at most this long.
    fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut waiting = self.lock();
        while !waiting.bytes.is_empty() || waiting.is_writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting.is_urgent = true;
            self.filled.notify_one();
            let woken = self.written.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for lines and takes them all. `batch` is empty, and is used again; `last` is when it was
    /// written last.
    fn take(&self, batch: &mut Vec<u8>, last: Instant) {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        if waiting.bytes.is_empty() {
            waiting.is_urgent = false;
            self.written.notify_all();
        }
        let is_empty = |waiting: &mut Waiting| waiting.bytes.is_empty();
        let woken = self.filled.wait_while(waiting, is_empty);
        let waiting = woken.unwrap_or_else(PoisonError::into_inner);
        // The first line after a pause is written at once.
        let left = GATHER.saturating_sub(last.elapsed());
        let gathers = |waiting: &mut Waiting| !waiting.is_urgent;
        let woken = self.filled.wait_timeout_while(waiting, left, gathers);
        let mut waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut waiting.bytes, batch);
        waiting.is_writing = true;
    }

    /// Writes the lines until the process ends.
    fn write_to(&self, mut output: impl Write) {
        let mut batch = Vec::with_capacity(ROOM / 16);
        let (mut is_torn, mut last) = (false, Instant::now());
        loop {
            self.take(&mut batch, last);
            let lost = write_batch(&mut output, &batch, &mut is_torn);
            batch.clear();
            last = Instant::now();
            if lost > 0 {
                self.count_dropped(lost);
                continue;
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "lines of the log found no room and were dropped");
            }
        }
    }
}

/// Writes lines and returns how many were lost. `is_torn` says that the last line was written in
/// part; the next one then begins on a line of its own.
fn write_batch(output: &mut impl Write, batch: &[u8], is_torn: &mut bool) -> u64 {
    if *is_torn && output.write(b"\n").is_ok_and(|count| count == 1) {
        *is_torn = false;
    }
    let mut rest = batch;
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(count) if count > 0 => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL),
            // The reader is gone, or the disk is full.
            _ => {
                let written = &batch[..batch.len() - rest.len()];
                *is_torn |= written.last().is_some_and(|last| *last != b'\n');
                return rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        }
    }
    0
}

/// Starts the thread.
///
/// # Errors
/// If there is no thread or no file descriptor for it.
pub(super) fn start() -> io::Result<LogWriter> {
    // A descriptor of its own: the standard library's is behind a lock, on which others would wait.
    let output: OwnedFd = io::stderr().as_fd().try_clone_to_owned()?;
    let queue = Arc::<Queue>::default();
    let writer = queue.clone();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.write_to(File::from(output)))?;
    LOG_LINES_DROPPED.add(0, &[]);
    let _ = LOG.set(queue.clone());
    Ok(LogWriter(queue))
}

/// Waits until the log is written, at most this long.
pub fn flush(timeout: Duration) {
    if let Some(queue) = LOG.get() {
        queue.flush(timeout);
    }
}

/// Appends lines to the log as they are. `false` if the log has not been started.
pub(super) fn append(lines: &str) -> bool {
    let queue = LOG.get();
    if let Some(queue) = queue {
        queue.push(lines.as_bytes());
    }
    queue.is_some()
}

/// The queue as tracing-subscriber's writer. Each `write` is a whole line.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Queue>);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes, and then fails.
    struct Short(usize, Vec<u8>);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(ErrorKind::BrokenPipe.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_lines() {
        let queue = Queue::default();
        let line = [b'x'; 1000];
        for _ in 0..2000 {
            queue.push(&line);
        }
        assert_eq!(queue.lock().bytes.len(), ROOM / 1000 * 1000);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2000 - (ROOM / 1000) as u64);
    }

    #[test]
    fn a_line_after_a_torn_one_begins_on_its_own() {
        let (mut output, mut is_torn) = (Short(4, Vec::new()), false);
        assert_eq!(write_batch(&mut output, b"a\nbcd\ne\n", &mut is_torn), 2);
        assert!(is_torn);
        assert_eq!(write_batch(&mut output, b"f\n", &mut is_torn), 1);
        output.0 = 100;
        assert_eq!(write_batch(&mut output, b"g\n", &mut is_torn), 0);
        assert!(!is_torn);
        assert_eq!(output.1, b"a\nbc\ng\n");
    }

    #[test]
    fn a_flush_waits_for_the_writer_and_no_longer_than_it_may() {
        let queue = Arc::<Queue>::default();
        queue.push(b"line\n");
        // There is no writer yet.
        let began = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
        let (reader, writer) = io::pipe().unwrap();
        let writes = queue.clone();
        thread::spawn(move || writes.write_to(writer));
        queue.flush(Duration::from_mins(2));
        assert!(queue.lock().bytes.is_empty());
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(reader), &mut line).unwrap();
        assert_eq!(line, "line\n");
    }
}
