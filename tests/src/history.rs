//! Histories of transactions that read lists and append to them, and the check of such a history.
//!
//! Every value is appended once. So a list gives the order of its writers, and a read gives the
//! reader's place among them. These orders make a graph, and no serial order explains a cycle in it
//! (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies", VLDB 2020).

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A transaction as its caller knows it.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// When its caller began it, on a clock that all callers share.
    pub(crate) began: u64,
    /// When its caller learned the outcome.
    pub(crate) ended: u64,
    /// Its steps in order. If it was not applied, the steps that it attempted.
    pub(crate) steps: Vec<Step>,
    /// Whether it was applied. No outcome is unknown here.
    pub(crate) happened: bool,
    /// The session. The transactions of one session follow each other.
    pub(crate) session: u32,
    /// Whether a replica answered it. It then only read, and read a past state.
    pub(crate) by_replica: bool,
}

/// A step of a transaction on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It read these values.
    Read { list: u32, values: Vec<u64> },
    /// It appended this value.
    Append { list: u32, value: u64 },
}

/// The isolation level that a history has to satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// No transaction sees aborted or unfinished ones, and writes have an order (Adya: no G0, no
    /// G1).
    ReadCommitted,
    /// As if transactions ran one after another, each at a moment between its beginning and its
    /// end.
    StrictSerializable,
}

