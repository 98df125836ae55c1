//! How the process ends: the signals of the operating system, and [`Stop`], which passes the stop
//! on to the parts of the program.

use std::{future::Future, io, path::PathBuf};

use tokio::sync::watch;

/// A signal to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, sent by a process manager. Load balancers get `shutdown_pause` to see NOT_SERVING.
    Terminate,
    /// SIGINT (Ctrl-C), sent by a person. There is no pause.
    Interrupt,
}

impl Signal {
    /// The exit code of a process that this signal ended: 128 plus the number of the signal
    /// (POSIX).
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

/// The signals of this process, from the moment of [`Signals::install`] on. Without it each of them
/// would end the process at once.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// The handlers of ignored signals.
    #[cfg(unix)]
    ignored: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Installs the handlers. Signals that arrive before [`Signals::wait`] is called are kept, so
    /// call this before anything that takes time.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    #[cfg(unix)]
    pub fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            ignored: Vec::new(),
        })
    }

    /// Ignores the signals that other programs take for a request to read their settings or to open
    /// their log again: SIGHUP, SIGUSR1 and SIGUSR2. Without a handler each of them ends the process.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    #[cfg(unix)]
    pub fn ignoring_others(mut self) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let others =
            [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
        for other in others {
            self.ignored.push(signal(other)?);
        }
        Ok(self)
    }

    /// Ignores nothing: there are no such signals.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn ignoring_others(self) -> io::Result<Self> {
        Ok(self)
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

    /// Waits for the next signal. The first one begins a graceful shutdown. On a second one call
    /// [`Signal::end_process`].
    #[cfg(unix)]
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            // Both streams live as long as the runtime, so this error can't happen.
            else => std::future::pending().await,
        }
    }

    /// Waits for the next Ctrl-C. The first one begins a graceful shutdown. On a second one call
    /// [`Signal::end_process`].
    #[cfg(not(unix))]
    pub async fn wait(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

/// The termination message: a file in which a process that fails writes its reason for its manager,
/// as one line with a JSON object (Kubernetes, `terminationMessagePath`).
#[derive(Clone, Debug, Default)]
pub struct TerminationMessage(Option<PathBuf>);

impl TerminationMessage {
    /// The longest reason in bytes: Kubernetes reads 4 KiB.
    const LENGTH: usize = 2048;

    /// Writes to this file; without one, nothing is written.
    #[must_use]
    pub fn to(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Writes why the process ends with this code.
    pub fn write(&self, reason: &str, exit_code: u8) {
        let Some(path) = &self.0 else { return };
        let reason = &reason[..reason.floor_char_boundary(Self::LENGTH)];
        let line = serde_json::json!({"reason": reason, "exit_code": exit_code});
        if let Err(error) = std::fs::write(path, format!("{line}\n")) {
            tracing::warn!(%error, path = %path.display(), "the termination message can't be written");
        }
    }
}

/// A flag that is set once and never cleared. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    turned: watch::Sender<bool>,
}

impl Stop {
    /// A flag that isn't set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag and wakes all waiters. A second call does nothing.
    pub fn trigger(&self) {
        self.turned.send_replace(true);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.turned.borrow()
    }

    /// Ends when the flag is set, at once if it is set already. The future borrows nothing, so that
    /// a stream or a task can own it.
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
    async fn a_stop_wakes_present_and_later_waiters() {
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
    async fn signals_are_kept_until_the_first_wait() {
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
