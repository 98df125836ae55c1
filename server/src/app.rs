//! Wires the service and runs it from start to stop.

mod access;
mod error;
mod listen;
mod methods;
mod security;
mod sweep;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bookstore_migration::{
    chain::Chain,
    runner::{Event, Options, Runner},
};
use bookstore_store::{
    Deadline, PoolOptions, Schema, StatementLog, Store, StoreOptions, TopologyOptions,
};
use http::Extensions;
use tokio::time::{sleep, timeout};
use tonic::service::RoutesBuilder;
use tonic_health::pb::health_server::HealthServer;

use self::listen::{Listening, listen};
pub use self::{
    error::AppError,
    methods::{policy_methods, registry},
};
use crate::{
    admin::{self, Admin},
    budget::{self, Budget},
    config::{Address, Config, Database, ReadDefault, Transactions},
    drift::{self, Drift},
    listener::{self, ConnectionLimits},
    migrations::{self, StoreOpener},
    resource::{RESOURCES, user},
    rpc::{
        call_settings::CallSettings,
        calls::Calls,
        consistency::Consistency,
        health::Readiness,
        layers::{self, LayerContext},
        load::Load,
        reflection,
        rules::Rules,
        session::SessionCell,
        stored::StoredAnswers,
    },
    sample_data,
    security::{
        access::AccessControl,
        password::{self, Hashing},
        reload::ReloadTask,
    },
    shutdown::{Signal, Signals, Stop, TerminationMessage},
    telemetry, transaction,
};

/// The timeout of the first read of the schema. Its result is only logged.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of a connection's HTTP/2 preface, which takes one round trip at most.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout for closing idle database connections at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the store that the settings describe; nothing is connected yet.
///
/// # Errors
/// If the URL can't be read.
pub fn open_store(database: &Database) -> Result<Store, AppError> {
    let store = Store::new(StoreOptions {
        nodes: database.nodes(),
        pool: PoolOptions {
            size: database.pool_size,
            max_overflow: database.max_overflow,
            timeout: database.pool_timeout,
            recycle: database.pool_recycle,
            pre_ping: database.pre_ping,
        },
        topology: TopologyOptions {
            max_lag: database.replica_max_lag,
            replica_wait: database.replica_wait,
            failover_wait: database.failover_wait,
        },
        sealing_key: database.token_key,
        command_timeout: database.command_timeout,
        read_timeout: database.read_timeout,
        statement_log: StatementLog { echo: database.echo, slow: database.slow_query },
    })?;
    Ok(store)
}

/// Applies the pending migrations.
///
/// # Errors
/// If the database can't be reached or a migration fails.
pub async fn migrate(store: &Store, chain: &Chain) -> Result<(), AppError> {
    let opener = StoreOpener(store.clone());
    let mut report = |event: Event| match event {
        Event::Done { revision, .. } => tracing::info!(revision, "migrated"),
        Event::Adopted { count } => tracing::info!(count, "recorded the hashes of revisions"),
        event => tracing::info!("migrating: {}", migrations::text(&event)),
    };
    let mut runner = Runner::start(&opener, chain, Options::default(), &mut report).await?;
    let done = runner.up(chain.revisions().len()).await;
    runner.finish().await;
    done?;
    Ok(())
}

