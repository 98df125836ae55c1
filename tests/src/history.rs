//! Histories of transactions that read lists and append to them, and what is wrong with one.
//!
//! Every value is appended once, so a list tells the order of its writers, and a read where its
//! reader stood among them. Who must have come before whom is a graph; no order explains a circle
//! in it (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies", VLDB 2020).

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A transaction as its caller knows it.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// When its caller began it: any clock that all of them share.
    pub(crate) began: u64,
    /// When its caller knew its outcome.
    pub(crate) ended: u64,
    /// What it did, in this order; of one that didn't happen, what it has tried.
    pub(crate) steps: Vec<Step>,
    /// Whether it happened. Nothing here is unknown.
    pub(crate) happened: bool,
    /// Whose it is: one session's transactions come one after another.
    pub(crate) session: u32,
    /// Whether a replica has answered it: it has seen a moment of the past, and only read.
    pub(crate) by_replica: bool,
}

/// What a transaction does with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It found these values.
    Read { list: u32, values: Vec<u64> },
    /// It put this value at the end.
    Append { list: u32, value: u64 },
}

/// What a history has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nobody sees what didn't happen or isn't ready, and writers come one after another
    /// (Adya: no G0, no G1).
    ReadCommitted,
    /// As if transactions ran one after another, each at a moment between its beginning and its
    /// end.
    StrictSerializable,
}

/// What is wrong with a history, given the lists as they are in the end.
pub(crate) fn faults(
    history: &[Transaction],
    lists: &BTreeMap<u32, Vec<u64>>,
    level: Level,
) -> Vec<String> {
    let writers: HashMap<u64, usize> = history
        .iter()
        .enumerate()
        .flat_map(|(at, transaction)| appends(transaction).map(move |(_, value)| (value, at)))
        .collect();
    let mut faults = of_lists(history, lists, &writers);
    // An order of the transactions; and one of their commits, among which a replica's readers stand
    // where the replica was. The two need not be the same: serializable transactions may commit in
    // another order than the one that explains them.
    let (mut order, mut commits) = (Graph::new(history.len()), Graph::new(history.len()));
    for values in lists.values() {
        for pair in values.windows(2) {
            if let (Some(before), Some(after)) = (writers.get(&pair[0]), writers.get(&pair[1])) {
                order.add(*before, *after, "wrote before");
                commits.add(*before, *after, "wrote before");
            }
        }
    }
    let happened = || history.iter().enumerate().filter(|(_, transaction)| transaction.happened);
    for (at, transaction) in happened() {
        for (list, seen) in reads(transaction, &mut faults) {
            let all = lists.get(&list).map_or(&[][..], Vec::as_slice);
            if !all.starts_with(seen) {
                faults.push(format!("{seen:?} was read of list {list}, which became {all:?}"));
                continue;
            }
            if let Some(last) = seen.last()
                && let Some(writer) = writers.get(last)
            {
                if has_more(&history[*writer], list, *last) && *writer != at {
                    faults.push(format!("{last} of list {list} was read before its writer's end"));
                }
                commits.add(*writer, at, "was read by");
                if !transaction.by_replica {
                    order.add(*writer, at, "was read by");
                }
            }
            let next = all.get(seen.len()).and_then(|value| writers.get(value));
            match next {
                Some(next) if transaction.by_replica => commits.add(at, *next, "didn't see"),
                Some(next) if level == Level::StrictSerializable => {
                    order.add(at, *next, "didn't see");
                }
                _ => {}
            }
        }
    }
    let of_primary = || happened().filter(|(_, transaction)| !transaction.by_replica);
    if level == Level::StrictSerializable {
        in_time(&mut order, &of_primary().collect::<Vec<_>>());
    }
    in_time(&mut commits, &of_primary().collect::<Vec<_>>());
    in_sessions(&mut commits, happened());
    let circle = order.circle().or_else(|| commits.circle());
    faults.extend(circle.map(|circle| told(history, &circle)));
    faults
}

/// What lists hold and should not, and what they should and don't.
fn of_lists(
    history: &[Transaction],
    lists: &BTreeMap<u32, Vec<u64>>,
    writers: &HashMap<u64, usize>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (list, values) in lists {
        let mut once = BTreeSet::new();
        for value in values {
            if !once.insert(value) {
                faults.push(format!("{value} stands twice in list {list}"));
            }
            match writers.get(value).map(|writer| history[*writer].happened) {
                Some(true) => {}
                Some(false) => faults.push(format!("{value} of list {list} never happened")),
                None => faults.push(format!("nobody wrote {value} of list {list}")),
            }
        }
    }
    for (list, value) in history.iter().filter(|it| it.happened).flat_map(appends) {
        if !lists.get(&list).is_some_and(|values| values.contains(&value)) {
            faults.push(format!("{value} is missing in list {list}"));
        }
    }
    faults
}

fn appends(transaction: &Transaction) -> impl Iterator<Item = (u32, u64)> {
    transaction.steps.iter().filter_map(|step| match step {
        Step::Append { list, value } => Some((*list, *value)),
        Step::Read { .. } => None,
    })
}

