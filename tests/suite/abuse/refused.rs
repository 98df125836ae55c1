//! Requests that are refused before they have come whole, written frame by frame: no client's
//! library sends the rest of a request whose answer is there.

use bookstore_tests::{
    AccessFiles, Engine, TestServer,
    frames::{self, ACK, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, frame},
    on_every_engine, policy,
};

on_every_engine!(refusals_do_not_end_their_connection);

/// More than the transport takes for a violation of its protocol.
const CALLS: u32 = 1_200;
/// Calls at a time, fewer than a connection may have.
const BATCH: u32 = 50;

/// Each rest of a request comes after its answer. All of them are taken, without a reset.
async fn refusals_do_not_end_their_connection(engine: Engine) {
    let files = AccessFiles::new(&policy(|_| "member".to_owned(), ""));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let list = "/bookstore.v1.CategoryService/ListCategories";
    let kinds = [
        ("without credentials", frames::headers(list, &[])),
        ("with wrong credentials", frames::headers(list, &[("authorization", "Bearer wrong")])),
        ("with wrong metadata", frames::headers(list, &[("request-id", "a b")])),
    ];
    for (kind, headers) in kinds {
        let mut connection = Frames::open(server.address()).await;
        for batch in 0..CALLS / BATCH {
            let streams = (batch * BATCH..(batch + 1) * BATCH).map(|call| 2 * call + 1);
            for stream in streams.clone() {
                connection.send(&[frame(HEADERS, END_HEADERS, stream, &headers)]).await;
            }
            for _ in streams.clone() {
                let answer = connection.until(HEADERS).await;
                assert_ne!(answer.flags & END_STREAM, 0, "the answer is whole: {kind}");
            }
            for stream in streams {
                connection.send(&[frame(DATA, END_STREAM, stream, &[0; 5])]).await;
            }
        }
        // Answered behind all that came before.
        connection.send(&[frame(PING, 0, 0, &[7; 8])]).await;
        while connection.until(PING).await.flags & ACK == 0 {}
    }
}
