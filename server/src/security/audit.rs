//! What happens to access, in the log under the target `audit`, which no level of the log silences.
//!
//! Refusals and logins are bounded: beyond 100 in a second there is one line with their number. The
//! metric counts all refusals. No line has a token or another secret.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;

use crate::meters;

/// The most refusals and logins of a second that have lines of their own.
const MOST: u32 = 100;

/// The time in which they are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// A call, or a part of one, that was refused.
#[derive(Clone, Copy, Debug)]
pub struct RefusedCall<'a> {
    /// The caller's name; none if it has none that was proven.
    pub principal: Option<&'a str>,
    /// The name of the connection's client certificate.
    pub certificate: Option<&'a str>,
    /// The address of the connection's other end.
    pub peer: PeerAddress,
    /// The method that it called.
    pub method: &'a str,
    /// The reason that the caller got.
    pub reason: &'static str,
    /// What is wrong with the credentials, which the caller doesn't get; empty if they are right.
    pub cause: &'a str,
    /// The call's request id.
    pub request_id: &'a str,
    /// The call went on: the policy only reports.
    pub only_reported: bool,
}

/// The address of the other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerAddress {
    /// Of a connection over TCP.
    Tcp(SocketAddr),
    /// Of a Unix domain socket: the id of the user that the process belongs to.
    User(u32),
    /// The operating system doesn't tell it.
    #[default]
    Unknown,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::User(id) => write!(formatter, "unix, user {id}"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// Writes the line of a connection that was refused because of its client certificate. The
/// listener counts it.
pub fn certificate_refused(peer: PeerAddress, reason: &str, cause: &str) {
    let (has_line, passed_over) = count();
    summarize(passed_over);
    if has_line {
        tracing::warn!(target: "audit", %peer, reason, cause, "a certificate was refused");
    }
}

/// Counts a refusal and writes its line.
pub fn refused(refusal: &RefusedCall<'_>) {
    let RefusedCall {
        principal,
        certificate,
        peer,
        method,
        reason,
        cause,
        request_id,
        only_reported,
    } = *refusal;
    let mode = if only_reported { "report" } else { "enforce" };
    let attributes = [
        KeyValue::new("reason", reason),
        KeyValue::new("cause", cause.to_owned()),
        KeyValue::new("mode", mode),
    ];
    meters::CALLS_REFUSED.add(1, &attributes);
    let (has_line, passed_over) = count();
    summarize(passed_over);
    if has_line {
        tracing::warn!(
            target: "audit",
            principal,
            certificate,
            %peer,
            method,
            reason,
            cause,
            request_id,
            mode,
            "{}",
            if only_reported { "would be refused" } else { "refused" }
        );
    }
}

/// Writes the line of a login: a password that a caller has verified. `user` is the id of whose
/// password it is, if it is right. The line has no email: a user may have typed a password there.
pub fn login(
    principal: Option<&str>,
    peer: PeerAddress,
    request_id: &str,
    is_right: bool,
    user: Option<&str>,
) {
    let (has_line, passed_over) = count();
    summarize(passed_over);
    if has_line {
        let outcome = if is_right { "right" } else { "wrong" };
        tracing::info!(target: "audit", principal, %peer, user, outcome, request_id, "login");
    }
}

/// Writes a line about the refusals of seconds before that have none. It has to be called every
/// second, so that the last of them are counted too.
pub fn end_second() {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let passed_over = lines.as_mut().map_or(0, |lines| lines.pass(Instant::now()));
    drop(lines);
    summarize(passed_over);
}

fn summarize(passed_over: u64) {
    if passed_over > 0 {
        // Of no call: it is about others.
        tracing::warn!(
            target: "audit",
            parent: None,
            count = passed_over,
            "refusals and logins without lines of their own"
        );
    }
}

/// The lines of the current second.
struct AuditLines {
    began: Instant,
    written: u32,
    passed_over: u64,
}

static LINES: Mutex<Option<AuditLines>> = Mutex::new(None);

impl AuditLines {
    /// Begins another second if this one has passed. Returns the number of refusals without a line.
    fn pass(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.began) < PERIOD {
            return 0;
        }
        let passed_over = self.passed_over;
        *self = Self { began: now, written: 0, passed_over: 0 };
        passed_over
    }

    /// Whether one more refusal gets a line.
    fn take(&mut self) -> bool {
        let has_line = self.written < MOST;
        match has_line {
            true => self.written += 1,
            false => self.passed_over += 1,
        }
        has_line
    }
}

/// Whether a refusal gets a line, and how many of the second before had none.
fn count() -> (bool, u64) {
    let now = Instant::now();
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.get_or_insert(AuditLines { began: now, written: 0, passed_over: 0 });
    let passed_over = lines.pass(now);
    (lines.take(), passed_over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_a_hundred_lines_and_a_summary() {
        let began = Instant::now();
        let mut lines = AuditLines { began, written: 0, passed_over: 0 };
        let taken = (0..1000).filter(|_| lines.take()).count();
        assert_eq!((taken, lines.passed_over), (100, 900));
        assert_eq!(lines.pass(began + Duration::from_millis(999)), 0, "the second isn't over");
        assert!(!lines.take());
        assert_eq!(lines.pass(began + Duration::from_secs(1)), 901);
        assert!(lines.take());
        assert_eq!(lines.pass(began + Duration::from_secs(3)), 0, "told once");
    }
}
