//! Settings that a role, a database or a server may bring along, each turned to the value that the
//! program doesn't expect.

/// The environment variable that reverses them for a whole run of the suite.
pub const VARIABLE: &str = "BOOKSTORE_TEST_REVERSED_SETTINGS";

/// Each setting with its value, as SQL. The order has no meaning.
const VALUES: &[(&str, &str)] = &[
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_deferrable", "on"),
    ("statement_timeout", "'500ms'"),
    ("lock_timeout", "'1ms'"),
    ("idle_in_transaction_session_timeout", "'1ms'"),
    ("idle_session_timeout", "'300ms'"),
    ("search_path", "'nowhere'"),
    ("timezone", "'Asia/Kathmandu'"),
    ("datestyle", "'SQL, DMY'"),
    ("intervalstyle", "'sql_standard'"),
    ("bytea_output", "'escape'"),
    ("extra_float_digits", "-15"),
    ("lc_messages", "'POSIX'"),
    ("transform_null_equals", "on"),
    ("row_security", "off"),
    ("synchronous_commit", "off"),
    ("client_min_messages", "debug1"),
    ("array_nulls", "off"),
    ("quote_all_identifiers", "on"),
    ("xmloption", "document"),
];

/// The roles that connect to the service's database.
const ROLES: &[&str] = &["bookstore_app", "bookstore_owner"];

/// The statements that give the roles these settings in one database.
pub fn reverse_settings(database: &str) -> String {
    let statements = ROLES.iter().flat_map(|role| {
        VALUES.iter().map(move |(name, value)| {
            format!("ALTER ROLE {role} IN DATABASE {database} SET {name} = {value};")
        })
    });
    statements.collect()
}