/// Serves until a signal, then drains. `listening` gets the bound address. `termination_message` writes the
/// termination message if the program doesn't drain to its end.
///
/// # Errors
/// If the service can't start, or calls had to be cut at the end.
pub async fn serve(
    config: &Config,
    chain: &Chain,
    sample_data: Option<NonZeroU32>,
    termination_message: &TerminationMessage,
    listening: impl FnOnce(&Address),
) -> Result<(), AppError> {
    let mut signals =
        Signals::install().and_then(Signals::ignoring_others).map_err(AppError::Signals)?;
    password::configure(hashing(config));
    let store = open_store(&config.database)?;
    store.follow();
    let rules = Rules::of_contract().map_err(AppError::Contract)?;
    let calls = Calls::new(store.clone(), rules, config.server.max_message_size);
    calls.set_settings(CallSettings {
        key_retention: config.transactions.idempotency_retention,
        search_language: config.server.search_language,
    });
    let resources = RESOURCES.iter().map(|resource| resource.name);
    let names: Vec<&str> = resources.chain([transaction::NAME]).collect();
    let readiness = Readiness::new(&names);
    let load = Load::new(config.server.max_calls, config.server.max_calls_waiting);
    let budget = budget(config);
    budget.observe();
    let stored = budget.clone();
    let mut reload = ReloadTask::default();
    let access = access::load(config, &mut reload)?;
    let services = services(config, &calls, &readiness, &load, &budget, access.clone())?;

    let tls = security::load_tls(config, &mut reload)?;
    security::observe_database(&config.database);
    let drift = Drift::default();
    let Listening { socket, address, admin } = listen(config).await?;
    if let Some(listener) = admin {
        let (store, known, readiness) = (store.clone(), chain.names(), readiness.clone());
        let (drift, metrics) = (drift.clone(), Some(telemetry::prometheus as fn() -> String));
        let access = access.clone();
        let encryption = config.database.encryption().cloned().collect();
        let admin = Admin { store, known, readiness, load, encryption, drift, access, metrics };
        // The admin address isn't drained. It answers until the process ends.
        let tls = tls.clone().filter(|_| config.security.admin_tls);
        tokio::spawn(admin::serve(listener, tls, admin));
    }

    readiness.set_live();
    let stop = Stop::new();
    let limits = ConnectionLimits {
        connections: config.server.max_connections,
        preface_timeout: PREFACE_TIMEOUT,
        age: config.server.max_connection_age,
        drain: config.server.shutdown_timeout,
        idle: config.server.stream_idle_timeout,
    };
    let server =
        listener::serve(socket, tls, services, make_extensions, budget, stop.clone(), limits);
    let server = tokio::spawn(server);
    listening(&address);
    if let Some(access) = access {
        tokio::spawn(access::follow(access));
    }
    tokio::spawn(reload.run(config.security.reload_interval));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    if config.security.policy.is_none() && !address.is_of_this_machine() {
        tracing::warn!(
            "without policy_file every caller may call every method, and other machines reach the port"
        );
    }

    // Health checks and signals are served from the start: a long migration must neither look like
    // a hung process nor delay a stop.
    let signal = tokio::select! {
        signal = signals.wait() => signal,
        prepared = prepare(config, chain, sample_data, &store, &calls, &readiness) => {
            prepared?;
            let needs = drift::needs(store.backend().into());
            tokio::spawn(readiness.clone().follow(store.clone(), chain.names(), needs));
            tokio::spawn(drift.examine(readiness.clone(), store.clone(), chain.clone()));
            let retention = config.transactions.idempotency_retention;
            tokio::spawn(sweep::sweep(store.clone(), retention, stored));
            tokio::spawn(user::renew(store.clone()));
            signals.wait().await
        }
    };
    let termination_message = termination_message.clone();
    tokio::spawn(async move {
        let signal = signals.wait().await;
        termination_message.write("a second signal ended the program at once", signal.exit_code());
        telemetry::flush(Duration::from_millis(200));
        signal.end_process()
    });
    tracing::info!(?signal, "stopping");
    readiness.set_stopping();
    if signal == Signal::Terminate {
        // Load balancers need time to see NOT_SERVING. A person who pressed Ctrl-C doesn't.
        sleep(config.server.shutdown_pause).await;
    }
    readiness.end_watches();
    calls.end_streams();
    stop.trigger();
    let drained = server.await;
    match &drained {
        Ok(drained) if drained.calls_cut == 0 => tracing::info!("drained"),
        Ok(drained) => tracing::warn!(
            calls_cut = drained.calls_cut,
            "calls in flight were cancelled after shutdown_timeout"
        ),
        Err(error) => tracing::error!(%error, "the listener ended"),
    }
    if timeout(CLOSE_TIMEOUT, store.close()).await.is_err() {
        tracing::warn!("database connections were left open");
    }
    match drained?.calls_cut {
        0 => Ok(()),
        calls => Err(AppError::CallsCut(calls)),
    }
}

