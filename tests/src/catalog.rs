//! The schema of a database, read from its catalog.

use crate::{Database, Engine, Row};

/// Everything in the database that isn't a row, as the engine's catalog spells it.
pub async fn catalog(database: &Database) -> Vec<Row> {
    let sql = match database.engine() {
        Engine::Sqlite => "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2",
        Engine::Postgres => {
            "SELECT 'column', attrelid::regclass::text || '.' || attname,
                    -- The order: numbers have gaps where a column was dropped and made again.
                    row_number() OVER (PARTITION BY attrelid ORDER BY attnum)::text,
                    concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attcollation,
                              attgenerated, pg_get_expr(adbin, adrelid))
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE relnamespace = 'public'::regnamespace AND NOT attisdropped AND attnum > 0
               AND relkind = 'r'
             UNION ALL
             SELECT 'constraint', conname, conrelid::regclass::text, pg_get_constraintdef(oid)
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL
             SELECT 'index', indexrelid::regclass::text, indisvalid::text, pg_get_indexdef(indexrelid)
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
             WHERE relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT 'routine', proname, '', pg_get_functiondef(oid) FROM pg_proc
             WHERE pronamespace = 'public'::regnamespace
             ORDER BY 1, 2, 3"
        }
    };
    database.sql(sql).await
}
