//! What is counted and measured, each in one line: the one list of the service's metrics.
//!
//! Whoever counts names a static of this file and knows nothing of who listens. Where nobody
//! does, counting costs next to nothing. `telemetry.rs` decides who listens, before the first
//! of these is touched: an instrument that was made too early stays deaf.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue, global,
    metrics::{self, AsyncInstrument, Meter},
};

/// What an instrument is called and what it means.
#[derive(Debug)]
pub struct Meaning {
    /// Its name, in OpenTelemetry's form: `bookstore.write.retries`.
    pub name: &'static str,
    /// The unit of its values, as UCUM writes it: `s`, `By`, `{call}`.
    pub unit: &'static str,
    /// What it counts or measures, in one sentence.
    pub told: &'static str,
}

impl Meaning {
    const fn new(name: &'static str, unit: &'static str, told: &'static str) -> Self {
        Self { name, unit, told }
    }
}

/// A count that only grows.
#[derive(Debug)]
pub struct Counter(Meaning, OnceLock<metrics::Counter<u64>>);

/// A distribution of values.
#[derive(Debug)]
pub struct Histogram(Meaning, &'static [f64], OnceLock<metrics::Histogram<f64>>);

/// A number that goes up and down.
#[derive(Debug)]
pub struct Level(Meaning, OnceLock<metrics::UpDownCounter<i64>>);

/// A value that is asked for when somebody looks.
#[derive(Debug)]
pub struct Gauge(Meaning);

impl Counter {
    const fn new(name: &'static str, unit: &'static str, told: &'static str) -> Self {
        Self(Meaning::new(name, unit, told), OnceLock::new())
    }

    /// Counts.
    pub fn add(&self, count: u64, attributes: &[KeyValue]) {
        let Meaning { name, unit, told } = self.0;
        let make = || meter().u64_counter(name).with_unit(unit).with_description(told).build();
        self.1.get_or_init(make).add(count, attributes);
    }
}

impl Level {
    const fn new(name: &'static str, unit: &'static str, told: &'static str) -> Self {
        Self(Meaning::new(name, unit, told), OnceLock::new())
    }

    /// Goes up, or down by a negative number.
    pub fn add(&self, change: i64) {
        let Meaning { name, unit, told } = self.0;
        let make =
            || meter().i64_up_down_counter(name).with_unit(unit).with_description(told).build();
        self.1.get_or_init(make).add(change, &[]);
    }
}

impl Histogram {
    const fn new(
        name: &'static str,
        unit: &'static str,
        told: &'static str,
        bounds: &'static [f64],
    ) -> Self {
        Self(Meaning::new(name, unit, told), bounds, OnceLock::new())
    }

    /// Notes a value.
    pub fn record(&self, value: f64, attributes: &[KeyValue]) {
        let Meaning { name, unit, told } = self.0;
        let make = || {
            let meter = meter();
            let named = meter.f64_histogram(name).with_unit(unit).with_description(told);
            named.with_boundaries(self.1.to_vec()).build()
        };
        self.2.get_or_init(make).record(value, attributes);
    }
}

impl Gauge {
    const fn new(name: &'static str, unit: &'static str, told: &'static str) -> Self {
        Self(Meaning::new(name, unit, told))
    }

    /// From now on `look` is asked whenever somebody reads the metrics.
    pub fn observe(&self, look: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static) {
        let Meaning { name, unit, told } = self.0;
        let meter = meter();
        let named = meter.f64_observable_gauge(name).with_unit(unit).with_description(told);
        let _registered = named.with_callback(look).build();
    }
}

fn meter() -> Meter {
    global::meter("bookstore")
}

/// Seconds, from a tenth of a millisecond to a minute.
const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Every instrument, in the order in which people read them.
pub static ALL: &[&Meaning] = &[
    &CALLS.0,
    &STATEMENTS.0,
    &TRANSACTIONS.0,
    &CALLS_IN_FLIGHT.0,
    &CALLS_SHED.0,
    &CONNECTIONS.0,
    &CONNECTIONS_REFUSED.0,
    &CONNECTIONS_ENDED.0,
    &BYTES_RECEIVED.0,
    &BYTES_DECODED.0,
    &BYTES_ANSWERED.0,
    &WRITE_RETRIES.0,
    &POOL_WAIT.0,
    &POOL_CONNECTIONS.0,
    &READS_ROUTED.0,
    &POSITION_WAIT.0,
    &PRIMARY_WAIT.0,
    &NODE_LAG.0,
    &NODE_BANS.0,
    &ROLE_CHANGES.0,
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

/// Attributes `rpc.system`, `rpc.method` and `rpc.response.status_code`.
pub static CALLS: Histogram = Histogram::new(
    "rpc.server.call.duration",
    "s",
    "How long calls took, by method and code.",
    SECONDS,
);

/// Attributes `db.system.name` and `db.operation.name`.
pub static STATEMENTS: Histogram = Histogram::new(
    "db.client.operation.duration",
    "s",
    "How long the database took for statements.",
    SECONDS,
);

/// Transactions that have begun and not ended.
pub static TRANSACTIONS: Level = Level::new(
    "bookstore.transactions.open",
    "{transaction}",
    "Transactions that are open in the database.",
);

/// Writes that were tried again; attribute `reason`.
pub static WRITE_RETRIES: Counter = Counter::new(
    "bookstore.write.retries",
    "{attempt}",
    "Writes that were tried again after they collided with others or lost their primary.",
);

/// Attributes `db.client.connection.pool.name`.
pub static POOL_WAIT: Histogram = Histogram::new(
    "db.client.connection.wait_time",
    "s",
    "How long calls waited for a connection.",
    SECONDS,
);

/// Attributes `db.client.connection.pool.name` and `db.client.connection.state`. Not by the semantic
/// conventions' name, whose end Prometheus keeps for histograms.
pub static POOL_CONNECTIONS: Gauge = Gauge::new(
    "bookstore.pool.connections",
    "{connection}",
    "Connections to the database, by node and by whether they are used or idle.",
);

/// Attributes `node` and `reason`: `replica`, or why it is the primary.
pub static READS_ROUTED: Counter = Counter::new(
    "bookstore.reads.routed",
    "{read}",
    "Reads by the node that answered them and the reason why it was that one.",
);

/// Attribute `reached`: whether the replica was there in time.
pub static POSITION_WAIT: Histogram = Histogram::new(
    "bookstore.position.wait_time",
    "s",
    "How long reads waited for a replica to reach their position.",
    SECONDS,
);

/// Attribute `found`: whether there was a primary in time.
pub static PRIMARY_WAIT: Histogram = Histogram::new(
    "bookstore.primary.wait_time",
    "s",
    "How long calls waited for a primary while there was none.",
    SECONDS,
);

/// Attribute `node`.
pub static NODE_LAG: Gauge = Gauge::new(
    "bookstore.node.lag",
    "s",
    "How far a replica lags at most; nothing while nobody knows.",
);

/// Attribute `node`.
pub static NODE_BANS: Counter = Counter::new(
    "bookstore.node.bans",
    "{ban}",
    "How often a node was left out for a while because reads failed on it.",
);

/// Attribute `to`: `primary` or `none`.
pub static ROLE_CHANGES: Counter = Counter::new(
    "bookstore.role.changes",
    "{change}",
    "How often another node, or none, became the primary.",
);
