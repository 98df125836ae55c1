//! The settings of the database and its connections.

use std::time::Duration;

use super::{
    settings::{
        DATABASE_COMMAND_TIMEOUT, DATABASE_ECHO, DATABASE_FAILOVER_WAIT, DATABASE_MAX_OVERFLOW,
        DATABASE_MIGRATE, DATABASE_POOL_RECYCLE, DATABASE_POOL_SIZE, DATABASE_POOL_TIMEOUT,
        DATABASE_PRE_PING, DATABASE_READ_DEFAULT, DATABASE_READ_TIMEOUT, DATABASE_REPLICA_MAX_LAG,
        DATABASE_REPLICA_URLS, DATABASE_REPLICA_WAIT, DATABASE_SLOW_QUERY, DATABASE_TLS,
        DATABASE_URL, TOKEN_KEY,
    },
    url::{DatabaseUrl, Engine, NodeEncryption, SSL_MODES},
    values::{self, SettingValues},
};

/// Which database, and how its connections are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `database_url`. Default a SQLite file `bookstore.db` in the working
    /// directory, made if it is missing.
    pub url: DatabaseUrl,
    /// `database_replica_urls`: further nodes of its cluster. Default none.
    pub replica_urls: Vec<DatabaseUrl>,
    /// `database_read_default`: which node may answer a read without `consistency`. Default
    /// session.
    pub read_default: ReadDefault,
    /// `database_replica_max_lag`: how far a replica may lag. Default 1 s.
    pub replica_max_lag: Duration,
    /// `database_replica_wait`: how long a read waits for a replica. Default 50 ms.
    pub replica_wait: Duration,
    /// `database_failover_wait`: how long calls wait for a primary. Default 10 s.
    pub failover_wait: Duration,
    /// `database_pool_recycle`: how old a connection may become. Default 1 h.
    pub pool_recycle: Duration,
    /// `database_pre_ping`: whether idle connections are tested before use. Default true.
    pub pre_ping: bool,
    /// `token_key`: what seals tokens; none is the database's own key.
    pub token_key: Option<[u8; 32]>,
    /// `database_pool_size`: connections that stay open. Default 10.
    pub pool_size: u32,
    /// `database_max_overflow`: connections beyond those, under load. Default 20.
    pub max_overflow: u32,
    /// `database_pool_timeout`: how long a call waits for a connection. Default 3 s.
    pub pool_timeout: Duration,
    /// `database_command_timeout`: how long one statement may run. Default 60 s.
    pub command_timeout: Duration,
    /// `database_read_timeout`: how long a read of a single call may take. Default 5 s.
    pub read_timeout: Duration,
    /// `database_echo`: whether every statement is logged. Default false.
    pub echo: bool,
    /// `database_slow_query`: statements that take longer are logged as warnings; `None` (given as
    /// 0) is never. Default 100 ms.
    pub slow_query: Option<Duration>,
    /// `database_migrate`: whether serve brings the schema up to date first.
    /// Default true on SQLite, false on PostgreSQL.
    pub migrate: bool,
}

/// Which node may answer a read without `consistency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadDefault {
    /// One that has what the same connection has written or read.
    Session,
    /// The primary.
    Strong,
    /// Any.
    Eventual,
}

impl Database {
    /// All nodes, those of `database_url` first.
    #[must_use]
    pub fn nodes(&self) -> Vec<(String, String)> {
        let urls = std::iter::once(&self.url).chain(&self.replica_urls);
        urls.flat_map(DatabaseUrl::nodes).cloned().collect()
    }

    /// How the connections to each node are encrypted; empty on SQLite.
    pub fn encryption(&self) -> impl Iterator<Item = &NodeEncryption> {
        let urls = std::iter::once(&self.url).chain(&self.replica_urls);
        urls.flat_map(DatabaseUrl::encryption)
    }

