//! What a session of PostgreSQL needs: the settings that the program's SQL depends on, whatever the
//! role, the database, `postgresql.conf` or a pooler bring, and what can only be checked.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The oldest server that the program works with, as `server_version_num` shows it.
const OLDEST_SERVER: i64 = 150_000;

/// The encoding that the database must have (PostgreSQL, 24.3. Character Set Support).
const ENCODING: &str = "UTF8";

/// The collation of comparisons that ignore case (PostgreSQL, 24.2.2.3. ICU collations).
const COLLATION: &str = "und-x-icu";

/// What a session is opened for.
#[derive(Clone, Copy)]
pub(crate) enum SessionUse {
    /// The service's reads, or its writes too. The timeout is that of a statement, and of a
    /// transaction in which no statement runs.
    Service {
        /// Whether the session only reads.
        read_only: bool,
        /// In milliseconds.
        timeout: u128,
    },
    /// Migrations, which set timeouts of their own and have their own check for poolers. They heed
    /// an operator's read-only mode.
    Migrations,
}

/// What a new session has said of itself.
pub(crate) struct Opened {
    /// The process id of its backend.
    pub process: i32,
    /// The cluster's system identifier.
    pub system: u64,
    /// When the server was started, in microseconds since 1970.
    pub started: i64,
    /// Whether transactions were read-only by default, before this program set its own value: by an
    /// operator.
    pub is_read_only: bool,
}

