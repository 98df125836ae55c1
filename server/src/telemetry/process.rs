//! The metrics of the process, with the names that Prometheus' client libraries give them
//! (prometheus.io/docs/instrumenting/writing_clientlibs, "Process metrics"). They are read from /proc
//! for each scrape, so other systems than Linux have none.

use prometheus::{
    Counter, Gauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// A metric of the process.
struct ProcessMetric {
    name: &'static str,
    description: &'static str,
    is_counter: bool,
    value: fn(&Usage) -> f64,
}

const CPU: ProcessMetric = ProcessMetric {
    name: "process_cpu_seconds_total",
    description: "Time of all cores that the process has used, in user and system mode.",
    is_counter: true,
    value: |usage| usage.cpu_seconds,
};

const fn gauge(
    name: &'static str,
    description: &'static str,
    value: fn(&Usage) -> f64,
) -> ProcessMetric {
    ProcessMetric { name, description, is_counter: false, value }
}

/// The metrics, in the order of the documentation.
const METRICS: [ProcessMetric; 7] = [
    CPU,
    gauge("process_resident_memory_bytes", "Memory of the process in RAM.", |usage| {
        usage.resident_bytes
    }),
    gauge("process_virtual_memory_bytes", "Address space of the process.", |usage| {
        usage.virtual_bytes
    }),
    gauge("process_open_fds", "Open file descriptors.", |usage| usage.open_fds),
    gauge("process_max_fds", "The limit of open file descriptors.", |usage| usage.max_fds),
    gauge("process_threads", "Threads of the process.", |usage| usage.threads),
    gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        |usage| usage.start_seconds,
    ),
];

/// What the process uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    open_fds: f64,
    max_fds: f64,
    threads: f64,
    start_seconds: f64,
}

/// Reads the metrics for each scrape.
pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
}

impl ProcessCollector {
    /// A collector for the registry of the scrapes.
    pub(super) fn new() -> Self {
        let describe = |metric: &ProcessMetric| {
            let (name, help) = (metric.name.to_owned(), metric.description.to_owned());
            Desc::new(name, help, Vec::new(), std::collections::HashMap::new()).ok()
        };
        Self { descriptions: METRICS.iter().filter_map(describe).collect() }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = usage() else { return Vec::new() };
        let family = |metric: &ProcessMetric| {
            let (opts, value) =
                (Opts::new(metric.name, metric.description), (metric.value)(&usage));
            if metric.is_counter {
                let counter = Counter::with_opts(opts).ok()?;
                counter.inc_by(value);
                return Some(counter.collect());
            }
            let gauge = Gauge::with_opts(opts).ok()?;
            gauge.set(value);
            Some(gauge.collect())
        };
        METRICS.iter().filter_map(family).flatten().collect()
    }
}

#[cfg(target_os = "linux")]
fn usage() -> Option<Usage> {
    use rustix::{param, process};
    let read = |path| std::fs::read_to_string(path).ok();
    let mut usage = usage_in(
        &read("/proc/self/stat")?,
        &read("/proc/stat")?,
        whole(param::clock_ticks_per_second()),
        whole(u64::try_from(param::page_size()).ok()?),
    )?;
    // The directory itself is open while it is read.
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    usage.open_fds = whole(u64::try_from(open).ok()?);
    let limit = process::getrlimit(process::Resource::Nofile).current;
    usage.max_fds = limit.map_or(f64::INFINITY, whole);
    Some(usage)
}

/// Other systems have no /proc.
#[cfg(not(target_os = "linux"))]
fn usage() -> Option<Usage> {
    None
}

/// Reads the texts of /proc/self/stat and /proc/stat (proc(5)). `ticks` are the clock ticks of a
/// second, `page` the bytes of a page.
fn usage_in(own: &str, system: &str, ticks: f64, page: f64) -> Option<Usage> {
    // The name of the program in parentheses may hold spaces and parentheses. The third field
    // follows it.
    let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| Some(whole(fields.get(number.checked_sub(3)?)?.parse().ok()?));
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Usage {
        cpu_seconds: (field(14)? + field(15)?) / ticks,
        threads: field(20)?,
        start_seconds: whole(booted.trim().parse().ok()?) + field(22)? / ticks,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
        ..Usage::default()
    })
}

#[expect(clippy::cast_precision_loss, reason = "values of Prometheus are floating-point numbers")]
fn whole(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_spaces() {
        let own = "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 12345 8192000 77 \
                   18446744073709551615 1 1 0\n";
        let system = "cpu 1 2 3\nbtime 1700000000\nprocesses 7\n";
        let expected = Usage {
            cpu_seconds: 3.0,
            resident_bytes: 77.0 * 4096.0,
            virtual_bytes: 8_192_000.0,
            threads: 9.0,
            start_seconds: 1_700_000_123.45,
            ..Usage::default()
        };
        assert_eq!(usage_in(own, system, 100.0, 4096.0), Some(expected));
        assert_eq!(usage_in(own, "cpu 1\n", 100.0, 4096.0), None);
        assert_eq!(usage_in("42 (a) S 1", system, 100.0, 4096.0), None);
    }
}
