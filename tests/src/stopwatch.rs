//! Times that a test holds against a limit, on a machine that may be busy with other work.
//!
//! A [`Stopwatch`] measures the time that passes, and how much longer than its own CPU time a
//! thread needs meanwhile. An upper limit is stretched by that factor; a lower one never is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of one sample: longer than the slice that a scheduler gives at once.
const SAMPLE: Duration = Duration::from_millis(10);

/// The pause between samples, so that measuring takes a tenth of one core at most.
const PAUSE: Duration = Duration::from_millis(90);

/// A clock that runs until [`Self::stop`].
pub struct Stopwatch {
    began: Instant,
    stopped: Arc<AtomicBool>,
    sampler: JoinHandle<f64>,
}

/// What a [`Stopwatch`] has measured.
#[derive(Clone, Copy)]
pub struct Took {
    elapsed: Duration,
    stretch: f64,
}

impl Stopwatch {
    /// Begins to measure.
    pub fn start() -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let sampler = thread::spawn({
            let stopped = Arc::clone(&stopped);
            move || stretch(&stopped)
        });
        Self { began: Instant::now(), stopped, sampler }
    }

    /// Ends the measurement. Blocks for the rest of a sample.
    ///
    /// # Panics
    /// If the thread that takes the samples has panicked.
    pub fn stop(self) -> Took {
        let elapsed = self.began.elapsed();
        self.stopped.store(true, Ordering::Relaxed);
        self.sampler.thread().unpark();
        Took { elapsed, stretch: self.sampler.join().expect("a thread that takes samples") }
    }
}

impl Took {
    /// Whether this much time has passed at least, by the wall's clock.
    pub fn at_least(&self, limit: Duration) -> bool {
        self.elapsed >= limit
    }

    /// Whether it took no longer than this would take on an idle machine.
    pub fn at_most(&self, limit: Duration) -> bool {
        self.elapsed <= limit.mul_f64(self.stretch)
    }

    /// The time that has passed.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many times longer than on an idle machine a thread took for its work meanwhile.
    pub fn stretch(&self) -> f64 {
        self.stretch
    }
}

impl fmt::Debug for Took {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} (limits stretched by {:.1})", self.elapsed, self.stretch)
    }
}

/// Takes samples until it is stopped, one at least: the factor between the time that they took
/// and their CPU time.
fn stretch(stopped: &AtomicBool) -> f64 {
    let (mut elapsed, mut used) = (Duration::ZERO, Duration::ZERO);
    loop {
        let (began, first) = (Instant::now(), cpu_time());
        while cpu_time() - first < SAMPLE {}
        elapsed += began.elapsed();
        used += cpu_time() - first;
        if stopped.load(Ordering::Relaxed) {
            return (elapsed.as_secs_f64() / used.as_secs_f64()).max(1.0);
        }
        thread::park_timeout(PAUSE);
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More threads than cores: each gets a part of one.
    #[test]
    fn limits_stretch_where_others_take_the_cores() {
        let cores = thread::available_parallelism().expect("a number of cores").get();
        let stopped = AtomicBool::new(false);
        let took = thread::scope(|scope| {
            for _ in 0..cores * 4 {
                scope.spawn(|| {
                    while !stopped.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let watch = Stopwatch::start();
            thread::sleep(Duration::from_millis(500));
            let took = watch.stop();
            stopped.store(true, Ordering::Relaxed);
            took
        });
        assert!(took.stretch() > 2.0, "{took:?}");
        assert!(took.at_least(Duration::from_millis(500)), "{took:?}");
        assert!(took.at_most(Duration::from_millis(250)), "{took:?}");
    }

    #[test]
    fn a_limit_that_is_far_exceeded_stays_exceeded() {
        let took = Took { elapsed: Duration::from_secs(31), stretch: 3.0 };
        assert!(!took.at_most(Duration::from_secs(10)));
        assert!(!took.at_least(Duration::from_secs(32)));
        assert!(took.at_most(Duration::from_secs(11)) && took.at_least(Duration::from_secs(31)));
    }
}
