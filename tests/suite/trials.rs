//! The long trials at a small scale.

use bookstore_tests::{has_pgbouncer, trial};

#[tokio::test]
async fn backup_under_load_restores_every_acknowledged_order() {
    trial("backup", 1).await;
}

#[tokio::test]
async fn killed_backups_and_restores_leave_what_was_there() {
    trial("backup_kills", 4).await;
}

#[tokio::test]
async fn wrong_delete_is_undone_to_the_second_before() {
    trial("point_in_time", 1).await;
}

#[tokio::test]
async fn bulk_import_and_export_stay_in_bounded_memory() {
    trial("bulk", 20_000).await;
}

#[tokio::test]
async fn orders_of_a_book_are_found_by_an_index() {
    trial("by-book", 40_000).await;
}

#[tokio::test]
async fn words_of_names_are_found_by_an_index() {
    trial("names", 40_000).await;
}

#[tokio::test]
async fn cancelled_calls_leave_nothing_behind() {
    trial("drops", 400).await;
}

#[tokio::test]
async fn search_of_many_books_ranks_every_match() {
    trial("search", 7_000).await;
}

#[tokio::test]
async fn list_orders_walk_an_index() {
    trial("plans", 50_000).await;
}

#[tokio::test]
async fn concurrent_orders_sell_no_copy_twice() {
    trial("stock", 1_280).await;
}

#[tokio::test]
async fn order_in_one_statement_is_faster() {
    trial("placing", 64).await;
}

#[tokio::test]
async fn passed_deadlines_end_calls_in_the_database() {
    trial("deadlines", 400).await;
}

#[tokio::test]
async fn broken_imports_resume_to_exact_rows() {
    trial("resume", 8).await;
}

#[tokio::test]
async fn file_transfer_stays_in_bounded_memory() {
    trial("files", 6_000).await;
}

#[tokio::test]
async fn transaction_history_is_serializable() {
    trial("history", 300).await;
}

#[tokio::test]
async fn orders_over_broken_connections_are_placed_once() {
    trial("orders", 200).await;
}

#[tokio::test]
async fn replica_reads_see_the_written_value() {
    trial("replicas", 1_600).await;
}

#[tokio::test]
async fn failover_pauses_calls_and_loses_no_write() {
    trial("failover", 1).await;
}

#[tokio::test]
async fn stop_under_load_loses_no_call() {
    trial("stops", 1).await;
}

#[tokio::test]
async fn idle_and_hostile_connections_do_not_block_calls() {
    trial("crowd", 300).await;
}

#[tokio::test]
async fn calls_with_tls_and_credentials_are_measured() {
    trial("access", 1).await;
}

#[tokio::test]
async fn telemetry_cost_per_call_stays_in_its_limit() {
    trial("telemetry", 1).await;
}

#[tokio::test]
async fn killed_migrations_resume_to_the_head() {
    trial("kills", 5).await;
}

#[tokio::test]
async fn older_and_newer_program_share_a_database_without_failures() {
    trial("versions", 400).await;
}

#[tokio::test]
async fn repair_revisions_apply_and_revert() {
    trial("repairs", 12).await;
}

/// Where PgBouncer is installed.
#[expect(clippy::print_stderr, reason = "the suite's output says what it leaves out")]
#[tokio::test]
async fn pooler_in_session_mode_answers_as_postgresql_does() {
    if !has_pgbouncer() {
        eprintln!("skipped: PgBouncer isn't installed");
        return;
    }
    trial("pgbouncer", 640).await;
}

#[tokio::test]
async fn long_load_with_faults_leaves_nothing_behind() {
    trial("soak", 25).await;
}

#[tokio::test]
async fn calls_do_not_wait_for_the_reader_of_the_log() {
    trial("slow-log", 800).await;
}

#[tokio::test]
async fn service_and_nodes_work_on_ipv6_alone() {
    trial("ipv6", 200).await;
}
