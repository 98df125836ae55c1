//! The table of settings: the one source of the file's keys, the environment's
//! names, the flags, the help and what `bookstore config` prints.

mod security;

use std::sync::LazyLock;

pub(super) use self::security::{
    ADMIN_TLS, ALLOW_PLAINTEXT, DATABASE_TLS, POLICY_FILE, POLICY_MODE, SECURITY_RELOAD_INTERVAL,
    TLS_CERT_FILE, TLS_CLIENT_AUTH, TLS_CLIENT_CA_FILE, TLS_CLIENT_CRL_FILE, TLS_KEY_FILE,
    TLS_MIN_VERSION, TOKENS_FILE,
};

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key in the file. The environment has it in upper case, a flag with
    /// dashes (`--database-url`).
    pub key: &'static str,
    /// The value where none is given, written as it would be given.
    pub default: &'static str,
    /// What it means, with unit and range, in one sentence.
    pub doc: &'static str,
    /// Whether it may hold a secret. Then `<key>_file` names a file with the
    /// value, and a wrong value is not shown.
    pub secret: bool,
}

const fn plain(key: &'static str, default: &'static str, doc: &'static str) -> Setting {
    Setting { key, default, doc, secret: false }
}

pub(super) const DATABASE_URL: Setting = Setting {
    key: "database_url",
    default: "sqlite://bookstore.db?mode=rwc",
    doc: "Where the database is, a URL that begins with sqlite:, postgres:// or postgresql://.",
    secret: true,
};
pub(super) const DATABASE_REPLICA_URLS: Setting = Setting {
    key: "database_replica_urls",
    default: "",
    doc: "URLs of further nodes of the same PostgreSQL cluster, separated by spaces; the service finds the primary itself.",
    secret: true,
};
pub(super) const DATABASE_READ_DEFAULT: Setting = plain(
    "database_read_default",
    "session",
    "Which node may answer a read without the metadata consistency: session, strong or eventual.",
);
pub(super) const DATABASE_REPLICA_MAX_LAG: Setting = plain(
    "database_replica_max_lag",
    "1s",
    "The largest lag of a replica that answers reads, from 0s to 1h.",
);
pub(super) const DATABASE_REPLICA_WAIT: Setting = plain(
    "database_replica_wait",
    "50ms",
    "How long a read waits for a replica to reach its token before the primary answers it, from 0s \
     to 1m.",
);
pub(super) const DATABASE_FAILOVER_WAIT: Setting = plain(
    "database_failover_wait",
    "10s",
    "How long calls wait for a primary while none of several nodes is one, from 0s to 5m.",
);
pub(super) const DATABASE_POOL_SIZE: Setting =
    plain("database_pool_size", "10", "Connections to each node that stay open, from 1 to 1000.");
pub(super) const DATABASE_MAX_OVERFLOW: Setting = plain(
    "database_max_overflow",
    "20",
    "Connections beyond the pool's size that open under load, from 0 to 1000.",
);
pub(super) const DATABASE_POOL_TIMEOUT: Setting = plain(
    "database_pool_timeout",
    "3s",
    "How long a call waits for a connection before it is refused, from 10ms to 10m.",
);
pub(super) const DATABASE_POOL_RECYCLE: Setting = plain(
    "database_pool_recycle",
    "1h",
    "How old a connection may become, give or take a tenth, from 1s to 720h.",
);
pub(super) const DATABASE_PRE_PING: Setting = plain(
    "database_pre_ping",
    "true",
    "Whether a connection that was idle for 10 s is tried before it is used.",
);
pub(super) const DATABASE_COMMAND_TIMEOUT: Setting = plain(
    "database_command_timeout",
    "60s",
    "How long one statement may run where the call's deadline is later, from 100ms to 24h.",
);
pub(super) const DATABASE_READ_TIMEOUT: Setting = plain(
    "database_read_timeout",
    "5s",
    "How long a read of a single call may take where its deadline is later, from 100ms to 24h; \
     exports have database_command_timeout.",
);
pub(super) const DATABASE_ECHO: Setting =
    plain("database_echo", "false", "Whether every statement is logged, without its values.");
