//! A function that reads where the database's branches of history left each other (PostgreSQL,
//! 26.3.6. Timelines), which no plain role may. SQLite has no branches.
//!
//! It reads with its owner's rights, and answers NULL where the owner may not either:
//! `deploy/postgres/roles.sql` gives it that right.

use crate::revision::{Revision, postgres};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new(
        "m20261125_000001_create_timeline_history",
        "read the history of PostgreSQL's timelines",
    )
    .after("m20261121_000030_index_words_of_books")
    .up([postgres(
        r#"
            CREATE FUNCTION "bookstore_timeline_history" (timeline bigint)
                RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
                SET search_path = pg_catalog, pg_temp AS $$
                BEGIN
                    RETURN pg_read_file(
                        format('pg_wal/%s.history', lpad(upper(to_hex(timeline)), 8, '0')),
                        0, 1048576, true);
                EXCEPTION WHEN insufficient_privilege THEN
                    RETURN NULL;
                END
                $$;
            "#,
    )])
    .down([postgres(r#"DROP FUNCTION "bookstore_timeline_history" (bigint)"#)])
}
