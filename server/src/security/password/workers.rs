//! The threads that hash passwords, each with one buffer that it keeps.
//!
//! Buffers that came and went with each hash stayed with the allocator, once for every thread
//! that had ever hashed: tens of logins took hundreds of megabytes for good.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, available_parallelism},
};

use argon2::{Block, Params};
use thiserror::Error;
use tokio::sync::oneshot;

/// Why a password is not hashed or compared.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// So many calls wait for a thread that this one is refused.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// A fault of this program or of what it stored.
    #[error("hashing a password: {0}")]
    Fault(String),
}

impl PasswordError {
    pub(super) fn of(error: impl fmt::Display) -> Self {
        Self::Fault(error.to_string())
    }
}

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// The memory of a hash, in KiB.
    pub memory_kib: u32,
    /// How often the memory is passed over.
    pub passes: u32,
    /// The threads that hash.
    pub threads: usize,
}

/// The most that the buffers of all threads take by default, in KiB.
const BUFFERS_KIB: u32 = 40 * 1024;

impl Default for Hashing {
    fn default() -> Self {
        // As OWASP's Password Storage Cheat Sheet recommends.
        let memory_kib = Params::DEFAULT_M_COST;
        Self { memory_kib, passes: Params::DEFAULT_T_COST, threads: threads(memory_kib) }
    }
}

/// As many threads as there are cores, and as their buffers leave room for.
pub fn threads(memory_kib: u32) -> usize {
    let room = usize::try_from(BUFFERS_KIB / memory_kib.max(1)).unwrap_or(1);
    available_parallelism().map_or(1, usize::from).min(room.max(1))
}

/// The memory that the buffers of the threads take, in bytes.
pub fn memory(hashing: &Hashing) -> usize {
    hashing.threads * hashing.memory_kib as usize * 1024
}

impl Hashing {
    pub(super) fn params(&self) -> argon2::Result<Params> {
        Params::new(self.memory_kib, self.passes, 1, None)
    }

    /// The blocks of a hash's memory.
    pub(super) fn blocks(&self) -> usize {
        self.params().map_or(0, |params| params.block_count())
    }

