//! A function that reads where the database's branches of history left each other (PostgreSQL,
//! 26.3.6. Timelines), which no plain role may. SQLite has no branches.
//!
//! It reads with its owner's rights, and answers NULL where the owner may not either:
//! `deploy/postgres/roles.sql` gives it that right.

use sea_orm_migration::prelude::*;

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run_on_postgres(
            manager,
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
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run_on_postgres(manager, r#"DROP FUNCTION "bookstore_timeline_history" (bigint)"#)
            .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
