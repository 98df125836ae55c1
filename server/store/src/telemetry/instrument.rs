//! Metric instruments: each has a name, a unit and a description. The first use creates it.
//!
//! Without a reader of metrics they cost almost nothing. A process must install its meter provider
//! before the first use: an instrument that was created earlier reports to no reader.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue, global,
    metrics::{self, AsyncInstrument, Meter},
};

/// The name, unit and description of an instrument.
#[derive(Debug)]
pub struct Descriptor {
    /// Its name, in OpenTelemetry's form: `bookstore.write.retries`.
    pub name: &'static str,
    /// The unit of its values, as UCUM writes it: `s`, `By`, `{call}`.
    pub unit: &'static str,
    /// What it counts or measures, in one sentence.
    pub description: &'static str,
}

impl Descriptor {
    /// Describes an instrument. Its first use creates it.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description }
    }
}

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    /// Its name, unit and description.
    pub descriptor: Descriptor,
    made: OnceLock<metrics::Counter<u64>>,
}

/// A distribution of values.
#[derive(Debug)]
pub struct Histogram {
    /// Its name, unit and description.
    pub descriptor: Descriptor,
    bounds: &'static [f64],
    made: OnceLock<metrics::Histogram<f64>>,
}

/// A number that goes up and down.
#[derive(Debug)]
pub struct Level {
    /// Its name, unit and description.
    pub descriptor: Descriptor,
    made: OnceLock<metrics::UpDownCounter<i64>>,
}

/// A value that is read when the metrics are collected.
#[derive(Debug)]
pub struct Gauge {
    /// Its name, unit and description.
    pub descriptor: Descriptor,
}

impl Counter {
    /// Describes an instrument. Its first use creates it.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { descriptor: Descriptor::new(name, unit, description), made: OnceLock::new() }
    }

    /// Adds to the count.
    pub fn add(&self, count: u64, attributes: &[KeyValue]) {
        let Descriptor { name, unit, description } = self.descriptor;
        let make =
            || meter().u64_counter(name).with_unit(unit).with_description(description).build();
        self.made.get_or_init(make).add(count, attributes);
    }
}

impl Level {
    /// Describes an instrument. Its first use creates it.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { descriptor: Descriptor::new(name, unit, description), made: OnceLock::new() }
    }

    /// Adds a number, which may be negative.
    pub fn add(&self, change: i64) {
        let Descriptor { name, unit, description } = self.descriptor;
        let make = || {
            meter().i64_up_down_counter(name).with_unit(unit).with_description(description).build()
        };
        self.made.get_or_init(make).add(change, &[]);
    }
}

impl Histogram {
    /// Describes an instrument. Its first use creates it.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        bounds: &'static [f64],
    ) -> Self {
        Self { descriptor: Descriptor::new(name, unit, description), bounds, made: OnceLock::new() }
    }

    /// Records a value.
    pub fn record(&self, value: f64, attributes: &[KeyValue]) {
        self.made().record(value, attributes);
    }

    fn made(&self) -> &metrics::Histogram<f64> {
        let Descriptor { name, unit, description } = self.descriptor;
        let make = || {
            let meter = meter();
            let named = meter.f64_histogram(name).with_unit(unit).with_description(description);
            named.with_boundaries(self.bounds.to_vec()).build()
        };
        self.made.get_or_init(make)
    }
}

impl Histogram {
    /// The histogram with one set of attributes, which its first value sets.
    pub const fn bind(&'static self) -> BoundHistogram {
        BoundHistogram { histogram: self, made: OnceLock::new() }
    }
}

/// A histogram with one set of attributes. To look the set up for each value costs
/// about 1,200 instructions.
#[derive(Debug)]
pub struct BoundHistogram {
    histogram: &'static Histogram,
    made: OnceLock<metrics::BoundHistogram<f64>>,
}

impl BoundHistogram {
    /// Records a value. The first call's attributes count.
    pub fn record<const N: usize>(&self, value: f64, attributes: impl FnOnce() -> [KeyValue; N]) {
        let make = || self.histogram.made().bind(&attributes());
        self.made.get_or_init(make).record(value);
    }
}

impl Gauge {
    /// Describes an instrument. Its first use creates it.
    pub const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { descriptor: Descriptor::new(name, unit, description) }
    }

    /// Registers a callback that runs at each collection of the metrics.
    pub fn observe(&self, callback: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static) {
        let Descriptor { name, unit, description } = self.descriptor;
        let meter = meter();
        let named = meter.f64_observable_gauge(name).with_unit(unit).with_description(description);
        let _registered = named.with_callback(callback).build();
    }
}

fn meter() -> Meter {
    global::meter("bookstore")
}

/// Bucket boundaries in seconds, from 0.1 ms to 1 min.
pub const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
