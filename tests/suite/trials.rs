//! The long trials at a small scale.

use bookstore_tests::trial;

#[tokio::test]
async fn books_come_and_go_in_bounded_memory() {
    trial("bulk", 20_000).await;
}

#[tokio::test]
async fn callers_who_leave_leave_nothing_behind() {
    trial("drops", 400).await;
}

#[tokio::test]
async fn searches_rank_every_match() {
    trial("search", 7_000).await;
}

#[tokio::test]
async fn lists_walk_an_index() {
    trial("plans", 50_000).await;
}

#[tokio::test]
async fn nothing_is_sold_twice() {
    trial("stock", 1_280).await;
}

#[tokio::test]
async fn one_statement_places_an_order_faster() {
    trial("placing", 64).await;
}

#[tokio::test]
async fn deadlines_end_calls_in_the_database() {
    trial("deadlines", 400).await;
}

#[tokio::test]
async fn broken_imports_go_on() {
    trial("resume", 8).await;
}

#[tokio::test]
async fn files_need_little_memory() {
    trial("files", 6_000).await;
}

#[tokio::test]
async fn an_order_explains_what_transactions_saw() {
    trial("history", 300).await;
}

#[tokio::test]
async fn every_order_is_placed_once() {
    trial("orders", 200).await;
}

#[tokio::test]
async fn replicas_answer_what_was_written() {
    trial("replicas", 1_600).await;
}

#[tokio::test]
async fn a_failover_is_a_pause() {
    trial("failover", 1).await;
}

#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    trial("stops", 1).await;
}

#[tokio::test]
async fn a_crowd_keeps_nobody_from_being_served() {
    trial("crowd", 300).await;
}

#[tokio::test]
async fn telemetry_has_its_price_told() {
    trial("telemetry", 1).await;
}

#[tokio::test]
async fn killed_migrations_go_on() {
    trial("kills", 5).await;
}

#[tokio::test]
async fn an_older_program_and_a_newer_share_a_database() {
    trial("versions", 400).await;
}

#[tokio::test]
async fn drift_is_mended() {
    trial("repairs", 12).await;
}
