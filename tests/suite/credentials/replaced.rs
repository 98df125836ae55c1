//! Tokens, keys and the policy that are replaced while callers call. No call of a caller who keeps
//! the right to it is lost, and no call passes without it for longer than twice the interval.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bookstore_tests::{
    AccessFiles, Engine, Issuer, SOON, Stopwatch, TestServer, on_every_engine, policy, until,
};
use tokio::task::JoinHandle;

use super::{LIST, bearer, for_members, list_as, refused};
use crate::bad_input::send;

on_every_engine!(
    tokens_are_replaced_under_load,
    keys_are_replaced_under_load,
    the_policy_is_replaced_under_load
);

/// Twice `security_reload_interval`, and what a call takes on a busy machine.
const IN_FORCE: Duration = Duration::from_millis(200 + 100);

/// Callers at a time.
const CALLERS: usize = 4;

/// Callers that call until they are stopped, and that must not be refused.
struct Callers {
    is_over: Arc<AtomicBool>,
    calls: Vec<JoinHandle<u32>>,
}

impl Callers {
    /// Begins to call with tokens: each of them is used by [`CALLERS`] callers in a row of calls.
    fn start(server: &TestServer, tokens: &[&str]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let each = tokens.iter().flat_map(|token| std::iter::repeat_n(*token, CALLERS));
        let calls = each.map(|token| {
            let (channel, header, is_over) = (server.channel(), bearer(token), is_over.clone());
            tokio::spawn(async move {
                let mut made = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let metadata = [("authorization", header.as_str())];
                    let answer = send(channel.clone(), LIST, Vec::new(), &metadata).await;
                    answer.unwrap_or_else(|status| panic!("call {made} is lost: {status:?}"));
                    made += 1;
                }
                made
            })
        });
        let calls = calls.collect();
        Self { is_over, calls }
    }

    /// Ends them.
    ///
    /// # Panics
    /// If one of them was refused, or has not called at all.
    async fn stop(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for calls in std::mem::take(&mut self.calls) {
            assert!(calls.await.expect("no call is lost") > 0);
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Waits until calls with a token are refused, and makes sure that this is soon, for this reason,
/// and for good.
async fn is_refused_in_time(server: &TestServer, token: &str, replaced: Stopwatch, reason: &str) {
    until("the token is refused", SOON, async || list_as(server, token).await.is_err()).await;
    let took = replaced.stop();
    assert!(took.at_most(IN_FORCE), "{took:?}");
    let calls = (0..20).map(|_| async {
        let header = bearer(token);
        let metadata = [("authorization", header.as_str())];
        send(server.channel(), LIST, Vec::new(), &metadata).await
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(refused(&answer.expect_err("it was refused before")).reason, reason);
    }
}

/// Waits until calls with a token pass, and makes sure that this is soon.
async fn passes_in_time(server: &TestServer, token: &str, replaced: Stopwatch) {
    until("the token is taken", SOON, async || list_as(server, token).await.is_ok()).await;
    let took = replaced.stop();
    assert!(took.at_most(IN_FORCE), "{took:?}");
}

async fn tokens_are_replaced_under_load(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let kept = files.token("ben");
    let server = files.apply(TestServer::builder(engine)).start().await;
    let callers = Callers::start(&server, &[&kept]);
    let lines = || std::fs::read_to_string(files.path("tokens")).expect("the tokens");
    let before = lines();
    let mut old: Option<String> = None;
    for _ in 0..3 {
        let replaced = Stopwatch::start();
        let new = files.token("ada");
        passes_in_time(&server, &new, replaced).await;
        // The one before it counts as long as its line is there.
        if let Some(old) = &old {
            list_as(&server, old).await.expect("the old token beside the new one");
        }
        let last = lines().lines().last().expect("the new token's line").to_owned();
        let replaced = Stopwatch::start();
        files.set_tokens(&format!("{before}{last}\n"));
        if let Some(old) = &old {
            is_refused_in_time(&server, old, replaced, "CREDENTIALS_INVALID").await;
        }
        list_as(&server, &new).await.expect("the new token");
        old = Some(new);
    }
    callers.stop().await;
}

async fn keys_are_replaced_under_load(engine: Engine) {
    let (kept, old, new) = (Issuer::new("kept"), Issuer::new("old"), Issuer::new("new"));
    let files = AccessFiles::new("");
    files.replace("keys.json", &Issuer::keys(&[&kept, &old]));
    let keys = format!("keys_file = \"{}\"", files.path("keys.json").display());
    files.set_policy(&for_members(&Issuer::table(&keys)));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let claims = Issuer::claims("ada");
    let (of_kept, of_old, of_new) = (kept.token(&claims), old.token(&claims), new.token(&claims));
    list_as(&server, &of_old).await.expect("the old key");
    let callers = Callers::start(&server, &[&of_kept]);
    let replaced = Stopwatch::start();
    files.replace("keys.json", &Issuer::keys(&[&kept, &old, &new]));
    passes_in_time(&server, &of_new, replaced).await;
    let both = Callers::start(&server, &[&of_new]);
    list_as(&server, &of_old).await.expect("the old key beside the new one");
    // A leaked key: its tokens were verified a moment ago and are refused all the same.
    let replaced = Stopwatch::start();
    files.replace("keys.json", &Issuer::keys(&[&kept, &new]));
    is_refused_in_time(&server, &of_old, replaced, "CREDENTIALS_INVALID").await;
    both.stop().await;
    callers.stop().await;
}

async fn the_policy_is_replaced_under_load(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let callers = Callers::start(&server, &[&ada]);
    let open = policy(|_| "member other".to_owned(), "");
    for text in [for_members(""), for_members("# another text\n")] {
        let replaced = Stopwatch::start();
        files.set_policy(&open);
        passes_in_time(&server, &eve, replaced).await;
        // A wrong policy changes nothing for those who call.
        let failed = "no line for ListCategories";
        files.set_policy(&open.replace("ListCategories = \"member other\"\n", ""));
        server.logs().wait_for(|line| line.contains(failed)).await;
        list_as(&server, &eve).await.expect("the policy before it");
        let replaced = Stopwatch::start();
        files.set_policy(&text);
        is_refused_in_time(&server, &eve, replaced, "METHOD_FORBIDDEN").await;
    }
    callers.stop().await;
}
