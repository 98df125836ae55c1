//! The server's metrics of calls and connections, and the list of all the service's metrics.
//!
//! `telemetry.rs` installs the meter provider before the first of these is used.

use bookstore_store::telemetry::{
    instrument::{Counter, Descriptor, Gauge, Histogram, SECONDS},
    meters as store,
};

/// Every instrument of the service, in the order of the documentation: the server's, then the
/// store's.
pub fn all() -> impl Iterator<Item = &'static Descriptor> {
    ALL.iter().chain(store::ALL).copied()
}

static ALL: &[&Descriptor] = &[
    &CALLS.descriptor,
    &CALLS_IN_FLIGHT.descriptor,
    &CALLS_SHED.descriptor,
    &CALLS_REFUSED.descriptor,
    &CONNECTIONS.descriptor,
    &CONNECTIONS_REFUSED.descriptor,
    &CONNECTIONS_ENDED.descriptor,
    &BYTES_RECEIVED.descriptor,
    &BYTES_DECODED.descriptor,
    &BYTES_ANSWERED.descriptor,
    &RELOADS.descriptor,
    &DATABASE_TLS.descriptor,
    &TLS_EXPIRY.descriptor,
    &TLS_HANDSHAKES_FAILED.descriptor,
    &LOG_LINES_DROPPED.descriptor,
];

/// No attributes.
pub static CALLS_IN_FLIGHT: Gauge =
    Gauge::new("bookstore.calls.in_flight", "{call}", "Calls that are carried out.");

/// No attributes.
pub static CALLS_SHED: Counter = Counter::new(
    "bookstore.calls.shed",
    "{call}",
    "Calls that were sent away because as many were carried out as the service takes.",
);

/// Attributes `reason` (that of the answer), `cause` (what is wrong with the credentials, or
/// empty) and `mode` (`enforce`, or `report` where the call went on).
pub static CALLS_REFUSED: Counter = Counter::new(
    "bookstore.calls.refused",
    "{call}",
    "Calls, and entries of calls, that were refused for who the caller is.",
);

/// No attributes.
pub static CONNECTIONS: Gauge =
    Gauge::new("bookstore.connections", "{connection}", "Connections of callers that are open.");

/// No attributes.
pub static CONNECTIONS_REFUSED: Counter = Counter::new(
    "bookstore.connections.refused",
    "{connection}",
    "Connections that were closed at once because there were as many as the service takes.",
);

/// No attributes.
pub static CONNECTIONS_ENDED: Counter = Counter::new(
    "bookstore.connections.ended",
    "{connection}",
    "Connections that were ended because they took no answers or held most of a budget.",
);

/// No attributes.
pub static BYTES_RECEIVED: Gauge = Gauge::new(
    "bookstore.budget.received",
    "By",
    "What the bytes of requests hold that come in or are carried out, of the budget of all.",
);

/// No attributes.
pub static BYTES_DECODED: Gauge = Gauge::new(
    "bookstore.budget.decoded",
    "By",
    "What requests hold that are decoded, estimated, of the budget of all connections.",
);

/// No attributes.
pub static BYTES_ANSWERED: Gauge = Gauge::new(
    "bookstore.budget.answered",
    "By",
    "What answers hold that were made and not taken, of the budget of all connections.",
);

/// Attributes `files` (what they are) and `outcome` (`loaded`, `failed`).
pub static RELOADS: Counter = Counter::new(
    "bookstore.security.reloads",
    "{reload}",
    "Times that files of certificates, credentials or rules had changed and were read again.",
);

/// Attributes `node` and `mode` (PostgreSQL's `sslmode`).
pub static DATABASE_TLS: Gauge = Gauge::new(
    "bookstore.database.tls",
    "{node}",
    "1 for each node of the database, with the mode of TLS of its connections.",
);

/// Attribute `file` (the setting that names it).
pub static TLS_EXPIRY: Gauge = Gauge::new(
    "bookstore.tls.certificate.expiry",
    "s",
    "When the certificate or revocation list in force expires, in seconds since 1970.",
);

/// Attribute `reason`.
pub static TLS_HANDSHAKES_FAILED: Counter = Counter::new(
    "bookstore.tls.handshakes.failed",
    "{handshake}",
    "Handshakes of TLS that failed, by reason.",
);

/// No attributes.
pub static LOG_LINES_DROPPED: Counter = Counter::new(
    "bookstore.log.lines_dropped",
    "{line}",
    "Lines of the log that were dropped because standard error took none.",
);

/// Attributes `rpc.system`, `rpc.method` and `rpc.response.status_code`.
pub static CALLS: Histogram = Histogram::new(
    "rpc.server.call.duration",
    "s",
    "How long calls took, by method and code.",
    SECONDS,
);