pub(super) const DATABASE_SLOW_QUERY: Setting = plain(
    "database_slow_query",
    "100ms",
    "Statements that take longer are warned about, from 0s to 1h; 0s is never.",
);
pub(super) const DATABASE_MIGRATE: Setting = plain(
    "database_migrate",
    "auto",
    "Whether serve brings the schema up to date first; auto is true on SQLite, false elsewhere.",
);
pub(super) const TOKEN_KEY: Setting = Setting {
    key: "token_key",
    default: "",
    doc: "What seals page and consistency tokens, 64 hexadecimal digits; empty is the database's own \
          key.",
    secret: true,
};
pub(super) const IDEMPOTENCY_RETENTION: Setting = plain(
    "idempotency_retention",
    "24h",
    "How long idempotency keys are kept with their answers, from 1s to 720h.",
);
pub(super) const IDEMPOTENCY_MAX_KEYS: Setting = plain(
    "idempotency_max_keys",
    "1000000",
    "How many idempotency keys are kept at the same time, fences included, from 1 to 1000000000; a \
     connection may store a quarter between two counts.",
);
pub(super) const IDEMPOTENCY_MAX_BYTES: Setting = plain(
    "idempotency_max_bytes",
    "1024MiB",
    "The total size of the stored answers, from 1MiB to 1048576MiB; a connection may store a quarter between two counts.",
);
pub(super) const TRANSACTION_WAIT: Setting = plain(
    "transaction_wait",
    "2s",
    "How long Transact waits to begin while other transactions of Transact use half of the connections, from 0s to 1m.",
);
pub(super) const TRANSACTION_TIMEOUT: Setting = plain(
    "transaction_timeout",
    "5s",
    "How long a transaction of Transact may be open, whatever it asks for, from 100ms to 1m; on \
     SQLite at most 5s.",
);
pub(super) const TRANSACTION_IDLE_TIMEOUT: Setting = plain(
    "transaction_idle_timeout",
    "2s",
    "How long a caller of Transact may be silent, from 100ms to 1m; on SQLite at most 500ms.",
);
pub(super) const PASSWORD_MEMORY: Setting = plain(
    "password_memory",
    "19MiB",
    "The memory that hashing a password takes (Argon2id), from 7MiB to 1024MiB; a hash that took \
     less is renewed at the next right password.",
);
pub(super) const PASSWORD_PASSES: Setting = plain(
    "password_passes",
    "2",
    "The number of passes of Argon2id, from 1 to 100; a hash with fewer is renewed as well.",
);
pub(super) const PASSWORD_THREADS: Setting = plain(
    "password_threads",
    "auto",
    "The threads that hash passwords, each with its memory, from 1 to 64; auto is one for each core, as far as they take 40 MiB together.",
);
pub(super) const LISTEN_ADDR: Setting = plain(
    "listen_addr",
    "127.0.0.1:50051",
    "The address and port that calls come to, port 0 being any free one, or unix: and the path of a \
     socket.",
);
pub(super) const ADMIN_ADDR: Setting = plain(
    "admin_addr",
    "off",
    "The address and port for operators and probes, in plaintext without admin_tls; off is none.",
);
pub(super) const MAX_CONNECTIONS: Setting = plain(
    "max_connections",
    "1000",
    "Connections of callers at a time, from 1 to 1000000; more are closed at once.",
);
pub(super) const MAX_CONNECTION_AGE: Setting = plain(
    "max_connection_age",
    "30m",
    "How old a connection gets, a tenth more or less, before its caller is asked to open another \
     one, from 1s to 24h; 0s is never.",
);
pub(super) const MAX_CALLS: Setting = plain(
    "max_calls",
    "1000",
    "Calls that are carried out at the same time, streams included, from 1 to 100000.",
);
pub(super) const MAX_CALLS_WAITING: Setting = plain(
    "max_calls_waiting",
    "200",
    "Calls beyond those that wait for a permit, for a second at most, from 0 to 100000.",
);
pub(super) const MAX_CALLS_PER_CONNECTION: Setting = plain(
    "max_calls_per_connection",
    "auto",
    "Calls of one connection that are carried out at the same time, of which half may stream, from \
     1 to 100000; auto is a quarter of max_calls, too few for a mesh with one connection for all.",
);
pub(super) const REQUEST_TIMEOUT: Setting = plain(
    "request_timeout",
    "10s",
    "How long the service waits for the whole request of a call, from 100ms to 10m.",
);
pub(super) const STREAM_IDLE_TIMEOUT: Setting = plain(
    "stream_idle_timeout",
    "30s",
    "How long the service waits for a stream's next message, or for the caller to read some of an answer, before it ends the stream or call, from 100ms to 1h.",
);
pub(super) const MAX_CONNECTION_BYTES: Setting = plain(
    "max_connection_bytes",
    "8MiB",
    "The memory of one connection for requests that come in, and for answers that are not taken, \
     each, from 64KiB to 1024MiB; at least twice max_message_size is in force.",
);
pub(super) const MAX_RECEIVED_BYTES: Setting = plain(
    "max_received_bytes",
    "48MiB",
    "The memory of all connections for requests that come in, from 1MiB to 65536MiB.",
);
pub(super) const MAX_DECODED_BYTES: Setting = plain(
    "max_decoded_bytes",
    "48MiB",
    "The memory of all connections for requests that are decoded, as it is estimated, from 1MiB to \
     65536MiB; one request may take half.",
);
pub(super) const MAX_ANSWERED_BYTES: Setting = plain(
    "max_answered_bytes",
    "48MiB",
    "The memory of all connections for answers that are not taken, from 1MiB to 65536MiB.",
);
pub(super) const MAX_MESSAGE_SIZE: Setting = plain(
    "max_message_size",
    "4MiB",
    "The largest request and answer, in bytes, KiB or MiB, from 64KiB to 64MiB.",
);
pub(super) const SEARCH_LANGUAGE: Setting = plain(
    "search_language",
    "simple",
    "How SearchBooks compares words: simple by their letters, english by their stems, so that rivers \
     finds river.",
);
pub(super) const SHUTDOWN_PAUSE: Setting = plain(
    "shutdown_pause",
    "5s",
    "How long after SIGTERM calls are still taken while health says NOT_SERVING, from 0s to 5m; \
     Ctrl-C skips it.",
);
pub(super) const SHUTDOWN_TIMEOUT: Setting = plain(
    "shutdown_timeout",
    "25s",
    "How long calls in flight may take to end before they are cancelled, from 0s to 1h.",
);
pub(super) const LOG_LEVEL: Setting = plain(
    "log_level",
    "info",
    "What is logged: off, error, warn, info, debug or trace, and target=level after commas.",
);
pub(super) const LOG_FORMAT: Setting = plain(
    "log_format",
    "auto",
    "How it is logged: text, json (an object a line), or auto, which is text on a terminal.",
);