/// Whether a transaction appends something behind its own value.
fn has_more(transaction: &Transaction, list: u32, value: u64) -> bool {
    appends(transaction).filter(|(of, _)| *of == list).last().is_some_and(|(_, last)| last != value)
}

/// What a transaction has read of others: its reads without its own values, which have to be there.
fn reads<'a>(transaction: &'a Transaction, faults: &mut Vec<String>) -> Vec<(u32, &'a [u64])> {
    let mut own: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut reads = Vec::new();
    for step in &transaction.steps {
        match step {
            Step::Append { list, value } => own.entry(*list).or_default().push(*value),
            Step::Read { list, values } => {
                let own = own.get(list).map_or(&[][..], Vec::as_slice);
                match values.strip_suffix(own) {
                    Some(others) => reads.push((*list, others)),
                    None => faults.push(format!("{own:?} isn't the end of {values:?}")),
                }
            }
        }
    }
    reads
}

/// A session's transactions come in their order, wherever they were answered.
fn in_sessions<'a>(graph: &mut Graph, happened: impl Iterator<Item = (usize, &'a Transaction)>) {
    let mut sessions: BTreeMap<u32, Vec<(u64, usize)>> = BTreeMap::new();
    for (at, transaction) in happened {
        sessions.entry(transaction.session).or_default().push((transaction.began, at));
    }
    for transactions in sessions.values_mut() {
        transactions.sort_unstable();
        for pair in transactions.windows(2) {
            graph.add(pair[0].1, pair[1].1, "came in its session before");
        }
    }
}

/// Who had ended before another one began came before it. A chain of moments stands between them:
/// an edge for each pair would be too many.
fn in_time(graph: &mut Graph, happened: &[(usize, &Transaction)]) {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (at, transaction) in happened {
        moments.push((transaction.began, false, *at));
        moments.push((transaction.ended, true, *at));
    }
    // Of two at one moment the beginning comes first: nothing is said of their order.
    moments.sort_unstable();
    let mut last = None;
    for (_, is_end, at) in moments {
        if is_end {
            let moment = graph.moment();
            graph.add(at, moment, "ended before");
            if let Some(last) = last {
                graph.add(last, moment, "");
            }
            last = Some(moment);
        } else if let Some(last) = last {
            graph.add(last, at, "");
        }
    }
}

/// Who came before whom, and why. The first nodes are the transactions.
struct Graph {
    before: Vec<Vec<(usize, &'static str)>>,
}

impl Graph {
    fn new(transactions: usize) -> Self {
        Self { before: vec![Vec::new(); transactions] }
    }

    fn moment(&mut self) -> usize {
        self.before.push(Vec::new());
        self.before.len() - 1
    }

    fn add(&mut self, first: usize, second: usize, why: &'static str) {
        if first != second {
            self.before[second].push((first, why));
        }
    }