    /// What is compared where there is nothing to compare with, so that it takes as long. No
    /// password has this hash: it is of zeros.
    pub(super) fn made_up(&self) -> String {
        let (memory, passes) = (self.memory_kib, self.passes);
        format!(
            "$argon2id$v=19$m={memory},t={passes},p=1$AAAAAAAAAAAAAAAAAAAAAA$\
             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        )
    }
}

static CONFIGURED: OnceLock<Hashing> = OnceLock::new();

/// Says how passwords are hashed from now on; only the first time counts.
pub fn configure(hashing: Hashing) {
    CONFIGURED.get_or_init(|| hashing);
}

pub(super) fn hashing() -> Hashing {
    *CONFIGURED.get_or_init(Hashing::default)
}

type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// The work that waits, and the threads that do it.
struct Workers {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
    /// Calls that hash or wait to.
    calls: AtomicUsize,
    /// Those among them that have many passwords.
    batches: AtomicUsize,
}

static WORKERS: LazyLock<Arc<Workers>> = LazyLock::new(|| {
    let workers = Arc::new(Workers {
        jobs: Mutex::default(),
        more: Condvar::new(),
        calls: AtomicUsize::new(0),
        batches: AtomicUsize::new(0),
    });
    for number in 0..hashing().threads {
        let workers = workers.clone();
        let named = thread::Builder::new().name(format!("password-{number}"));
        // Without any thread the calls that wait end by their deadlines; the log says why.
        if let Err(error) = named.spawn(move || workers.work()) {
            tracing::error!(%error, "no thread for passwords");
        }
    }
    workers
});

impl Workers {
    fn work(&self) {
        let mut memory = Vec::new();
        loop {
            let mut jobs = self.jobs();
            let job = loop {
                match jobs.pop_front() {
                    Some(job) => break job,
                    None => jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(jobs);
            carry_out(job, &mut memory, hashing().blocks());
        }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs work with a buffer. A stored hash may have taken more memory than the settings want:
/// afterwards the buffer has at most `blocks` again.
fn carry_out(job: Job, memory: &mut Vec<Block>, blocks: usize) {
    job(memory);
    if memory.len() > blocks {
        memory.truncate(blocks);
        memory.shrink_to_fit();
    }
}

/// A call's slot in the queue, until it is dropped.
#[derive(Debug)]
pub(super) struct HashSlot {
    many: bool,
}

/// Calls that may wait for each thread, beside the one that it hashes for.
const WAITING: usize = 4;

/// Takes a slot for a call with so many passwords. Calls with many have as many slots as there
/// are threads, so that logins have others.
///
/// # Errors
/// If too many calls wait.
pub(super) fn slot(passwords: usize) -> Result<HashSlot, PasswordError> {
    let threads = hashing().threads;
    let take = |count: &AtomicUsize, most: usize| {
        let free = |used| (used < most).then_some(used + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    };
    let many = passwords > 1;
    if many && !take(&WORKERS.batches, threads) {
        return Err(PasswordError::Busy);
    }
    if !take(&WORKERS.calls, threads * (1 + WAITING)) {
        if many {
            WORKERS.batches.fetch_sub(1, Ordering::Relaxed);
        }
        return Err(PasswordError::Busy);
    }
    Ok(HashSlot { many })
}

impl Drop for HashSlot {
    fn drop(&mut self) {
        WORKERS.calls.fetch_sub(1, Ordering::Relaxed);
        if self.many {
            WORKERS.batches.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Runs work on one of the threads. Work whose caller has left isn't begun.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce(&mut Vec<Block>) -> Result<T, PasswordError> + Send + 'static,
) -> Result<T, PasswordError> {
    let (answer, answered) = oneshot::channel();
    let job = Box::new(move |memory: &mut Vec<Block>| {
        if !answer.is_closed() {
            // Who has left meanwhile doesn't hear it.
            let _ = answer.send(work(memory));
        }
    });
    WORKERS.jobs().push_back(job);
    WORKERS.more.notify_one();
    answered.await.map_err(PasswordError::of)?
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use futures_util::FutureExt;

    use super::*;

    /// Alone in its process it would be simpler: other tests hash as well, so that only what holds
    /// beside them is asserted.
    #[tokio::test]
    async fn who_has_left_is_not_hashed_for() {
        let threads = hashing().threads;
        let gate = Arc::new(Barrier::new(threads + 1));
        let (started, mut all_started) = tokio::sync::mpsc::unbounded_channel();
        let held: Vec<_> = (0..threads)
            .map(|_| {
                let (gate, started) = (gate.clone(), started.clone());
                tokio::spawn(run(move |_| {
                    started.send(()).ok();
                    gate.wait();
                    Ok(())
                }))
            })
            .collect();
        for _ in 0..threads {
            all_started.recv().await.unwrap();
        }
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let mut left = Box::pin(run(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
        assert!(left.as_mut().now_or_never().is_none());
        drop(left);
        tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
        for held in held {
            held.await.unwrap().unwrap();
        }
        run(|_| Ok(())).await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_buffer_that_grew_is_cut_again() {
        let (mut memory, blocks) = (Vec::new(), hashing().blocks());
        assert_eq!(blocks * 1024 * hashing().threads, super::memory(&hashing()));
        let to = |blocks| Box::new(move |it: &mut Vec<_>| it.resize(blocks, Block::default()));
        carry_out(to(blocks), &mut memory, blocks);
        let usual = memory.as_ptr();
        carry_out(Box::new(|_| ()), &mut memory, blocks);
        assert_eq!(usual, memory.as_ptr(), "it is kept");
        carry_out(to(2 * blocks), &mut memory, blocks);
        assert_eq!((memory.len(), memory.capacity()), (blocks, blocks));
    }

    #[test]
    fn buffers_take_a_bounded_sum() {
        assert_eq!(threads(BUFFERS_KIB), 1);
        assert_eq!(threads(10 * BUFFERS_KIB), 1);
        let default = Hashing::default();
        assert!(memory(&default) <= BUFFERS_KIB as usize * 1024);
        let made_up = default.made_up();
        assert!(made_up.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}
