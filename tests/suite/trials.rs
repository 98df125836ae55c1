//! The long trials at a small scale.

use bookstore_tests::trial;

#[tokio::test]
async fn callers_who_leave_leave_nothing_behind() {
    trial("drops", 400).await;
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
async fn deadlines_end_calls_in_the_database() {
    trial("deadlines", 400).await;
}
