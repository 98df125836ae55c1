//! The metrics of the store.

use super::instrument::{Counter, Descriptor, Gauge, Histogram, Level, SECONDS};

/// Every instrument of the store.
pub static ALL: &[&Descriptor] = &[
    &STATEMENTS.descriptor,
    &TRANSACTIONS.descriptor,
    &WRITE_RETRIES.descriptor,
    &POOL_WAIT.descriptor,
    &POOL_CONNECTIONS.descriptor,
    &READS_ROUTED.descriptor,
    &READS_COALESCED.descriptor,
    &BATCHES.descriptor,
    &POSITION_WAIT.descriptor,
    &PRIMARY_WAIT.descriptor,
    &NODE_LAG.descriptor,
    &NODE_BANS.descriptor,
    &ROLE_CHANGES.descriptor,
];

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

/// Attribute `reason`: why the write was repeated.
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

/// Attributes `db.client.connection.pool.name` and `db.client.connection.state`. The semantic
/// conventions' name ends in `count`, a suffix that Prometheus reserves for histograms.
pub static POOL_CONNECTIONS: Gauge = Gauge::new(
    "bookstore.pool.connections",
    "{connection}",
    "Connections to the database, by node and by whether they are used or idle.",
);

/// Attributes `node` and `reason`: `replica`, or why the primary answered.
pub static READS_ROUTED: Counter = Counter::new(
    "bookstore.reads.routed",
    "{read}",
    "Reads by the node that answered them and the reason why it was that one.",
);

/// The reads of rows by id that a batch has answered.
pub static READS_COALESCED: Counter = Counter::new(
    "bookstore.reads.coalesced",
    "{read}",
    "Reads of a row by its id that shared a statement with other calls.",
);

/// The statements that have read rows for several calls.
pub static BATCHES: Counter = Counter::new(
    "bookstore.reads.batches",
    "{statement}",
    "Statements that read rows by id for calls that had waited for it.",
);

/// Attribute `reached`: whether the replica reached the position in time.
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
    "How far a replica lags at most; nothing while that is unknown.",
);

/// Attribute `node`.
pub static NODE_BANS: Counter = Counter::new(
    "bookstore.node.bans",
    "{ban}",
    "How often a node was ejected for a while because reads failed on it.",
);

/// Attribute `to`: `primary` or `none`.
pub static ROLE_CHANGES: Counter = Counter::new(
    "bookstore.role.changes",
    "{change}",
    "How often another node, or none, became the primary.",
);