    pub(super) fn read(values: &mut SettingValues) -> Option<Self> {
        let milliseconds = Duration::from_millis;
        let pool_wait = milliseconds(10)..=Duration::from_mins(10);
        let command = milliseconds(100)..=Duration::from_hours(24);
        let slow = Duration::ZERO..=Duration::from_hours(1);

        let tls = values.read(&DATABASE_TLS, |text| {
            let mode = SSL_MODES.into_iter().find(|mode| *mode == text);
            match text {
                "auto" => Ok(None),
                _ => mode
                    .map(Some)
                    .ok_or_else(|| format!("must be auto or an sslmode: {}", SSL_MODES.join(", "))),
            }
        });
        let default = tls.flatten();
        let url = values.read(&DATABASE_URL, |text| DatabaseUrl::parse_with(text, default));
        let pool_size = values.read(&DATABASE_POOL_SIZE, values::whole(1..=1000));
        let max_overflow = values.read(&DATABASE_MAX_OVERFLOW, values::whole(0..=1000));
        let pool_timeout = values.read(&DATABASE_POOL_TIMEOUT, values::duration(pool_wait));
        let command_timeout =
            values.read(&DATABASE_COMMAND_TIMEOUT, values::duration(command.clone()));
        let read_timeout = values.read(&DATABASE_READ_TIMEOUT, values::duration(command));
        let hour = Duration::from_hours(1);
        let replicas =
            values.read(&DATABASE_REPLICA_URLS, |text| DatabaseUrl::parse_replicas(text, default));
        let read_default = values.read(&DATABASE_READ_DEFAULT, |text| match text {
            "session" => Ok(ReadDefault::Session),
            "strong" => Ok(ReadDefault::Strong),
            "eventual" => Ok(ReadDefault::Eventual),
            _ => Err("must be session, strong or eventual".to_owned()),
        });
        let max_lag =
            values.read(&DATABASE_REPLICA_MAX_LAG, values::duration(Duration::ZERO..=hour));
        let minute = Duration::ZERO..=Duration::from_mins(1);
        let replica_wait = values.read(&DATABASE_REPLICA_WAIT, values::duration(minute));
        let failover = Duration::ZERO..=Duration::from_mins(5);
        let failover_wait = values.read(&DATABASE_FAILOVER_WAIT, values::duration(failover));
        let age = Duration::from_secs(1)..=hour * 720;
        let pool_recycle = values.read(&DATABASE_POOL_RECYCLE, values::duration(age));
        let pre_ping = values.read(&DATABASE_PRE_PING, values::switch);
        let token_key = values.read(&TOKEN_KEY, token_key);
        let echo = values.read(&DATABASE_ECHO, values::switch);
        let slow_query = values.read(&DATABASE_SLOW_QUERY, values::duration(slow));
        let migrate = values.read(&DATABASE_MIGRATE, |text| match text {
            "auto" => Ok(None),
            _ => values::switch(text).map(Some).map_err(|problem| format!("{problem}, or auto")),
        });
        let (url, replica_urls) = (url?, replicas?);
        tls?;
        let on_its_own = url.engine() == Engine::Sqlite;
        if on_its_own && !replica_urls.is_empty() {
            let message = "needs a database_url of PostgreSQL: SQLite has no replicas".to_owned();
            values.read::<()>(&DATABASE_REPLICA_URLS, |_| Err(message));
        }
        let mut known: Vec<&String> = url.nodes().iter().map(|(name, _)| name).collect();
        for (name, _) in replica_urls.iter().flat_map(DatabaseUrl::nodes) {
            if known.contains(&name) {
                let message = format!("names {name}, which is named already");
                values.read::<()>(&DATABASE_REPLICA_URLS, |_| Err(message));
            }
            known.push(name);
        }
        Some(Self {
            replica_urls,
            read_default: read_default?,
            replica_max_lag: max_lag?,
            replica_wait: replica_wait?,
            failover_wait: failover_wait?,
            pool_recycle: pool_recycle?,
            pre_ping: pre_ping?,
            token_key: token_key?,
            pool_size: pool_size?,
            max_overflow: max_overflow?,
            pool_timeout: pool_timeout?,
            command_timeout: command_timeout?,
            read_timeout: read_timeout?,
            echo: echo?,
            slow_query: slow_query.map(|time| (!time.is_zero()).then_some(time))?,
            migrate: migrate?.unwrap_or(on_its_own),
            url,
        })
    }
}

fn token_key(text: &str) -> Result<Option<[u8; 32]>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digit = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let mut key = [0; 32];
    let hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal {
        return Err("must be 64 hexadecimal digits".to_owned());
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = digit(2 * at).unwrap_or_default();
    }
    Ok(Some(key))
}
