//! Measures times against limits, on a machine that may be busy with other work.
//!
//! A [`Stopwatch`] measures the elapsed time and, meanwhile, the ratio between a thread's elapsed
//! and CPU time. Upper limits are stretched by that ratio; lower limits never are.

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

/// The CPU time of one sample: longer than a scheduler's time slice.
const SAMPLE: Duration = Duration::from_millis(10);

/// The pause between samples, so that measuring takes at most a tenth of one core.
const PAUSE: Duration = Duration::from_millis(90);

/// A running measurement; [`Self::stop`] ends it. One that is dropped takes no more samples.
pub struct Stopwatch {
    began: Instant,
    stopped: Arc<AtomicBool>,
    /// `None` once it is stopped.
    sampler: Option<JoinHandle<f64>>,
}

/// The result of a [`Stopwatch`].
#[derive(Clone, Copy)]
pub struct Took {
    elapsed: Duration,
    stretch: f64,
}

impl Stopwatch {
    /// Starts the measurement.
    pub fn start() -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let sampler = thread::spawn({
            let stopped = Arc::clone(&stopped);
            move || stretch(&stopped)
        });
        Self { began: Instant::now(), stopped, sampler: Some(sampler) }
    }

    /// Ends the measurement. Blocks until the current sample ends.
    ///
    /// # Panics
    /// If the sampling thread has panicked.
    pub fn stop(mut self) -> Took {
        let elapsed = self.began.elapsed();
        let sampler = self.sampler.take().expect("a watch that runs");
        self.stopped.store(true, Ordering::Relaxed);
        sampler.thread().unpark();
        Took { elapsed, stretch: sampler.join().expect("a thread that takes samples") }
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Took {
    /// Whether at least this much time has elapsed.
    pub fn at_least(&self, limit: Duration) -> bool {
        self.elapsed >= limit
    }

    /// Whether it took at most as long as this limit on an idle machine.
    pub fn at_most(&self, limit: Duration) -> bool {
        self.elapsed <= limit.mul_f64(self.stretch)
    }

    /// The elapsed time.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many times longer than on an idle machine a thread needed meanwhile.
    pub fn stretch(&self) -> f64 {
        self.stretch
    }
}

impl fmt::Debug for Took {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} (limits stretched by {:.1})", self.elapsed, self.stretch)
    }
}

/// Takes samples until it is stopped, at least one, and returns the ratio of their elapsed time to
/// their CPU time.
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

    /// More threads than cores, so that each gets part of a core.
    #[test]
    fn limit_on_busy_cores_is_stretched() {
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
    fn limit_far_exceeded_fails_after_stretching() {
        let took = Took { elapsed: Duration::from_secs(31), stretch: 3.0 };
        assert!(!took.at_most(Duration::from_secs(10)));
        assert!(!took.at_least(Duration::from_secs(32)));
        assert!(took.at_most(Duration::from_secs(11)) && took.at_least(Duration::from_secs(31)));
    }
}