/// Why a session can't be used.
pub(crate) enum Refusal {
    /// The database's error.
    Failed(sqlx::Error),
    /// It lacks what the program needs.
    Unsuitable(String),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// Applies the settings to a new session and checks it, in one round trip.
///
/// SET statements are used, since poolers such as PgBouncer refuse startup options.
///
/// # Errors
/// What the database answers, or what it lacks.
pub(crate) async fn apply(
    session: &mut PgConnection,
    session_use: SessionUse,
) -> Result<Opened, Refusal> {
    let sql = statements(session_use);
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(session).await?;
    // The SHOW commands come first; the checks are the last row.
    let shown = |at: usize| text(rows.get(at), 0);
    let (was_read_only, encoding, version) = (shown(0)?, shown(1)?, shown(2)?);
    let last = |at: usize| text(rows.last(), at);
    let (has_collation, is_unused) = (last(3)? == "true", last(4)? == "true");
    check(number(&version)?, &encoding, has_collation, is_unused).map_err(Refusal::Unsuitable)?;
    Ok(Opened {
        process: i32::try_from(number(&last(0)?)?).unwrap_or_default(),
        // PostgreSQL shows the unsigned 64-bit identifier as a signed number.
        system: number(&last(1)?)?.cast_unsigned(),
        started: number(&last(2)?)?,
        is_read_only: was_read_only == "on",
    })
}

/// Checks what can't be set: the server's version, the encoding, the collation, and that no other
/// client uses the session.
///
/// # Errors
/// A sentence that says what there is and what is needed.
fn check(version: i64, encoding: &str, has_collation: bool, is_unused: bool) -> Result<(), String> {
    let major = |version: i64| version / 10_000;
    if version < OLDEST_SERVER {
        let (found, needed) = (major(version), major(OLDEST_SERVER));
        return Err(format!("the server is PostgreSQL {found}, and {needed} or newer is needed"));
    }
    if encoding != ENCODING {
        return Err(format!("the database's encoding is {encoding}, and {ENCODING} is needed"));
    }
    if !has_collation {
        return Err(format!(
            "the database has no collation {COLLATION}: a server that is built with ICU is needed"
        ));
    }
    match is_unused {
        true => Ok(()),
        false => Err(shared_session("another client has used this session")),
    }
}

/// The sentence about an operator's read-only mode.
pub(crate) const READ_ONLY: &str = "an operator has made the database read-only \
     (default_transaction_read_only is on): nothing is written";

/// The sentence about a pooler that gives the sessions of the server to several clients.
pub(crate) fn shared_session(sign: &str) -> String {
    format!(
        "the connection goes through a pooler that doesn't keep a session for each client \
         ({sign}): use the server's own address, or the pooler in session mode"
    )
}

/// The statements. SHOW and SET need no snapshot, so they work before the isolation level is set: a
/// replica refuses to take a snapshot of a serializable transaction.
fn statements(session_use: SessionUse) -> String {
    let own = match session_use {
        SessionUse::Service { read_only, timeout } => format!(
            "{}; SET statement_timeout = {timeout}; \
             SET idle_in_transaction_session_timeout = {timeout}",
            access(read_only, timeout)
        ),
        SessionUse::Migrations => "SET statement_timeout = 0; \
             SET idle_in_transaction_session_timeout = 0"
            .to_owned(),
    };
    let is_own = match session_use {
        SessionUse::Service { .. } => UNUSED,
        SessionUse::Migrations => "true",
    };
    format!(
        "SHOW default_transaction_read_only; SHOW server_encoding; SHOW server_version_num; \
         SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {SETTINGS}; {own}; \
         {OPTIONAL}; {SEARCH_PATH}; {SYNCHRONOUS_COMMIT}; \
         SELECT pg_backend_pid()::text, \
         (SELECT system_identifier FROM pg_control_system())::text, \
         (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text, \
         EXISTS (SELECT FROM pg_collation WHERE collname = '{COLLATION}')::text, \
         ({is_own})::text"
    )
}

/// How long a statement waits for a lock, in milliseconds, by its own timeout: a shorter time, so
/// that the error names the lock. A nearer deadline ends the statement itself.
pub(crate) fn lock_timeout(statement_timeout: u128) -> u128 {
    LOCK_TIMEOUT.as_millis().min(statement_timeout * 9 / 10)
}

/// What makes a session write or only read. The timeout is that of a statement, in milliseconds.
pub(crate) fn access(read_only: bool, timeout: u128) -> String {
    let (is_read_only, lock_timeout) = match read_only {
        true => ("on", 0),
        false => ("off", lock_timeout(timeout)),
    };
    format!("SET default_transaction_read_only = {is_read_only}; SET lock_timeout = {lock_timeout}")
}

/// The settings that change what SQL means or what its answers look like.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; \
     SET default_transaction_deferrable = off; SET lock_timeout = 0; \
     SET standard_conforming_strings = on; SET backslash_quote = safe_encoding; \
     SET transform_null_equals = off; SET array_nulls = on; SET row_security = on; \
     SET client_encoding = 'UTF8'; SET TIME ZONE 'UTC'; SET datestyle = 'ISO, MDY'; \
     SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; \
     SET xmloption = 'content'; SET quote_all_identifiers = off; \
     SET client_min_messages = warning";

/// Whether no other client has used the session since it was reset. A pooler in transaction mode
/// resets nothing.
const UNUSED: &str = "coalesce(current_setting('bookstore.session', true), '') = '' \
     AND set_config('bookstore.session', 'in use', false) <> ''";

/// Timeouts that not every version has. A session that ends while it is idle costs its next caller
/// an error.
const OPTIONAL: &str = "SELECT set_config(name, '0', false) FROM pg_settings \
     WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

/// The search path that the URL or the database names is the service's; a role's own is not.
const SEARCH_PATH: &str = "SELECT set_config('search_path', \
     CASE WHEN source IN ('client', 'database') THEN setting ELSE 'public' END, false) \
     FROM pg_settings WHERE name = 'search_path'";

/// An acknowledged write survives a crash, and where there are synchronous replicas, the loss of
/// the primary. A stricter setting stays.
const SYNCHRONOUS_COMMIT: &str = "SELECT set_config('synchronous_commit', \
     CASE setting WHEN 'remote_apply' THEN setting ELSE 'on' END, false) \
     FROM pg_settings WHERE name = 'synchronous_commit'";

fn text(row: Option<&PgRow>, at: usize) -> Result<String, sqlx::Error> {
    row.ok_or(sqlx::Error::RowNotFound)?.try_get(at)
}

fn number(text: &str) -> Result<i64, sqlx::Error> {
    text.parse().map_err(|_| sqlx::Error::Protocol("a number was expected".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_lacks_something_is_refused_in_a_sentence() {
        assert_eq!(check(150_000, ENCODING, true, true), Ok(()));
        for ((version, encoding, has_collation, is_unused), sentence) in [
            ((140_012, ENCODING, true, true), "the server is PostgreSQL 14, and 15 or newer"),
            ((180_000, "SQL_ASCII", true, true), "encoding is SQL_ASCII, and UTF8 is needed"),
            ((180_000, ENCODING, false, true), "no collation und-x-icu"),
            ((180_000, ENCODING, true, false), "another client has used this session"),
        ] {
            let refusal = check(version, encoding, has_collation, is_unused);
            assert!(refusal.as_ref().is_err_and(|it| it.contains(sentence)), "{refusal:?}");
        }
    }
}
