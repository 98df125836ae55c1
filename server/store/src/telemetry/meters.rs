//! What the store counts and measures, each in one line.

use super::instrument::{Counter, Gauge, Histogram, Level, Meaning, SECONDS};

/// Every instrument of the store, in the order in which people read them.
pub static ALL: &[&Meaning] = &[
    &STATEMENTS.meaning,
    &TRANSACTIONS.meaning,
    &WRITE_RETRIES.meaning,
    &POOL_WAIT.meaning,
    &POOL_CONNECTIONS.meaning,
    &READS_ROUTED.meaning,
    &POSITION_WAIT.meaning,
    &PRIMARY_WAIT.meaning,
    &NODE_LAG.meaning,
    &NODE_BANS.meaning,
    &ROLE_CHANGES.meaning,
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

/// Attributes `db.client.connection.pool.name` and `db.client.connection.state`. Not by the
/// semantic
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
