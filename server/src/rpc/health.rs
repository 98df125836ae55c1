//! Health (grpc.health.v1): derives the status of each name from the database's state.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bookstore_store::{Deadline, Needs, Schema, Store, StoreError};
use futures_util::{
    StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use super::status;
use crate::budget::ConnectionAge;

/// The period of the database probe.
const PERIOD: Duration = Duration::from_secs(1);

/// How many probes in a row must fail before the service is NOT_SERVING, so that one slow second
/// doesn't remove all instances from the load balancer at once.
const FAILURE_THRESHOLD: u32 = 3;

/// The state of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseState {
    /// No probe has succeeded yet.
    Unknown,
    /// It lacks these revisions.
    Pending(Vec<String>),
    /// These tables, columns, keys and functions, which the program's statements use, are missing.
    Incomplete(Vec<String>),
    /// A revision refuses this program. The text names the revision and the newest revision that it
    /// asks for.
    ShutOut(String),
    /// It has the schema that this program needs.
    Right,
}

/// The health of the service, by name. Cheap to clone.
///
/// `live` doesn't depend on the database. `ready` does; `""` and the services' names have the same
/// status. `write` says whether writes are taken: whether there is a primary, and neither a read-only
/// mode, a full disk nor a SQLite file that was removed or replaced refuses them.
#[derive(Clone)]
pub struct Readiness(Arc<ReadinessState>);

struct ReadinessState {
    database: watch::Sender<DatabaseState>,
    names: HashMap<String, watch::Sender<ServingStatus>>,
    /// What the database lacks, where that is known; else why it doesn't answer.
    trouble: watch::Sender<Option<String>>,
    /// Why writes are refused while reads go on; none if they are taken.
    refused_writes: watch::Sender<Option<String>>,
    stopping: watch::Sender<bool>,
    watches_ended: watch::Sender<bool>,
}

impl Readiness {
    /// Every name is NOT_SERVING at first.
    pub fn new(services: &[&str]) -> Self {
        let names = ["", "live", "ready", "write"].iter().chain(services);
        let names =
            names.map(|name| ((*name).to_owned(), watch::Sender::new(ServingStatus::NotServing)));
        Self(Arc::new(ReadinessState {
            database: watch::Sender::new(DatabaseState::Unknown),
            names: names.collect(),
            trouble: watch::Sender::new(None),
            refused_writes: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
            watches_ended: watch::Sender::new(false),
        }))
    }