/// The violations of a history, given the final lists.
pub(crate) fn violations(
    history: &[Transaction],
    lists: &BTreeMap<u32, Vec<u64>>,
    level: Level,
) -> Vec<String> {
    let writers: HashMap<u64, usize> = history
        .iter()
        .enumerate()
        .flat_map(|(at, transaction)| appends(transaction).map(move |(_, value)| (value, at)))
        .collect();
    let mut violations = list_violations(history, lists, &writers);
    // The graph has an order of the transactions and one of their commits. Reads on a replica stand
    // among the commits, where the replica was. The two orders may differ: serializable
    // transactions may commit in another order than the serial one that explains them.
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
        for (list, seen) in reads(transaction, &mut violations) {
            let all = lists.get(&list).map_or(&[][..], Vec::as_slice);
            if !all.starts_with(seen) {
                violations.push(format!("{seen:?} was read of list {list}, which became {all:?}"));
                continue;
            }
            if let Some(last) = seen.last()
                && let Some(writer) = writers.get(last)
            {
                if has_more(&history[*writer], list, *last) && *writer != at {
                    violations
                        .push(format!("{last} of list {list} was read before its writer's end"));
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
    let cycle = order.cycle().or_else(|| commits.cycle());
    violations.extend(cycle.map(|cycle| describe(history, &cycle)));
    violations
}

/// Values that the lists have and should not have, and values that they lack.
fn list_violations(
    history: &[Transaction],
    lists: &BTreeMap<u32, Vec<u64>>,
    writers: &HashMap<u64, usize>,
) -> Vec<String> {
    let mut violations = Vec::new();
    for (list, values) in lists {
        let mut once = BTreeSet::new();
        for value in values {
            if !once.insert(value) {
                violations.push(format!("{value} stands twice in list {list}"));
            }
            match writers.get(value).map(|writer| history[*writer].happened) {
                Some(true) => {}
                Some(false) => violations.push(format!("{value} of list {list} never happened")),
                None => violations.push(format!("no transaction wrote {value} of list {list}")),
            }
        }
    }
    for (list, value) in history.iter().filter(|it| it.happened).flat_map(appends) {
        if !lists.get(&list).is_some_and(|values| values.contains(&value)) {
            violations.push(format!("{value} is missing in list {list}"));
        }
    }
    violations
}

fn appends(transaction: &Transaction) -> impl Iterator<Item = (u32, u64)> {
    transaction.steps.iter().filter_map(|step| match step {
        Step::Append { list, value } => Some((*list, *value)),
        Step::Read { .. } => None,
    })
}

/// Whether a transaction appends something after this value.
fn has_more(transaction: &Transaction, list: u32, value: u64) -> bool {
    appends(transaction).filter(|(of, _)| *of == list).last().is_some_and(|(_, last)| last != value)
}

/// The reads of a transaction without its own values, which must be there.
fn reads<'a>(transaction: &'a Transaction, violations: &mut Vec<String>) -> Vec<(u32, &'a [u64])> {
    let mut own: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut reads = Vec::new();
    for step in &transaction.steps {
        match step {
            Step::Append { list, value } => own.entry(*list).or_default().push(*value),
            Step::Read { list, values } => {
                let own = own.get(list).map_or(&[][..], Vec::as_slice);
                match values.strip_suffix(own) {
                    Some(others) => reads.push((*list, others)),
                    None => violations.push(format!("{own:?} isn't the end of {values:?}")),
                }
            }
        }
    }
    reads
}

/// Transactions of one session are ordered, on any node.
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

/// A transaction that ended before another began is ordered before it. A chain of moments carries
/// this order, since an edge for each pair would be too many.
fn in_time(graph: &mut Graph, happened: &[(usize, &Transaction)]) {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (at, transaction) in happened {
        moments.push((transaction.began, false, *at));
        moments.push((transaction.ended, true, *at));
    }
    // At the same moment a beginning comes before an end, since their order is unknown.
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

/// The order between transactions, with reasons. The first nodes are the transactions.
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

    /// A cycle, if there is one: each node with the reason why it precedes the next.
    fn cycle(&self) -> Option<Vec<(usize, &'static str)>> {
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
        // Each remaining node has a remaining predecessor, so walking back reaches a node twice.
        let mut at = open.iter().position(|left| *left > 0)?;
        let mut way: Vec<(usize, &'static str)> = Vec::new();
        let mut seen = HashMap::new();
        while !seen.contains_key(&at) {
            seen.insert(at, way.len());
            let (first, why) = self.before[at].iter().find(|(first, _)| open[*first] > 0)?;
            way.push((*first, why));
            at = *first;
        }
        let mut cycle = way.split_off(seen[&at]);
        cycle.reverse();
        Some(cycle)
    }
}

fn describe(history: &[Transaction], cycle: &[(usize, &'static str)]) -> String {
    let transactions = cycle.iter().filter(|(node, _)| *node < history.len());
    let lines = transactions.map(|(node, why)| format!("{:?}\n    {why}", history[*node]));
    format!("these come before each other:\n  {}", lines.collect::<Vec<_>>().join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::{Level, Step, Transaction, violations};

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

    /// The violations, each by the text that its last part starts with.
    fn check(history: &[Transaction], lists: &[(u32, &[u64])], level: Level) -> Vec<String> {
        let lists = lists.iter().map(|(list, values)| (*list, values.to_vec())).collect();
        violations(history, &lists, level)
    }

    const BOTH: [Level; 2] = [Level::ReadCommitted, Level::StrictSerializable];

    #[test]
    fn valid_history_has_no_violations() {
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
    fn list_that_differs_from_its_appends_is_a_violation() {
        let history = [done(0, 1, &[append(1, 1)]), failed(&[append(1, 2)])];
        for (list, violation) in [
            (&[][..], "1 is missing"),
            (&[1, 1], "1 stands twice"),
            (&[1, 2], "2 of list 1 never happened"),
            (&[1, 3], "no transaction wrote 3"),
        ] {
            for level in BOTH {
                let found = check(&history, &[(1, list)], level);
                assert!(found.len() == 1 && found[0].starts_with(violation), "{found:?}");
            }
        }
    }

    #[test]
    fn read_that_is_no_prefix_of_the_list_is_a_violation() {
        for (seen, violation) in [(&[2][..], "[2] was read"), (&[1], "1 of list 1 was read before")]
        {
            let writer = done(0, 3, &[append(1, 1), append(1, 2)]);
            for level in BOTH {
                let found =
                    check(&[writer.clone(), done(0, 3, &[read(1, seen)])], &[(1, &[1, 2])], level);
                assert!(found.iter().any(|found| found.starts_with(violation)), "{found:?}");
            }
        }
        let own = done(0, 1, &[append(1, 1), read(1, &[])]);
        let found = check(&[own], &[(1, &[1])], Level::ReadCommitted);
        assert_eq!(found, ["[1] isn't the end of []"]);
    }

    #[test]
    fn anomalies_of_read_committed_violate_only_serializable() {
        let skew =
            [done(0, 5, &[read(1, &[]), append(2, 1)]), done(0, 5, &[read(2, &[]), append(1, 2)])];
        let stale = [done(0, 1, &[append(1, 1)]), done(2, 3, &[read(1, &[])])];
        // The reader is between two transactions that allow no place between them.
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
    fn replica_read_may_lag_but_not_go_back_in_its_session() {
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
        // The session of the second write.
        let own = all(&[of(1, 9, &[1])]);
        assert!(own.len() == 1 && own[0].contains("came in its session"), "{own:?}");
    }

    #[test]
    fn write_cycle_violates_every_level() {
        let crossed =
            [done(0, 5, &[append(1, 1), append(2, 2)]), done(0, 5, &[append(1, 3), append(2, 4)])];
        for level in BOTH {
            let found = check(&crossed, &[(1, &[1, 3]), (2, &[4, 2])], level);
            assert!(found.len() == 1 && found[0].starts_with("these come before"), "{found:?}");
        }
    }
}
