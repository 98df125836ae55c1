//! `OTEL_PROPAGATORS`: which propagators apply to incoming calls, by the specification's names.

use std::env;

use crate::traces;

/// The variable.
const NAME: &str = "OTEL_PROPAGATORS";

/// The default of the specification.
const DEFAULT: &str = "tracecontext,baggage";

/// What a list of propagators means.
#[derive(Debug, PartialEq, Eq)]
struct Propagators {
    /// Whether a call belongs to the trace of its caller's `traceparent`.
    joins_callers: bool,
    /// Unknown names.
    unknown: Vec<String>,
}

impl Propagators {
    fn of(list: &str) -> Self {
        let mut it = Self { joins_callers: false, unknown: Vec::new() };
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "tracecontext" => it.joins_callers = true,
                // The service makes no outgoing calls, so it has nothing to send baggage to.
                "baggage" | "none" => {}
                unknown => it.unknown.push(unknown.to_owned()),
            }
        }
        it
    }
}

/// Applies the environment's value from now on. Unknown names are warned about and ignored, as the
/// specification has it.
pub(super) fn apply() {
    let list = env::var(NAME).ok().filter(|list| !list.trim().is_empty());
    let propagators = Propagators::of(list.as_deref().unwrap_or(DEFAULT));
    if !propagators.joins_callers {
        traces::leave_callers();
    }
    for name in propagators.unknown {
        tracing::warn!(
            "{NAME}: {name} is unknown and ignored; tracecontext, baggage and none are known"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_propagators_is_read_as_specified() {
        let of = |list| {
            let Propagators { joins_callers, unknown } = Propagators::of(list);
            (joins_callers, unknown.join(" "))
        };
        assert_eq!(of(DEFAULT), (true, String::new()));
        assert_eq!(of(" baggage , tracecontext,"), (true, String::new()));
        assert_eq!(of("baggage"), (false, String::new()));
        assert_eq!(of("none"), (false, String::new()));
        assert_eq!(of("b3,tracecontext,jaeger"), (true, "b3 jaeger".to_owned()));
        assert_eq!(of("b3"), (false, "b3".to_owned()));
    }
}
