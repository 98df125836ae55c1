//! Writes and reads of several callers, each on its own connections, with lagging replicas: reads
//! see the writes before them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
};
use rand::{Rng, seq::IndexedRandom};
use tonic::{Request, Response, transport::Channel};

use super::readers::{ADMIN, LOG, Readers, Shared};
use crate::{Engine, Replicated, TestServer};

/// Concurrent callers.
const CALLERS: u32 = 8;

/// The state of a replica while pairs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replay {
    /// It replays this much later.
    Late(u64),
    /// Its replay stops and resumes at random.
    Pausing,
}

/// Makes `scale` pairs with the token, spread over the replicas' states; a quarter as many on one
/// connection without it, an eighth as many with a strong read, and as many with the token where
/// the service doesn't wait for a replica.
pub(super) async fn replicas(scale: u32) {
    let cluster = Arc::new(Replicated::start(2).await);
    let serve = |wait: &str| {
        TestServer::builder(Engine::Postgres)
            .url(&cluster.urls("bookstore_app"))
            .env(LOG.0, LOG.1)
            .env("DATABASE_REPLICA_WAIT", wait)
            .env(ADMIN.0, ADMIN.1)
            .start()
    };
    // The second has the primary answer at once what no replica has.
    let (waiting, hasty) = (serve("50ms").await, serve("0s").await);
    // At replicas that may be late, for the same kind of rows as the reads with tokens.
    let none = [uuid::Uuid::new_v4().to_string()];
    let readers = [&waiting, &hasty].map(|server| Readers::start(server, &none));
    let states = [Replay::Late(0), Replay::Late(50), Replay::Late(500), Replay::Pausing];
    for state in states {
        let delay = if let Replay::Late(delay) = state { delay } else { 0 };
        for replica in [1, 2] {
            cluster.delay(replica, Duration::from_millis(delay)).await;
        }
        let done = Arc::new(AtomicBool::new(state != Replay::Pausing));
        let pausing = tokio::spawn(pause(Arc::clone(&cluster), Arc::clone(&done)));
        let each = scale / CALLERS / 4;
        for (how, pairs) in [
            (How::Token, each),
            (How::Session, each / 4),
            (How::AtOnce, each / 8),
            (How::Strong, each / 8),
        ] {
            let server = if how == How::AtOnce { &hasty } else { &waiting };
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| tokio::spawn(caller(server.address().to_string(), how, pairs.max(8))))
                .collect();
            let mut read = Vec::new();
            for caller in callers {
                read.extend(caller.await.expect("no panic of a caller"));
            }
            report(state, how, read, scale);
        }
        done.store(true, Ordering::Relaxed);
        let [one, both] = pausing.await.expect("the pausing task");
        if state == Replay::Pausing {
            eprintln!("replay was paused {one} times on a replica and {both} times on both");
            assert!(one > 0 && both > 0, "paused {one} and {both} times");
        }
    }
    for readers in readers {
        assert!(readers.end().await > 0, "no read was answered");
    }
    Shared::count(&waiting).await.and(Shared::count(&hasty).await).report("replicas");
}

/// How a read is made to see the write before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// On another connection, with the write's token.
    Token,
    /// On the same connection, without a token.
    Session,
    /// With the token, on the primary unless a replica has the write already.
    AtOnce,
    /// On another connection, on the primary.
    Strong,
}

/// Pauses and resumes the replay of one replica or of both until `done`; returns how often for one
/// and for both.
async fn pause(cluster: Arc<Replicated>, done: Arc<AtomicBool>) -> [u32; 2] {
    let mut times = [0, 0];
    while !done.load(Ordering::Relaxed) {
        let which: &[usize] =
            [&[1][..], &[2], &[1, 2]].choose(&mut rand::rng()).expect("a process to kill");
        for replica in which {
            cluster.execute(*replica, "SELECT pg_wal_replay_pause()").await;
        }
        let pause = Duration::from_millis(rand::rng().random_range(1..80));
        tokio::time::sleep(pause).await;
        for replica in which {
            cluster.execute(*replica, "SELECT pg_wal_replay_resume()").await;
        }
        times[which.len() - 1] += 1;
    }
    times
}

/// Writes a book and reads it, repeatedly; returns for each read its duration and whether a replica
/// answered it.
async fn caller(address: String, how: How, pairs: u32) -> Vec<(Duration, bool)> {
    let connect = || async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.expect("an address").tcp_nodelay(true);
        BookServiceClient::new(endpoint.connect().await.expect("a connection"))
    };
    let mut writer = connect().await;
    let mut reader = if how == How::Session { writer.clone() } else { connect().await };
    let price = Some(Money { currency_code: "EUR".into(), units: 5, nanos: 0 });
    let book =
        Book { title: "Dune".into(), author: "Frank Herbert".into(), price, ..Book::default() };
    let create = CreateBookRequest { book: Some(book), ..CreateBookRequest::default() };
    let id = writer.create_book(create).await.expect("a book").into_inner().id;
    let mut read = Vec::new();
    for stock in 1..=i32::try_from(pairs).expect("a small number") {
        let written = write(&mut writer, &id, stock).await;
        let mut request = Request::new(GetBookRequest { id: id.clone(), ..Default::default() });
        let metadata = request.metadata_mut();
        if matches!(how, How::Token | How::AtOnce) {
            let token = written.metadata().get("consistency-token").expect("a token").clone();
            metadata.insert("consistency-token", token);
            metadata.insert("consistency", "at-least".parse().expect("ASCII"));
        }
        if how == How::Strong {
            metadata.insert("consistency", "strong".parse().expect("ASCII"));
        }
        let began = Instant::now();
        let answer = reader.get_book(request).await.expect("a read");
        let took = began.elapsed();
        let by = answer.metadata().get("served-by").expect("a node").clone();
        assert_eq!(answer.get_ref().stock, stock, "a stale read from {by:?}");
        read.push((took, by != "primary"));
    }
    read
}

async fn write(books: &mut BookServiceClient<Channel>, id: &str, stock: i32) -> Response<Book> {
    let book = Book { id: id.to_owned(), stock, ..Book::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["stock".into()] });
    let request = UpdateBookRequest { book: Some(book), update_mask, allow_missing: false };
    books.update_book(request).await.expect("a write")
}

fn report(state: Replay, how: How, mut read: Vec<(Duration, bool)>, scale: u32) {
    read.sort();
    let by_replicas = read.iter().filter(|(_, replica)| *replica).count() * 100 / read.len();
    let at = |part: usize| read[(read.len() - 1) * part / 100].0.as_secs_f64() * 1e3;
    eprintln!(
        "{state:?}, {how:?}: {} reads, {by_replicas} % by replicas, median {:.1} ms, p99 {:.1} ms",
        read.len(),
        at(50),
        at(99)
    );
    if (state, how) == (Replay::Late(0), How::Token) {
        // Beside the other tests of a suite a replica may be late on a small machine.
        let least = if scale < 10_000 { 40 } else { 80 };
        assert!(by_replicas >= least, "replicas without lag answer only {by_replicas} %");
    }
    if how == How::Strong {
        assert_eq!(by_replicas, 0, "the primary answers strong reads");
    }
}
