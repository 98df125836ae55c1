//! The times of changes: each change of a row is later than the one before.
//!
//! Clocks of instances differ, and a clock may be set back. A caller that polls a row by its time
//! must see every change, and what a list is ordered by must not contradict an earlier answer.

use chrono::{DateTime, Utc};
use sea_orm::{
    DbBackend,
    sea_query::{Expr, SimpleExpr},
};

/// The SQL of the time of a change: `new`, or a microsecond after `old` if `new` is not later. Both
/// are SQL; `new` may be a placeholder.
pub fn later_sql(backend: DbBackend, new: &str, old: &str) -> String {
    match backend {
        DbBackend::Postgres => format!("greatest({new}, {old} + interval '1 microsecond')"),
        // SQLite's functions have milliseconds at most. The text is that of `Utc` in RFC 3339: none,
        // three or six digits of the second.
        _ => {
            let digits =
                format!("substr(replace(substr({old}, 21), '+00:00', '') || '000000', 1, 6)");
            let next = format!("(CAST({digits} AS INTEGER) + 1)");
            format!(
                "CASE WHEN {new} > {old} THEN {new} \
                 WHEN {next} = 1000000 \
                 THEN strftime('%Y-%m-%dT%H:%M:%S', substr({old}, 1, 19), '+1 second') || '+00:00' \
                 WHEN {next} % 1000 = 0 \
                 THEN substr({old}, 1, 19) || printf('.%03d+00:00', {next} / 1000) \
                 ELSE substr({old}, 1, 19) || printf('.%06d+00:00', {next}) END"
            )
        }
    }
}

/// The time of a change that happens `now`. `old` is the SQL of the row's last time.
pub fn later(backend: DbBackend, now: DateTime<Utc>, old: &str) -> SimpleExpr {
    match backend {
        DbBackend::Postgres => Expr::cust_with_values(later_sql(backend, "$1", old), [now]),
        _ => Expr::cust_with_values(later_sql(backend, "?", old), [now, now]),
    }
}
