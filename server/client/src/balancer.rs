//! The backends of a client. The client keeps a connection to each and watches its health (gRFC
//! A17). Calls go to the ready ones, one after another (`round_robin`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    endpoint::{Instance, describe},
    retry::{Backoff, jittered},
};

/// The pauses between attempts to connect (gRPC, connection-backoff.md, with shorter ones: a
/// service that was restarted is found within a second).
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// After a connection that lasted this long the pauses start again at the shortest, as after one
/// that was ready until it ended.
const GOOD: Duration = Duration::from_secs(2);

/// How often the watch of a backend's health is opened anew. A backend that sent GOAWAY keeps
/// the old connection open until its last call ends, and the watch is such a call.
const RENEW: Duration = Duration::from_secs(60);

/// The connectivity state of a backend (gRPC, connectivity-semantics-and-api.md).
#[derive(Clone, Debug)]
enum State {
    /// A connection is being made for the first time, or its health isn't known yet.
    Connecting,
    /// Calls may go there.
    Ready(Backend),
    /// It can't be reached, or its health isn't SERVING. The text says which.
    TransientFailure(String),
}

/// A backend that is ready.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    /// The connection.
    pub(crate) channel: Channel,
    index: usize,
    /// The number of the connection.
    connection: u64,
}

/// All backends fail, so none can be picked. The text has the reasons.
#[derive(Clone, Debug)]
pub(crate) struct NoBackend(pub(crate) String);

/// The backends of a client. Dropped, it closes their connections.
#[derive(Debug)]
pub(crate) struct Balancer {
    states: Arc<watch::Sender<Vec<State>>>,
    /// By backend the number of the last connection that a call has failed on.
    broken: Vec<watch::Sender<u64>>,
    next: AtomicUsize,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// Starts to connect to the instances. `health` is the name whose health is watched; without
    /// one, every connected backend is used.
    pub(crate) fn start(instances: Vec<Instance>, health: Option<String>) -> Self {
        let states = Arc::new(watch::Sender::new(vec![State::Connecting; instances.len()]));
        let mut tasks = JoinSet::new();
        let mut broken = Vec::new();
        for (index, instance) in instances.into_iter().enumerate() {
            let sender = watch::Sender::new(0);
            let subchannel = Subchannel {
                index,
                health: health.clone(),
                states: Arc::clone(&states),
                broken: sender.subscribe(),
            };
            tasks.spawn(subchannel.run(instance));
            broken.push(sender);
        }
        Self { states, broken, next: AtomicUsize::new(0), _tasks: tasks }
    }

    /// The next ready backend, round robin. If there is none, it waits for one; without `wait` only
    /// as long as one may still become ready.
    ///
    /// # Errors
    /// If all of them fail and the caller doesn't wait.
    pub(crate) async fn pick(&self, wait: bool) -> Result<Backend, NoBackend> {
        let mut states = self.states.subscribe();
        loop {
            {
                let states = states.borrow_and_update();
                let ready: Vec<&Backend> = states.iter().filter_map(State::backend).collect();
                if !ready.is_empty() {
                    let index = self.next.fetch_add(1, Ordering::Relaxed) % ready.len();
                    return Ok(ready[index].clone());
                }
                if !wait && !states.iter().any(|state| matches!(state, State::Connecting)) {
                    return Err(NoBackend(failures(&states)));
                }
            }
            // The sender lives as long as the balancer.
            if states.changed().await.is_err() {
                return Err(NoBackend("the client was closed".to_owned()));
            }
        }
    }

    /// Why backends aren't ready, as text.
    pub(crate) fn failures(&self) -> String {
        failures(&self.states.borrow())
    }

    /// Notes that a call's connection broke: no further call uses it.
    pub(crate) fn broke(&self, backend: &Backend, reason: &str) {
        self.states.send_if_modified(|states| match states.get_mut(backend.index) {
            Some(state) if state.connection() == Some(backend.connection) => {
                *state = State::TransientFailure(reason.to_owned());
                true
            }
            _ => false,
        });
        if let Some(broken) = self.broken.get(backend.index) {
            broken.send_if_modified(|last| {
                let later = backend.connection > *last;
                *last = backend.connection.max(*last);
                later
            });
        }
    }
}

