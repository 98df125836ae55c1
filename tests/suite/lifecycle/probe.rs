//! `bookstore health`, the containers' probe: its exit codes.

use std::time::Duration;

use bookstore_tests::{Engine, Stopwatch, TestServer, on_every_engine, run};
use tokio::net::TcpListener;

on_every_engine!(probe_exit_code_follows_the_health);

async fn probe_exit_code_follows_the_health(engine: Engine) {
    let server = TestServer::builder(engine).env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let url = format!("http://{}", server.address());
    let admin = format!("http://{}", server.admin_address().await);
    for name in ["", "live", "ready", "write", "bookstore.v1.BookService"] {
        for url in [&url, &admin] {
            let probe = run(&["health", name, "--address", url], &[]).await;
            assert_eq!((probe.code, &*probe.output), (Some(0), "SERVING\n"), "{name}: {probe:?}");
        }
    }
    let probe = run(&["health"], &[("BOOKSTORE_SERVER", &url)]).await;
    assert_eq!(probe.code, Some(0), "{probe:?}");
    let probe = run(&["health", "unknown", "--address", &url], &[]).await;
    assert_eq!(probe.code, Some(3), "{probe:?}");
    assert!(probe.errors.contains("no health is known of"), "{probe:?}");
}

#[tokio::test]
async fn probe_of_a_service_waiting_for_its_schema_is_live_and_not_ready() {
    let server = TestServer::builder(Engine::Postgres).unmigrated().wait_for(Some("live"));
    let server = server.start().await;
    let url = format!("http://{}", server.address());
    for (name, code) in [("live", 0), ("ready", 4), ("", 4), ("write", 4)] {
        let probe = run(&["health", name, "--address", &url], &[]).await;
        assert_eq!(probe.code, Some(code), "{name}: {probe:?}");
        assert_eq!(probe.errors, if code == 0 { "" } else { "NOT_SERVING\n" });
    }
}

#[tokio::test]
async fn probe_exit_code_tells_wrong_usage_from_an_unreachable_service() {
    for wrong in [
        &["health", "--address", "nonsense"][..],
        &["health", "--timeout", "soon"],
        &["health", "--no-such-flag"],
        &["health", "one", "two"],
    ] {
        let probe = run(wrong, &[]).await;
        assert_eq!(probe.code, Some(1), "{wrong:?}: {probe:?}");
    }
    // A closed port, a missing socket, and a port that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("its address"));
    let watch = Stopwatch::start();
    let probe = run(&["health", "--address", &url, "--timeout", "300ms"], &[]).await;
    assert!(matches!(probe.code, Some(2 | 3)), "{probe:?}");
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(5)), "it took {took:?}");
    drop(silent);
    for address in [&*url, "unix:/nowhere/at/all.sock"] {
        let probe = run(&["health", "--address", address], &[]).await;
        assert_eq!(probe.code, Some(2), "{address}: {probe:?}");
    }
}