/// The work before the service is ready. If the future is dropped, each revision is applied whole
/// or not at all.
async fn prepare(
    config: &Config,
    chain: &Chain,
    sample_data: Option<NonZeroU32>,
    store: &Store,
    calls: &Calls,
    readiness: &Readiness,
) -> Result<(), AppError> {
    let known = chain.names();
    if config.database.migrate {
        if let Ok(Schema::Pending(revisions)) =
            store.schema(&known, Deadline::after(SCHEMA_TIMEOUT)).await
        {
            readiness.set_pending(revisions);
        }
        migrate(store, chain).await?;
    }
    if let Some(books) = sample_data {
        if let Schema::Pending(_) = store.schema(&known, Deadline::NONE).await? {
            return Err(AppError::NotMigrated);
        }
        sample_data::load(calls, store, books).await?;
    }
    Ok(())
}

/// The request extensions that all calls of a connection share.
fn make_extensions() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(SessionCell::default());
    extensions
}

/// How passwords are hashed, as the settings say.
pub fn hashing(config: &Config) -> Hashing {
    let memory_kib = u32::try_from(config.passwords.memory / 1024).unwrap_or(u32::MAX);
    let threads = config.passwords.threads.and_then(|threads| usize::try_from(threads).ok());
    let threads = threads.unwrap_or_else(|| password::threads(memory_kib));
    Hashing { memory_kib, passes: config.passwords.passes, threads }
}

/// The most memory that the service takes beyond what it takes idle, in bytes: the sum of all
/// budgets, with their reserves, of connections and of the buffers that hash passwords.
pub fn most_memory(config: &Config) -> usize {
    let tls = if config.security.tls.is_some() { budget::TLS } else { 0 };
    let connections = config.server.max_connections as usize * (budget::CONNECTION + tls);
    budget(config).most() + connections + password::memory(&hashing(config))
}

/// What connections may hold, as the settings say.
fn budget(config: &Config) -> Arc<Budget> {
    let server = &config.server;
    Budget::new(budget::Limits {
        connection: server.max_connection_bytes,
        received: server.max_received_bytes,
        answered: server.max_answered_bytes,
        decoded: server.max_decoded_bytes,
        calls: server.max_calls_per_connection,
        stored_keys: config.transactions.idempotency_max_keys,
        stored_bytes: config.transactions.idempotency_max_bytes,
    })
}

/// All services inside the layers.
fn services(
    config: &Config,
    calls: &Calls,
    readiness: &Readiness,
    load: &Load,
    budget: &Arc<Budget>,
    access: Option<Arc<AccessControl>>,
) -> Result<layers::Layered, AppError> {
    let Transactions { wait, timeout, idle_timeout, .. } = config.transactions;
    let limits = transaction::TransactionLimits { wait, total: timeout, idle: idle_timeout };
    let registry = Arc::new(registry()?);
    let mut routes = RoutesBuilder::default();
    for resource in RESOURCES {
        (resource.serve)(&mut routes, calls.clone());
    }
    transaction::serve(&mut routes, calls.clone(), registry.clone(), limits);
    StoredAnswers::install(calls, registry.clone());
    routes.add_service(HealthServer::new(readiness.clone()));
    reflection::serve(&mut routes, readiness).map_err(AppError::Contract)?;
    let shared = LayerContext {
        access,
        registry,
        readiness: readiness.clone(),
        load: load.clone(),
        budget: budget.clone(),
        request_timeout: config.server.request_timeout,
        stream_idle_timeout: config.server.stream_idle_timeout,
        max_message_size: calls.max_message_size(),
        consistency: match config.database.read_default {
            ReadDefault::Session => Consistency::Session,
            ReadDefault::Strong => Consistency::Strong,
            ReadDefault::Eventual => Consistency::Eventual,
        },
        sealing_key: {
            let calls = calls.clone();
            Box::new(move || calls.sealing_key())
        },
    };
    Ok(layers::around(routes.routes().into_axum_router(), Arc::new(shared)))
}