    /// The state of the database.
    pub fn database(&self) -> watch::Ref<'_, DatabaseState> {
        // Reading the value needs no receiver.
        self.0.database.borrow()
    }

    /// Whether a name is SERVING; none of a name that isn't known.
    pub fn serves(&self, name: &str) -> Option<bool> {
        self.0.names.get(name).map(|status| *status.borrow() == ServingStatus::Serving)
    }

    /// Why the service isn't ready; none if it is.
    pub fn why_not_ready(&self) -> Option<String> {
        if self.serves("ready") == Some(true) {
            return None;
        }
        if *self.0.stopping.borrow() {
            return Some("the service is about to stop".to_owned());
        }
        Some(match &*self.database() {
            DatabaseState::Unknown => {
                let trouble = self.0.trouble.borrow().clone();
                trouble.unwrap_or_else(|| "the database has not answered yet".to_owned())
            }
            DatabaseState::Pending(revisions) => {
                format!("the schema lacks {} revisions", revisions.len())
            }
            DatabaseState::Incomplete(missing) => {
                format!("the schema lacks {}", missing.join(", "))
            }
            DatabaseState::ShutOut(reason) => reason.clone(),
            DatabaseState::Right => {
                let trouble = self.0.trouble.borrow().clone();
                trouble.unwrap_or_else(|| "the database doesn't answer".to_owned())
            }
        })
    }

    /// Waits until the database has every revision.
    pub async fn migrated(&self) {
        let is_migrated = |state: &DatabaseState| {
            matches!(state, DatabaseState::Right | DatabaseState::Incomplete(_))
        };
        // The sender lives as long as this value.
        let _ = self.0.database.subscribe().wait_for(is_migrated).await;
    }

    /// The program serves: it is alive.
    pub fn set_live(&self) {
        self.set("live", true);
    }

    /// The database lacks revisions, which are about to be applied.
    pub fn set_pending(&self, revisions: Vec<String>) {
        self.0.database.send_replace(DatabaseState::Pending(revisions));
    }

    /// The program is about to stop: every name stays NOT_SERVING from now on.
    pub fn set_stopping(&self) {
        self.0.stopping.send_replace(true);
        for name in self.0.names.keys() {
            self.set(name, false);
        }
    }

    /// Ends every Watch, so that none of them keeps a connection open.
    pub fn end_watches(&self) {
        self.0.watches_ended.send_replace(true);
    }

    /// When a stream ends that has no end of its own: with the Watches, or with the greatest age of
    /// its connection. The future borrows nothing.
    pub fn end_of_stream<T>(
        &self,
        request: &Request<T>,
    ) -> impl Future<Output = ()> + Send + 'static + use<T> {
        let mut ended = self.0.watches_ended.subscribe();
        let kept = self.0.clone();
        let age = request.extensions().get::<ConnectionAge>().cloned().unwrap_or_default();
        let reached = age.reached();
        async move {
            tokio::select! {
                // The sender is kept, so the wait can't end by itself.
                _ = ended.wait_for(|ended| *ended) => {}
                () = reached => {}
            }
            drop(kept);
        }
    }

    /// Probes the state of the database until the program stops, and whether it has `needs`.
    pub async fn follow(self, store: Store, known: Vec<String>, needs: Needs) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.0.stopping.subscribe();
        let mut failures = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let deadline = Deadline::after(PERIOD);
            let asked = async {
                let schema = store.schema(&known, deadline).await?;
                let missing = match schema {
                    Schema::Right { .. } => store.missing(&needs, deadline).await?,
                    _ => Vec::new(),
                };
                Ok::<_, StoreError>((schema, missing))
            };
            match asked.await {
                Ok((schema, missing)) => {
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!("the database answers again");
                    }
                    self.0.trouble.send_replace(None);
                    self.note(schema, missing);
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = error.report(), failures, "the database doesn't answer");
                    // A reason that the database gives needs no second probe.
                    let is_unsuitable = matches!(error, StoreError::Unsuitable(_));
                    if failures >= FAILURE_THRESHOLD || is_unsuitable {
                        let sentence = is_unsuitable.then(|| error.to_string());
                        self.0.trouble.send_replace(sentence);
                        self.set_ready(false);
                        self.set("write", false);
                    }
                }
            }
        }
    }

    fn note(&self, schema: Schema, missing: Vec<String>) {
        let mut writable = false;
        let mut reason = None;
        let state = match schema {
            Schema::Right { unknown, refuses_writes } => {
                writable = refuses_writes.is_none();
                reason = refuses_writes;
                if !unknown.is_empty() && *self.database() != DatabaseState::Right {
                    tracing::info!(
                        unknown = unknown.join(" "),
                        "the schema has revisions of a newer program"
                    );
                }
                match missing.is_empty() {
                    true => DatabaseState::Right,
                    false => DatabaseState::Incomplete(missing),
                }
            }
            Schema::Pending(revisions) => DatabaseState::Pending(revisions),
            Schema::ShutOut { revision, minimum_head } => DatabaseState::ShutOut(format!(
                "{revision} shuts out programs that don't know {minimum_head}"
            )),
        };
        let right = state == DatabaseState::Right;
        let changed = self.0.database.send_if_modified(|known| {
            let changed = *known != state;
            *known = state.clone();
            changed
        });
        match state {
            DatabaseState::Pending(revisions) if changed => {
                tracing::warn!(
                    revisions = revisions.join(" "),
                    "waiting for the schema to be migrated"
                );
            }
            DatabaseState::Incomplete(missing) if changed => {
                tracing::error!(
                    missing = missing.join(", "),
                    "the schema lacks objects that this program's statements use"
                );
            }
            DatabaseState::ShutOut(reason) if changed => {
                tracing::error!(
                    reason,
                    "a revision refuses this program: a newer program is needed"
                );
            }
            _ if changed => tracing::info!("the schema is that of this program"),
            _ => {}
        }
        self.set_ready(right);
        self.note_writes(reason);
        self.set("write", right && writable);
    }

    /// Logs a change of whether writes are taken.
    fn note_writes(&self, refused: Option<String>) {
        self.0.refused_writes.send_if_modified(|known| {
            let has_changed = *known != refused;
            match &refused {
                Some(reason) if has_changed => tracing::warn!(reason, "writes are refused"),
                None if has_changed => tracing::info!("writes are taken again"),
                _ => {}
            }
            *known = refused;
            has_changed
        });
    }

    fn set_ready(&self, ready: bool) {
        for name in self.0.names.keys().filter(|name| !matches!(name.as_str(), "live" | "write")) {
            self.set(name, ready);
        }
    }

    fn set(&self, name: &str, serving: bool) {
        let Some(sender) = self.0.names.get(name) else { return };
        sender.send_if_modified(|known| {
            // Checked inside the closure: a probe that ends after the stop still sets NOT_SERVING.
            let serving = serving && !*self.0.stopping.borrow();
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            std::mem::replace(known, status) != status
        });
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        match self.0.names.get(name) {
            Some(status) => Ok(Response::new(response(*status.borrow()))),
            None => Err(status::unknown_health_name(name)),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// Sends each change of a status until the program stops or the connection is aged. For an unknown name it sends
    /// SERVICE_UNKNOWN once and stays open, as the protocol asks.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.0.names.get(&request.get_ref().service).map(watch::Sender::subscribe);
        let last = known.clone();
        let changes = match known {
            Some(status) => WatchStream::new(status).boxed(),
            None => stream::iter([ServingStatus::ServiceUnknown]).chain(stream::pending()).boxed(),
        };
        let ended = self.end_of_stream(&request);
        // The end may come before the last change was sent, so the last status is sent in any case.
        let last = stream::iter(last).map(|status| *status.borrow());
        let mut last_sent = None;
        let answers = changes.take_until(Box::pin(ended)).chain(last).filter_map(move |status| {
            let is_change = last_sent.replace(status) != Some(status);
            ready(is_change.then(|| Ok(response(status))))
        });
        Ok(Response::new(answers.boxed()))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
