//! Reads the variables of OpenTelemetry's exporters as their specification says ("OTLP Exporter
//! Configuration", "Environment Variable Specification"). What this program can't do is refused; a
//! value that nothing defines is ignored with a warning.

use std::{collections::HashSet, env};

/// The collectors that are configured.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Collectors {
    /// The URL for traces.
    pub(super) traces: Option<String>,
    /// The URL for metrics.
    pub(super) metrics: Option<String>,
    /// Whether `OTEL_SDK_DISABLED` switches traces and metrics off.
    pub(super) is_disabled: bool,
    /// What is ignored.
    pub(super) warnings: Vec<String>,
}

/// Where the specification expects a collector if none is named.
const DEFAULT_ENDPOINT: &str = "http://localhost:4317";

/// The exporters that the specification defines and this program does not have.
const OTHER_EXPORTERS: [&str; 4] = ["console", "logging", "zipkin", "jaeger"];

/// Reads the environment of this process.
///
/// # Errors
/// Every variable that can't be obeyed, a line each.
pub(super) fn read() -> Result<Collectors, String> {
    of(&|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

/// The variables of this environment. An empty variable counts as unset.
fn of(environment: &dyn Fn(&str) -> Option<String>) -> Result<Collectors, String> {
    let get = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
    let mut collectors = Collectors::default();
    if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(Collectors { is_disabled: true, ..collectors });
    }
    let mut problems = Vec::new();
    for signal in ["TRACES", "METRICS"] {
        // The variable of the signal wins over that of all signals.
        let named = |end: &str| {
            let names =
                [format!("OTEL_EXPORTER_OTLP_{signal}_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")];
            names.into_iter().find_map(|name| get(&name).map(|value| (name, value)))
        };
        let variable = format!("OTEL_{signal}_EXPORTER");
        let wanted = get(&variable);
        let exporters = wanted.as_deref().unwrap_or_default().split(',').map(str::trim);
        let exporters: Vec<_> = exporters.filter(|name| !name.is_empty()).collect();
        for name in &exporters {
            let is_known =
                matches!(*name, "otlp" | "none") || *name == "prometheus" && signal == "METRICS";
            if OTHER_EXPORTERS.contains(name) {
                problems.push(format!("{variable}: {name} is not supported: use otlp or none"));
            } else if !is_known {
                collectors.warnings.push(format!("{variable}: {name:?} is unknown and ignored"));
            }
        }
        let asks_for_otlp = exporters.contains(&"otlp");
        let endpoint = named("ENDPOINT");
        if exporters.contains(&"none")
            || signal == "METRICS" && exporters == ["prometheus"]
            || endpoint.is_none() && !asks_for_otlp
        {
            continue;
        }
        let insecure = named("INSECURE").map(|(_, value)| value.eq_ignore_ascii_case("true"));
        let url = match &endpoint {
            None => Ok(DEFAULT_ENDPOINT.to_owned()),
            Some((name, value)) => url(value.trim(), insecure)
                .map_err(|problem| format!("{name} = {value:?}: {problem}")),
        };
        match named("PROTOCOL") {
            Some((name, value)) if matches!(&*value, "http/protobuf" | "http/json") => {
                let instead = "use grpc, whose usual port is 4317";
                problems.push(format!("{name}: {value} is not supported: {instead}"));
            }
            Some((name, value)) if value != "grpc" => {
                let warning = format!("{name}: {value:?} is unknown and ignored; grpc is used");
                collectors.warnings.push(warning);
            }
            _ => {}
        }
        if let Some((name, value)) = named("COMPRESSION") {
            problems
                .push(format!("{name}: {value} is not supported: unset it, nothing is compressed"));
        }
        match (url, signal) {
            (Ok(url), "TRACES") => collectors.traces = Some(url),
            (Ok(url), _) => collectors.metrics = Some(url),
            (Err(problem), _) => problems.push(problem),
        }
    }
    drop_repeated(&mut problems);
    drop_repeated(&mut collectors.warnings);
    if problems.is_empty() { Ok(collectors) } else { Err(problems.join("\n")) }
}

/// Keeps the first of equal lines: a variable of all signals is read for each of them.
fn drop_repeated(lines: &mut Vec<String>) {
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
}

/// The URL of an endpoint: `http://host:port`, or `host:port`, the form of gRPC. `insecure` says
/// whether the latter is meant without TLS.
fn url(text: &str, insecure: Option<bool>) -> Result<String, String> {
    let form = "must be host:port or http://host:port, such as collector:4317";
    let (url, has_scheme) = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => (text.to_owned(), true),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err(format!("TLS to the collector is not supported: {form}"));
        }
        Some(_) => return Err(form.to_owned()),
        None if insecure == Some(false) => {
            return Err(format!("TLS to the collector is not supported: {form}"));
        }
        None => (format!("http://{text}"), false),
    };
    let is_whole = url.parse::<http::Uri>().is_ok_and(|url| {
        url.host().is_some_and(|host| !host.is_empty())
            && (has_scheme || url.port_u16().is_some() && url.path() == "/")
    });
    if is_whole { Ok(url) } else { Err(form.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Collectors, String> {
        of(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

    #[test]
    fn an_endpoint_is_a_url_or_host_and_port() {
        for (value, url) in [
            ("http://collector:4317", "http://collector:4317"),
            ("HTTP://collector", "HTTP://collector"),
            ("collector:4317", "http://collector:4317"),
            ("10.0.0.1:4317", "http://10.0.0.1:4317"),
            ("[::1]:4317", "http://[::1]:4317"),
        ] {
            let read = read(&[(ENDPOINT, value)]).unwrap();
            assert_eq!(read.traces.as_deref(), Some(url), "{value}");
            assert_eq!(read.metrics.as_deref(), Some(url), "{value}");
        }
        for (value, part) in [
            ("https://collector:4317", "TLS to the collector is not supported"),
            ("unix:/run/otel.sock", "must be host:port"),
            ("grpc://collector:4317", "must be host:port"),
            ("collector", "must be host:port"),
            ("collector:4317/v1/traces", "must be host:port"),
            (":4317", "must be host:port"),
        ] {
            let problem = read(&[(ENDPOINT, value)]).unwrap_err();
            assert!(problem.starts_with(ENDPOINT) && problem.contains(part), "{value}: {problem}");
            assert_eq!(problem.lines().count(), 1, "{problem}");
        }
        assert!(read(&[(ENDPOINT, "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "false")]).is_err());
        assert!(read(&[(ENDPOINT, "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE")]).is_ok());
    }

    #[test]
    fn the_variable_of_a_signal_wins() {
        let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let both = read(&[(ENDPOINT, "a:1"), (own, "b:2")]).unwrap();
        assert_eq!(
            (both.traces.as_deref(), both.metrics.as_deref()),
            (Some("http://b:2"), Some("http://a:1"))
        );
        let one = read(&[(own, "b:2")]).unwrap();
        assert_eq!((one.traces.as_deref(), one.metrics), (Some("http://b:2"), None));
        assert_eq!(read(&[(ENDPOINT, " ")]).unwrap(), Collectors::default());
        let off = [(ENDPOINT, "https://a"), ("OTEL_SDK_DISABLED", "True")];
        let disabled = Collectors { is_disabled: true, ..Collectors::default() };
        assert_eq!(read(&off).unwrap(), disabled);
    }

    #[test]
    fn exporters_and_protocols_are_obeyed_refused_or_warned_about() {
        let traces = "OTEL_TRACES_EXPORTER";
        let asked = read(&[(traces, "otlp")]).unwrap();
        assert_eq!((asked.traces.as_deref(), asked.metrics), (Some(DEFAULT_ENDPOINT), None));
        assert_eq!(read(&[(ENDPOINT, "a:1"), (traces, "none")]).unwrap().traces, None);
        let metrics = [(ENDPOINT, "a:1"), ("OTEL_METRICS_EXPORTER", "prometheus")];
        assert_eq!(read(&metrics).unwrap().metrics, None);
        // Only metrics have that exporter: the name is ignored as an unknown one is.
        let ignored = read(&[(ENDPOINT, "a:1"), (traces, "prometheus")]).unwrap();
        assert_eq!(ignored.traces.as_deref(), Some("http://a:1"));
        assert!(ignored.warnings[0].contains("\"prometheus\" is unknown"), "{ignored:?}");
        assert!(read(&[(traces, "zipkin")]).unwrap_err().contains("zipkin is not supported"));
        let unknown = read(&[(ENDPOINT, "a:1"), (traces, "other,otlp")]).unwrap();
        assert!(unknown.traces.is_some() && unknown.warnings[0].contains("\"other\" is unknown"));

        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        assert!(read(&[(ENDPOINT, "a:1"), (protocol, "grpc")]).unwrap().warnings.is_empty());
        let refused = read(&[(ENDPOINT, "a:1"), (protocol, "http/protobuf")]).unwrap_err();
        assert!(refused.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf"), "{refused}");
        assert!(read(&[(ENDPOINT, "a:1"), (protocol, "x")]).unwrap().warnings[0].contains("\"x\""));
        let other = ("OTEL_METRICS_EXPORTER", "other,otlp");
        let twice = read(&[(ENDPOINT, "a:1"), (protocol, "x"), other]).unwrap();
        assert_eq!(twice.warnings.len(), 2, "{:?}", twice.warnings);
        // Nothing is sent, so nothing is refused.
        assert!(read(&[(protocol, "http/protobuf")]).is_ok());
        let gzip = [(ENDPOINT, "a:1"), ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")];
        assert!(read(&gzip).unwrap_err().contains("TRACES_COMPRESSION: gzip is not supported"));
    }
}
