//! Instruments: each has a name, a unit and a meaning, and is made when it is first used.
//!
//! Where no reader listens, counting costs next to nothing. A process installs its meter
//! provider before the first of these is used: an instrument that was made earlier reports to
//! no reader.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue, global,
    metrics::{self, AsyncInstrument, Meter},
};

/// What an instrument is called and what it means.
#[derive(Debug)]
pub struct Meaning {
    /// Its name, in OpenTelemetry's form: `bookstore.write.retries`.
    pub name: &'static str,
    /// The unit of its values, as UCUM writes it: `s`, `By`, `{call}`.
    pub unit: &'static str,
    /// What it counts or measures, in one sentence.
    pub description: &'static str,
}

impl Meaning {
    /// Names an instrument; nothing is made yet.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description }
    }
}

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    /// What it is called and what it means.
    pub meaning: Meaning,
    made: OnceLock<metrics::Counter<u64>>,
}

/// A distribution of values.
#[derive(Debug)]
pub struct Histogram {
    /// What it is called and what it means.
    pub meaning: Meaning,
    bounds: &'static [f64],
    made: OnceLock<metrics::Histogram<f64>>,
}

/// A number that goes up and down.
#[derive(Debug)]
pub struct Level {
    /// What it is called and what it means.
    pub meaning: Meaning,
    made: OnceLock<metrics::UpDownCounter<i64>>,
}

/// A value that is read when the metrics are collected.
#[derive(Debug)]
pub struct Gauge {
    /// What it is called and what it means.
    pub meaning: Meaning,
}

impl Counter {
    /// Names an instrument; nothing is made yet.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { meaning: Meaning::new(name, unit, description), made: OnceLock::new() }
    }

    /// Counts.
    pub fn add(&self, count: u64, attributes: &[KeyValue]) {
        let Meaning { name, unit, description } = self.meaning;
        let make =
            || meter().u64_counter(name).with_unit(unit).with_description(description).build();
        self.made.get_or_init(make).add(count, attributes);
    }
}

impl Level {
    /// Names an instrument; nothing is made yet.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { meaning: Meaning::new(name, unit, description), made: OnceLock::new() }
    }

    /// Goes up, or down by a negative number.
    pub fn add(&self, change: i64) {
        let Meaning { name, unit, description } = self.meaning;
        let make = || {
            meter().i64_up_down_counter(name).with_unit(unit).with_description(description).build()
        };
        self.made.get_or_init(make).add(change, &[]);
    }
}

impl Histogram {
    /// Names an instrument; nothing is made yet.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        bounds: &'static [f64],
    ) -> Self {
        Self { meaning: Meaning::new(name, unit, description), bounds, made: OnceLock::new() }
    }

    /// Notes a value.
    pub fn record(&self, value: f64, attributes: &[KeyValue]) {
        let Meaning { name, unit, description } = self.meaning;
        let make = || {
            let meter = meter();
            let named = meter.f64_histogram(name).with_unit(unit).with_description(description);
            named.with_boundaries(self.bounds.to_vec()).build()
        };
        self.made.get_or_init(make).record(value, attributes);
    }
}

impl Gauge {
    /// Names an instrument; nothing is made yet.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { meaning: Meaning::new(name, unit, description) }
    }

    /// From now on `observe` is called whenever the metrics are collected.
    pub fn observe(&self, callback: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static) {
        let Meaning { name, unit, description } = self.meaning;
        let meter = meter();
        let named = meter.f64_observable_gauge(name).with_unit(unit).with_description(description);
        let _registered = named.with_callback(callback).build();
    }
}

fn meter() -> Meter {
    global::meter("bookstore")
}

/// Seconds, from a tenth of a millisecond to a minute.
pub const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
