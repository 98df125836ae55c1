//! What a read of one row does under load: it joins a batch and takes its row out of it.

use std::{sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use sea_orm::{DbBackend, DbErr};
use tokio::{sync::oneshot, time::timeout};

pub(crate) use crate::coalescing::{batch::RunningStatement, queue::Found};
use crate::{
    cause::READ_TIMEOUT,
    coalescing::{
        queue::{IDS_OF_MEMBER, Joined, PATIENCE, QueueKey, Queues, Reply},
        row::RowsById,
    },
    deadline::Deadline,
    error::StoreError,
    position::Freshness,
    session::rows::Meter,
    telemetry::traces,
    topology::{nodes::Topology, route::Route},
};

/// Lets reads of single rows share statements.
pub(crate) struct Coalescer {
    topology: Arc<Topology>,
    queues: Arc<Queues>,
}

/// How a read of one row goes on.
pub(crate) enum Coalesced {
    /// It runs its own statement. Others may wait for its end: its queue counts it for the node of
    /// this route.
    Alone(Option<(RunningStatement, Route)>),
    /// A batch has read the rows.
    Found(Found),
    /// It has failed.
    Failed(StoreError),
}

impl Coalescer {
    pub(crate) fn new(topology: &Arc<Topology>) -> Self {
        Self { topology: topology.clone(), queues: Arc::default() }
    }

    /// Reads rows with others if statements of their kind run on their node already. `end` is when
    /// `database_read_timeout` ends the read.
    pub(crate) async fn read(
        &self,
        rows: RowsById<'_>,
        freshness: Freshness,
        (deadline, end): (Deadline, Deadline),
        meter: Option<&Arc<dyn Meter>>,
    ) -> Coalesced {
        if rows.ids.len() > IDS_OF_MEMBER {
            return Coalesced::Alone(None);
        }
        let route = match self.topology.route(freshness, deadline).await {
            Ok(Some(route)) => route,
            // It waits for a node by itself.
            Ok(None) => return Coalesced::Alone(None),
            Err(error) => return Coalesced::Failed(error),
        };
        let key = (route.node, rows.kind);
        let receiver = match self.queues.join(key, rows, route.clone(), (deadline, end)) {
            Joined::First(number) => {
                let running = RunningStatement::new(&self.queues, &self.topology, key, number);
                return Coalesced::Alone(Some((running, route)));
            }
            Joined::Waits(receiver) => receiver,
        };
        // The statement belongs to no single trace, so each of its reads has a span for it.
        let span = traces::statement("SELECT", || self.attributes(rows, key));
        let replied = self.reply(key, receiver, deadline, end).await;
        drop(span);
        match replied {
            Ok(Reply::Rows(found)) => {
                if meter.is_some_and(|meter| !meter.grow(found.weight)) {
                    return Coalesced::Failed(StoreError::Overloaded);
                }
                self.topology.routed(&route);
                Coalesced::Found(found)
            }
            Ok(Reply::Alone) => Coalesced::Alone(None),
            Ok(Reply::PoolTimeout { waited_ms }) => {
                Coalesced::Failed(StoreError::PoolTimeout { waited_ms })
            }
            Err(error) => Coalesced::Failed(error),
        }
    }

    /// The attributes of the span of a read in a batch.
    fn attributes(&self, rows: RowsById<'_>, (node, kind): QueueKey) -> Vec<KeyValue> {
        let backend = self.topology.nodes[node].connector.backend();
        let system = match backend {
            DbBackend::Postgres => "postgresql",
            _ => "sqlite",
        };
        let statement = (kind.statement)(backend, kind.form, rows.ids);
        vec![
            KeyValue::new("db.system.name", system),
            KeyValue::new("db.operation.name", "SELECT"),
            KeyValue::new("db.query.text", statement.text.own()),
        ]
    }

    /// Waits for the reply of a batch, until the read's own deadline or end.
    async fn reply(
        &self,
        key: QueueKey,
        mut receiver: oneshot::Receiver<Reply>,
        deadline: Deadline,
        end: Deadline,
    ) -> Result<Reply, StoreError> {
        let remaining = |cap| end.remaining(deadline.remaining(cap));
        let replied = match timeout(remaining(PATIENCE), &mut receiver).await {
            Ok(replied) => Ok(replied),
            Err(_) => {
                if let Some((number, members)) = self.queues.overdue(key) {
                    RunningStatement::new(&self.queues, &self.topology, key, number).start(members);
                }
                timeout(remaining(Duration::MAX), &mut receiver).await
            }
        };
        match replied {
            // A batch that ended without a reply was no success.
            Ok(reply) => Ok(reply.unwrap_or(Reply::Alone)),
            Err(_) if deadline.has_passed() => Err(StoreError::DeadlineExceeded),
            Err(_) => Err(DbErr::Custom(READ_TIMEOUT.into()).into()),
        }
    }
}
