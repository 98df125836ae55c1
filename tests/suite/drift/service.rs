//! The running service logs drift once, shows it, and isn't ready while columns or tables are
//! missing that its statements name.

use std::time::Duration;

use bookstore_tests::{Engine, TestServer, on_every_engine, until};

use crate::admin::get;

on_every_engine!(
    drift_is_logged_once_and_shown_in_status,
    missing_column_makes_the_service_unready
);

/// The timeout of an immediate reaction, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn status(server: &TestServer) -> serde_json::Value {
    let (_, body) = get(server.admin_address().await, "/status").await;
    serde_json::from_str(&body).expect("JSON")
}

async fn drift_is_logged_once_and_shown_in_status(engine: Engine) {
    let database = TestServer::start(engine).await.database();
    database.sql("DROP INDEX \"posts_title_id_idx\"").await;
    let builder = TestServer::builder(engine).on(database).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let line = server.logs().wait_for(|line| line.contains("differs from the migrations")).await;
    assert!(line.contains("index.removed") && line.contains("posts_title_id_idx"), "{line}");
    until("the finding at /status", SOON, async || {
        let drift = status(&server).await["drift"].clone();
        drift
            .as_array()
            .is_some_and(|list| list.len() == 1 && list[0]["object"] == "posts_title_id_idx")
    })
    .await;
    // A missing index makes calls slow, but not wrong.
    assert_eq!(status(&server).await["status"], "HEALTHY");
}

async fn missing_column_makes_the_service_unready(engine: Engine) {
    let builder = TestServer::builder(engine).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let address = server.admin_address().await;
    let ready = || async { get(address, "/readyz").await };
    assert_eq!(ready().await.0, 200);
    server.sql("ALTER TABLE \"carts\" RENAME COLUMN \"updated_at\" TO \"changed_at\"").await;
    until("the service is not ready", SOON, async || ready().await.0 == 503).await;
    let (_, body) = ready().await;
    assert!(body.contains("carts.updated_at"), "{body}");
    let shown = status(&server).await;
    assert_eq!(shown["status"], "SCHEMA_INCOMPLETE");
    server.sql("ALTER TABLE \"carts\" RENAME COLUMN \"changed_at\" TO \"updated_at\"").await;
    until("the service is ready again", SOON, async || ready().await.0 == 200).await;
}