/// Every setting of this version, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    DATABASE_URL,
    DATABASE_REPLICA_URLS,
    DATABASE_TLS,
    DATABASE_READ_DEFAULT,
    DATABASE_REPLICA_MAX_LAG,
    DATABASE_REPLICA_WAIT,
    DATABASE_FAILOVER_WAIT,
    DATABASE_POOL_SIZE,
    DATABASE_MAX_OVERFLOW,
    DATABASE_POOL_TIMEOUT,
    DATABASE_POOL_RECYCLE,
    DATABASE_PRE_PING,
    DATABASE_COMMAND_TIMEOUT,
    DATABASE_READ_TIMEOUT,
    DATABASE_ECHO,
    DATABASE_SLOW_QUERY,
    DATABASE_MIGRATE,
    TOKEN_KEY,
    IDEMPOTENCY_RETENTION,
    IDEMPOTENCY_MAX_KEYS,
    IDEMPOTENCY_MAX_BYTES,
    TRANSACTION_WAIT,
    TRANSACTION_TIMEOUT,
    TRANSACTION_IDLE_TIMEOUT,
    PASSWORD_MEMORY,
    PASSWORD_PASSES,
    PASSWORD_THREADS,
    LISTEN_ADDR,
    ADMIN_ADDR,
    POLICY_FILE,
    POLICY_MODE,
    TOKENS_FILE,
    ALLOW_PLAINTEXT,
    TLS_CERT_FILE,
    TLS_KEY_FILE,
    TLS_CLIENT_CA_FILE,
    TLS_CLIENT_AUTH,
    TLS_CLIENT_CRL_FILE,
    TLS_MIN_VERSION,
    ADMIN_TLS,
    SECURITY_RELOAD_INTERVAL,
    MAX_CONNECTIONS,
    MAX_CONNECTION_AGE,
    MAX_CALLS,
    MAX_CALLS_WAITING,
    MAX_CALLS_PER_CONNECTION,
    REQUEST_TIMEOUT,
    STREAM_IDLE_TIMEOUT,
    MAX_CONNECTION_BYTES,
    MAX_RECEIVED_BYTES,
    MAX_DECODED_BYTES,
    MAX_ANSWERED_BYTES,
    MAX_MESSAGE_SIZE,
    SEARCH_LANGUAGE,
    SHUTDOWN_PAUSE,
    SHUTDOWN_TIMEOUT,
    LOG_LEVEL,
    LOG_FORMAT,
];

/// A name under which something can be given.
#[derive(Debug)]
pub(super) struct Name {
    /// The key in the file, and the id of the flag.
    pub(super) key: String,
    /// The name in the environment.
    pub(super) variable: String,
    /// The flag, without its dashes in front.
    pub(super) flag: String,
    pub(super) meaning: Meaning,
}

impl Name {
    /// The setting that it is about.
    pub(super) fn setting(&self) -> &'static Setting {
        let (Meaning::Value(setting) | Meaning::SecretFile(setting)) = self.meaning;
        setting
    }
}

/// The kind of value of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// The value itself.
    Value(&'static Setting),
    /// The path of a file with the value.
    SecretFile(&'static Setting),
}

/// Every name that is known, in the table's order.
pub(super) static NAMES: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let name = |key: String, meaning| Name {
        variable: key.to_ascii_uppercase(),
        flag: key.replace('_', "-"),
        key,
        meaning,
    };
    let mut names = Vec::new();
    for setting in SETTINGS {
        names.push(name(setting.key.to_owned(), Meaning::Value(setting)));
        if setting.secret {
            names.push(name(format!("{}_file", setting.key), Meaning::SecretFile(setting)));
        }
    }
    names
});