impl State {
    fn backend(&self) -> Option<&Backend> {
        match self {
            Self::Ready(backend) => Some(backend),
            _ => None,
        }
    }

    fn connection(&self) -> Option<u64> {
        self.backend().map(|backend| backend.connection)
    }
}

fn failures(states: &[State]) -> String {
    let mut texts: Vec<&str> = states
        .iter()
        .filter_map(|state| match state {
            State::TransientFailure(reason) => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    texts.dedup();
    match texts.is_empty() {
        true => "no backend is connected yet".to_owned(),
        false => texts.join("; "),
    }
}

/// What keeps one backend connected.
struct Subchannel {
    index: usize,
    health: Option<String>,
    states: Arc<watch::Sender<Vec<State>>>,
    broken: watch::Receiver<u64>,
}

impl Subchannel {
    async fn run(mut self, instance: Instance) {
        let uri = instance.uri().clone();
        let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
        for connection in 1.. {
            let began = Instant::now();
            let reason = match instance.connect().await {
                Ok(channel) => {
                    let backend = Backend { channel, index: self.index, connection };
                    self.watch(backend).await
                }
                Err(reason) => reason,
            };
            let was_ready = self.is_ready();
            self.set(State::TransientFailure(format!("{uri}: {reason}")));
            if was_ready || began.elapsed() >= GOOD {
                backoff.reset();
            }
            sleep(jittered(backoff.pause())).await;
        }
    }

    /// Watches a connection and the health of its backend. Returns why it can no longer be used.
    async fn watch(&mut self, backend: Backend) -> String {
        let mut broken = self.broken.clone();
        let connection = backend.connection;
        let broke = async move {
            let seen = broken.wait_for(|last| *last >= connection).await;
            // The balancer aborts this task when it is dropped.
            drop(seen);
            "a call's connection broke".to_owned()
        };
        tokio::select! {
            reason = broke => reason,
            reason = self.follow_health(backend) => reason,
        }
    }

    async fn follow_health(&self, backend: Backend) -> String {
        let Some(service) = self.health.clone() else {
            self.set(State::Ready(backend));
            return std::future::pending().await;
        };
        let mut client = HealthClient::new(backend.channel.clone());
        loop {
            let request = HealthCheckRequest { service: service.clone() };
            let mut states = match client.watch(request).await {
                Ok(states) => states.into_inner(),
                // It doesn't implement the protocol. gRFC A17 then treats it as healthy.
                Err(status) if status.code() == Code::Unimplemented => {
                    self.set(State::Ready(backend));
                    return std::future::pending().await;
                }
                Err(status) => return describe(&status),
            };
            let renew = sleep(RENEW);
            tokio::pin!(renew);
            loop {
                let message = tokio::select! {
                    message = states.message() => message,
                    () = &mut renew => break,
                };
                match message {
                    Ok(Some(state)) if state.status() == ServingStatus::Serving => {
                        self.set(State::Ready(backend.clone()));
                    }
                    Ok(Some(state)) => {
                        let reason = format!("{service} is {}", state.status().as_str_name());
                        self.set(State::TransientFailure(reason));
                    }
                    Ok(None) => return "the watch of its health ended".to_owned(),
                    Err(status) => return describe(&status),
                }
            }
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self.states.borrow().get(self.index), Some(State::Ready(_)))
    }

    /// Notes the backend's state. A backend that can't be reached stays in TRANSIENT_FAILURE
    /// while it is connected again, so that calls that don't wait fail at once.
    fn set(&self, state: State) {
        self.states.send_modify(|states| {
            if let Some(known) = states.get_mut(self.index) {
                *known = state;
            }
        });
    }
}
