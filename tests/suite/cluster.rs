//! The test clusters work as the tests of replicas assume.

use std::{net::TcpStream, time::Duration};

use bookstore_tests::Replicated;
use tokio::time::timeout;

async fn mark(cluster: &Replicated, primary: usize, number: u32) {
    cluster.execute(primary, &format!("INSERT INTO marks VALUES ({number})")).await;
}

async fn marks(cluster: &Replicated, node: usize) -> String {
    cluster.value(node, "SELECT string_agg(number::text, ' ' ORDER BY number) FROM marks").await
}

/// The marks on a replica once it has replayed all that the primary has written.
async fn replayed(cluster: &Replicated, primary: usize, replica: usize) -> String {
    cluster.caught_up(primary, replica).await;
    marks(cluster, replica).await
}

#[tokio::test]
async fn test_cluster_freezes_kills_promotes_and_rejoins_nodes() {
    let mut cluster = Replicated::start(2).await;
    cluster.execute(0, "CREATE TABLE marks (number integer)").await;
    mark(&cluster, 0, 1).await;
    assert_eq!(replayed(&cluster, 0, 1).await, "1");
    assert_eq!(replayed(&cluster, 0, 2).await, "1");

    cluster.freeze(1);
    let mut asked = Box::pin(cluster.value(1, "SELECT 7"));
    timeout(Duration::from_millis(200), &mut asked).await.expect_err("a frozen node is silent");
    cluster.thaw(1);
    assert_eq!(asked.await, "7");

    let killed = cluster.kill(0).await;
    assert!(killed.len() > 3, "a server and its child processes: {killed:?}");
    assert_eq!(Replicated::running(&killed), [0; 0]);
    cluster.promote(1).await;
    mark(&cluster, 1, 2).await;
    cluster.follow_to(2, 1).await;
    assert_eq!(replayed(&cluster, 1, 2).await, "1 2");

    // The old primary still acts as a primary. At first only the harness can reach it.
    cluster.restart_hidden(0).await;
    TcpStream::connect(cluster.name(0)).expect_err("a closed port");
    mark(&cluster, 0, 3).await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    TcpStream::connect(cluster.name(0)).expect("it listens");
    assert_eq!(marks(&cluster, 0).await, "1 3");
    cluster.kill(0).await;
    cluster.rejoin(0, 1).await;
    mark(&cluster, 1, 4).await;
    for node in [0, 2] {
        assert_eq!(cluster.value(node, "SELECT pg_is_in_recovery()").await, "true");
        assert_eq!(replayed(&cluster, 1, node).await, "1 2 4");
    }
}