    /// A circle, if there is one: each node with why it comes before the next one.
    fn circle(&self) -> Option<Vec<(usize, &'static str)>> {
        let mut after = vec![Vec::new(); self.before.len()];
        let mut open: Vec<usize> = self.before.iter().map(Vec::len).collect();
        for (node, before) in self.before.iter().enumerate() {
            before.iter().for_each(|(first, _)| after[*first].push(node));
        }
        let mut free: Vec<usize> = (0..open.len()).filter(|node| open[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for next in &after[node] {
                open[*next] -= 1;
                if open[*next] == 0 {
                    free.push(*next);
                }
            }
        }
        // What is left has something left before it: going back must come to a place twice.
        let mut at = open.iter().position(|left| *left > 0)?;
        let mut way: Vec<(usize, &'static str)> = Vec::new();
        let mut seen = HashMap::new();
        while !seen.contains_key(&at) {
            seen.insert(at, way.len());
            let (first, why) = self.before[at].iter().find(|(first, _)| open[*first] > 0)?;
            way.push((*first, why));
            at = *first;
        }
        let mut circle = way.split_off(seen[&at]);
        circle.reverse();
        Some(circle)
    }
}

fn told(history: &[Transaction], circle: &[(usize, &'static str)]) -> String {
    let transactions = circle.iter().filter(|(node, _)| *node < history.len());
    let lines = transactions.map(|(node, why)| format!("{:?}\n    {why}", history[*node]));
    format!("these come before each other:\n  {}", lines.collect::<Vec<_>>().join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::{Level, Step, Transaction, faults};

    fn read(list: u32, values: &[u64]) -> Step {
        Step::Read { list, values: values.to_vec() }
    }

    fn append(list: u32, value: u64) -> Step {
        Step::Append { list, value }
    }

    fn done(began: u64, ended: u64, steps: &[Step]) -> Transaction {
        let steps = steps.to_vec();
        Transaction { began, ended, steps, happened: true, session: 0, by_replica: false }
    }

    fn failed(steps: &[Step]) -> Transaction {
        Transaction { happened: false, ..done(0, 9, steps) }
    }

    /// What is wrong, in the words that begin each fault's last part.
    fn check(history: &[Transaction], lists: &[(u32, &[u64])], level: Level) -> Vec<String> {
        let lists = lists.iter().map(|(list, values)| (*list, values.to_vec())).collect();
        faults(history, &lists, level)
    }

    const BOTH: [Level; 2] = [Level::ReadCommitted, Level::StrictSerializable];

    #[test]
    fn a_good_history_has_no_faults() {
        let history = [
            done(0, 1, &[read(1, &[]), append(1, 1), read(1, &[1]), append(1, 2)]),
            done(2, 3, &[read(1, &[1, 2]), append(2, 3)]),
            done(2, 5, &[read(2, &[3]), append(1, 4)]),
            failed(&[read(1, &[7]), append(1, 5)]),
        ];
        for level in BOTH {
            let found = check(&history, &[(1, &[1, 2, 4]), (2, &[3])], level);
            assert_eq!(found, Vec::<String>::new());
        }
    }

    #[test]
    fn lists_hold_what_happened_and_nothing_else() {
        let history = [done(0, 1, &[append(1, 1)]), failed(&[append(1, 2)])];
        for (list, fault) in [
            (&[][..], "1 is missing"),
            (&[1, 1], "1 stands twice"),
            (&[1, 2], "2 of list 1 never happened"),
            (&[1, 3], "nobody wrote 3"),
        ] {
            for level in BOTH {
                let found = check(&history, &[(1, list)], level);
                assert!(found.len() == 1 && found[0].starts_with(fault), "{found:?}");
            }
        }
    }

    #[test]
    fn reads_are_beginnings_of_lists() {
        for (seen, fault) in [(&[2][..], "[2] was read"), (&[1], "1 of list 1 was read before")] {
            let writer = done(0, 3, &[append(1, 1), append(1, 2)]);
            for level in BOTH {
                let found =
                    check(&[writer.clone(), done(0, 3, &[read(1, seen)])], &[(1, &[1, 2])], level);
                assert!(found.iter().any(|found| found.starts_with(fault)), "{found:?}");
            }
        }
        let own = done(0, 1, &[append(1, 1), read(1, &[])]);
        let found = check(&[own], &[(1, &[1])], Level::ReadCommitted);
        assert_eq!(found, ["[1] isn't the end of []"]);
    }

    #[test]
    fn what_only_serializable_forbids() {
        let skew =
            [done(0, 5, &[read(1, &[]), append(2, 1)]), done(0, 5, &[read(2, &[]), append(1, 2)])];
        let stale = [done(0, 1, &[append(1, 1)]), done(2, 3, &[read(1, &[])])];
        // The reader comes between two that it can't stand between.
        let torn = [
            done(0, 9, &[read(1, &[]), append(2, 1)]),
            done(0, 9, &[append(1, 2)]),
            done(0, 9, &[read(1, &[2]), read(2, &[])]),
        ];
        for (history, lists) in [
            (&skew[..], &[(1, &[2][..]), (2, &[1])][..]),
            (&stale, &[(1, &[1])]),
            (&torn, &[(1, &[2]), (2, &[1])]),
        ] {
            assert_eq!(check(history, lists, Level::ReadCommitted), Vec::<String>::new());
            let found = check(history, lists, Level::StrictSerializable);
            assert!(found.len() == 1 && found[0].starts_with("these come before"), "{found:?}");
        }
    }

    #[test]
    fn a_replica_may_be_late_but_not_go_back() {
        let write = |session, began, value| Transaction {
            session,
            ..done(began, began + 1, &[append(1, value)])
        };
        let of = |session, began, seen: &[u64]| Transaction {
            session,
            by_replica: true,
            ..done(began, began + 1, &[read(1, seen)])
        };
        let all = |readers: &[Transaction]| {
            let history = [&[write(0, 0, 1), write(1, 2, 2)], readers].concat();
            check(&history, &[(1, &[1, 2])], Level::StrictSerializable)
        };
        assert_eq!(all(&[of(7, 9, &[1]), of(7, 11, &[1, 2])]), Vec::<String>::new());
        assert_eq!(all(&[of(7, 9, &[1, 2]), of(8, 11, &[1])]), Vec::<String>::new());
        let back = all(&[of(7, 9, &[1, 2]), of(7, 11, &[1])]);
        assert!(back.len() == 1 && back[0].contains("came in its session"), "{back:?}");
        // The writer's own session, of the second write.
        let own = all(&[of(1, 9, &[1])]);
        assert!(own.len() == 1 && own[0].contains("came in its session"), "{own:?}");
    }

    #[test]
    fn writers_come_one_after_another_everywhere() {
        let crossed =
            [done(0, 5, &[append(1, 1), append(2, 2)]), done(0, 5, &[append(1, 3), append(2, 4)])];
        for level in BOTH {
            let found = check(&crossed, &[(1, &[1, 3]), (2, &[4, 2])], level);
            assert!(found.len() == 1 && found[0].starts_with("these come before"), "{found:?}");
        }
    }
}
