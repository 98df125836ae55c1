//! How the process is told to end: the signals of the operating system, and
//! [`Stop`], the word that is passed on to the parts of the program.

use std::{future::Future, io, path::PathBuf};

use tokio::sync::watch;

/// What the operating system, or the person at the keyboard, asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: somebody manages this process and knows that it is leaving, so
    /// balancers get their pause (`shutdown_pause`).
    Terminate,
    /// Ctrl-C (SIGINT): a person is waiting, so there is no pause.
    Interrupt,
}

impl Signal {
    /// The exit code by which a shell tells a process that this signal ended:
    /// 128 and the number of the signal (POSIX).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }

    /// Ends the process at once with [`Signal::exit_code`]. It is meant for the
    /// second signal: nothing is drained, no destructor runs.
    pub fn end_process(self) -> ! {
        std::process::exit(i32::from(self.exit_code()))
    }
}

/// The signals of this process, from the moment of [`Signals::install`] on.
/// Without it each of them would end the process on the spot.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Starts to listen. Signals that come before [`Signals::wait`] is called
    /// are kept, so this stands before anything that takes time.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    #[cfg(unix)]
    pub fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Does nothing: outside Unix, Ctrl-C is the only signal, and
    /// [`Signals::wait`] listens for it.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn install() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal. The first one begins an orderly end; whoever sees a
    /// second one calls [`Signal::end_process`].
    #[cfg(unix)]
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            // Both streams live as long as the runtime, so there is nothing to report.
            else => std::future::pending().await,
        }
    }

    /// The next Ctrl-C. The first one begins an orderly end; whoever sees a
    /// second one calls [`Signal::end_process`].
    #[cfg(not(unix))]
    pub async fn wait(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

/// The file in which a process that doesn't end well says why, for whoever manages it: one
/// line, a JSON object.
#[derive(Clone, Debug, Default)]
pub struct LastWord(Option<PathBuf>);

impl LastWord {
    /// The longest reason in bytes: Kubernetes reads 4 KiB.
    const LENGTH: usize = 2048;

    /// Writes to this file; to none, it says nothing.
    #[must_use]
    pub fn to(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Says why the process ends with this code.
    pub fn say(&self, reason: &str, exit_code: u8) {
        let Some(path) = &self.0 else { return };
        let reason = &reason[..reason.floor_char_boundary(Self::LENGTH)];
        let line = serde_json::json!({"reason": reason, "exit_code": exit_code});
        if let Err(error) = std::fs::write(path, format!("{line}\n")) {
            tracing::warn!(%error, path = %path.display(), "the reason of the end can't be written");
        }
    }
}

/// A switch that is turned once and never back. Every clone is the same switch.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    turned: watch::Sender<bool>,
}

impl Stop {
    /// A switch that nobody has turned yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns the switch and wakes everybody who waits; again does nothing.
    pub fn trigger(&self) {
        self.turned.send_replace(true);
    }

    /// Whether the switch has been turned.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.turned.borrow()
    }

    /// Ends when the switch is turned, at once if it has been. The future
    /// borrows nothing, so that a stream or a task can own it.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut seen = self.turned.subscribe();
        // The sender is kept as well: without one the wait would end by itself.
        let kept = self.turned.clone();
        async move {
            let turned = seen.wait_for(|turned| *turned).await;
            debug_assert!(turned.is_ok(), "a sender is kept");
            drop(turned);
            drop(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_stop_wakes_all_who_wait_and_those_who_come_later() {
        let stop = Stop::new();
        let mut early = Box::pin(stop.wait());
        assert!(early.as_mut().now_or_never().is_none() && !stop.is_triggered());
        let other = stop.clone();
        drop(stop);
        assert!(early.as_mut().now_or_never().is_none());
        other.trigger();
        other.trigger();
        assert!(other.is_triggered());
        early.await;
        other.wait().await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn signals_are_kept_until_somebody_waits() {
        let mut signals = Signals::install().unwrap();
        for (number, expected, code) in [
            (rustix::process::Signal::TERM, Signal::Terminate, 143),
            (rustix::process::Signal::INT, Signal::Interrupt, 130),
        ] {
            rustix::process::kill_process(rustix::process::getpid(), number).unwrap();
            let signal = signals.wait().await;
            assert_eq!((signal, signal.exit_code()), (expected, code));
        }
    }
}
