//! Budgets: what a connection and all of them may hold, and who is ended.

use std::time::Duration;

use bookstore_store::Meter;
use futures_util::{FutureExt, future::poll_fn};
use tokio::time::timeout;

use super::{
    Account, Budget, BudgetSide, CONNECTION, INCLUDED, Limits, UNCHARGED, account::WAITERS,
};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// A MiB of each kind for a connection, two for all, and four keys.
const LIMITS: Limits = Limits {
    connection: MIB,
    received: 2 * MIB,
    answered: 2 * MIB,
    decoded: 2 * MIB,
    calls: 4,
    stored_keys: 8,
    stored_bytes: 4_000,
};

fn take(account: &Account, bytes: usize) -> Option<super::Held> {
    account.try_take(BudgetSide::Received, bytes)
}

#[test]
fn a_connection_and_all_together_have_limits() {
    let budget = Budget::new(LIMITS);
    let [one, two, three] = [(); 3].map(|()| budget.open());
    let held = take(&one, MIB);
    assert!(held.is_some() && take(&one, 1).is_none(), "a connection's own limit");
    let other = take(&two, MIB);
    assert!(other.is_some() && take(&three, 300 * 1024).is_none(), "the limit of all");
    let small = take(&three, 200 * 1024);
    assert!(small.is_some(), "a reserve is for connections that hold little");
    assert!(take(&three, 100 * 1024).is_none(), "and not for others");
    drop(held);
    assert!(take(&three, 300 * 1024).is_some());
    drop((other, small));
    assert_eq!((budget.used(BudgetSide::Received), one.used(BudgetSide::Received)), (0, 0));
    assert_eq!(budget.most(), 3 * (2 * MIB + 2 * MIB / 8) + WAITERS * UNCHARGED);
    const { assert!(CONNECTION > 0) };
}

#[tokio::test]
async fn who_waits_gets_what_is_given_back() {
    let budget = Budget::new(LIMITS);
    let account = budget.open();
    let held = take(&account, MIB);
    let waiter = account.clone();
    let mut waits = Box::pin(async move { waiter.take(BudgetSide::Received, MIB, SOON).await });
    assert!(waits.as_mut().now_or_never().is_none());
    drop(held);
    let taken = timeout(SOON, waits).await.expect("it is woken");
    assert!(taken.is_some());
    assert!(account.take(BudgetSide::Received, 1, SHORT).await.is_none(), "not longer than it may");
    assert!(account.take(BudgetSide::Received, 2 * MIB, SOON).now_or_never().unwrap().is_none());
}

#[tokio::test]
async fn the_connection_that_holds_most_is_ended() {
    let budget = Budget::new(LIMITS);
    let [most, less, late] = [(); 3].map(|()| budget.open());
    let held = take(&most, MIB);
    let other = take(&less, MIB - 1);
    let end = tokio::spawn({
        let most = most.clone();
        async move {
            most.ended(Duration::from_hours(1)).await;
            drop(held);
        }
    });
    let taken = late.take(BudgetSide::Received, 400 * 1024, SOON).await;
    assert!(taken.is_some(), "it gets what the ended one has held");
    timeout(SOON, end).await.expect("it is ended").unwrap();
    assert!(less.ended(Duration::from_hours(1)).now_or_never().is_none());
    drop(other);
}

/// Ends with its connection and gives back what that holds then.
fn holder(account: &Account, bytes: usize) -> tokio::task::JoinHandle<()> {
    let (account, held) = (account.clone(), take(account, bytes).expect("room"));
    tokio::spawn(async move {
        account.ended(Duration::from_hours(1)).await;
        // As long as a busy service may take.
        tokio::time::sleep(SHORT).await;
        drop(held);
    })
}

#[tokio::test]
async fn many_who_wait_end_one_connection() {
    let budget = Budget::new(LIMITS);
    let [most, less] = [(); 2].map(|()| budget.open());
    let (most, less) = (holder(&most, MIB), holder(&less, MIB - 1));
    let waiters = (0..20).map(|_| {
        let account = budget.open();
        async move { account.take(BudgetSide::Received, 50 * 1024, SOON).await }
    });
    let taken = futures_util::future::join_all(waiters).await;
    assert!(taken.iter().all(Option::is_some), "what the one gives back is enough for all");
    timeout(SOON, most).await.expect("it is ended").unwrap();
    assert!(!less.is_finished(), "the other one goes on");
    less.abort();
}

#[tokio::test]
async fn the_next_connection_is_ended_where_one_is_not_enough() {
    let budget = Budget::new(LIMITS);
    let accounts = [(); 3].map(|()| budget.open());
    let [most, more, least] = [700, 680, 660].map(|kib| kib * 1024);
    let [one, two, three] = &accounts;
    let ended = [holder(one, most), holder(two, more)];
    let least = holder(three, least);
    let late = budget.open().take(BudgetSide::Received, MIB, SOON).await;
    assert!(late.is_some(), "it gets what two have held");
    for ended in ended {
        timeout(SOON, ended).await.expect("it is ended").unwrap();
    }
    assert!(!least.is_finished(), "the third one goes on");
    least.abort();
}

#[tokio::test]
async fn only_so_many_calls_wait() {
    let budget = Budget::new(LIMITS);
    let full = budget.open();
    let held = take(&full, MIB);
    let wait = || {
        let account = full.clone();
        async move { account.take(BudgetSide::Received, 1, SOON).await }.boxed()
    };
    let mut waiting: Vec<_> = (0..WAITERS).map(|_| wait()).collect();
    assert!(waiting.iter_mut().all(|it| it.now_or_never().is_none()), "they wait");
    let one_more = wait().now_or_never();
    assert!(one_more.expect("it does not wait").is_none(), "it is refused");
    // Those above end no connection, so another call that finds the sum used up does.
    let most = holder(&budget.open(), MIB);
    let late = budget.open();
    assert!(late.take(BudgetSide::Received, MIB, SOON).await.is_none());
    timeout(SOON, most).await.expect("it is ended").unwrap();
    waiting.pop();
    assert!(wait().now_or_never().is_none(), "one that leaves makes room");
    drop((held, waiting));
    assert!(late.take(BudgetSide::Received, MIB, SOON).await.is_some());
}

#[tokio::test]
async fn connections_that_hold_little_are_not_ended() {
    let budget = Budget::new(LIMITS);
    let small: Vec<_> = (0..9).map(|_| holder(&budget.open(), 256 * 1024)).collect();
    assert!(budget.open().take(BudgetSide::Received, MIB, 10 * SHORT).await.is_none());
    assert!(small.iter().all(|it| !it.is_finished()), "none holds more than its part");
    small.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_call_whose_answer_is_not_taken_is_ended() {
    let budget = Budget::new(LIMITS);
    let account = budget.open();
    let (taken, idle) = (account.begin_call(), account.begin_call());
    let ended = tokio::spawn({
        let account = account.clone();
        async move { account.ended(Duration::from_millis(400)).await }
    });
    taken.begin_wait();
    idle.begin_wait();
    let mut polled = 0;
    let end = poll_fn(|context| {
        // Each time it is looked at something of the other call's answer is taken.
        taken.note_taken();
        polled += 1;
        context.waker().wake_by_ref();
        idle.poll_ended(context)
    });
    timeout(SOON, end).await.expect("it is ended");
    assert!(poll_fn(|context| taken.poll_ended(context)).now_or_never().is_none(), "{polled}");
    assert!(!ended.is_finished(), "the connection goes on");
    idle.end_wait();
    // From now on nothing is taken any more.
    timeout(SOON, ended).await.expect("the connection is ended").unwrap();
}

#[tokio::test]
async fn a_call_that_answers_nothing_yet_is_not_at_fault() {
    let budget = Budget::new(LIMITS);
    let account = budget.open();
    let call = account.begin_call();
    call.begin_wait();
    call.end_wait();
    let ended = timeout(Duration::from_millis(500), account.ended(SHORT)).await;
    assert!(ended.is_err(), "the connection waits for the service");
}

#[test]
fn rows_are_charged_beyond_what_every_call_takes() {
    let budget = Budget::new(LIMITS);
    let account = budget.open();
    let call = account.begin_call();
    assert!(call.grow(INCLUDED));
    assert_eq!(account.used(BudgetSide::Answered), 0);
    assert!(call.grow(1_000));
    assert_eq!(account.used(BudgetSide::Answered), 1_000);
    assert!(!call.grow(MIB), "a connection's limit");
    assert!(call.grow(1_000), "what was refused is not counted");
    assert_eq!(account.used(BudgetSide::Answered), 2_000);
    call.reset();
    assert_eq!(account.used(BudgetSide::Answered), 0);
}

#[test]
fn what_is_stored_has_limits() {
    let budget = Budget::new(LIMITS);
    let [one, two] = [(); 2].map(|()| budget.open());
    let store = |account: &Account, bytes| account.begin_call().store(bytes);
    assert!(store(&one, 500) && store(&one, 400));
    assert!(!store(&one, 1), "a quarter of the keys");
    assert!(!store(&two, 1_001), "a quarter of the bytes");
    assert!(store(&two, 1_000));
    budget.set_stored(8, 0);
    for _ in 0..2 {
        assert!(!store(&one, 1), "all keys");
    }
    budget.set_stored(6, 0);
    assert!(
        store(&one, 1) && store(&one, 1),
        "a quarter after each count, refused ones not counted"
    );
    budget.set_stored(0, 3_900);
    assert!(!store(&budget.open(), 200) && store(&budget.open(), 100), "all bytes");
}
