//! The gRPC service config (`service_config.proto`, gRFC A2 and A6): timeouts, retries, health
//! checking and load balancing as one JSON document that every gRPC library reads.

use std::{collections::HashMap, fmt, sync::LazyLock, time::Duration};

use serde_json::{Map, Value};
use tonic::Code;

/// The document that the repository holds for every language.
const OF_THE_SERVICE: &str = include_str!("../../../deploy/service-config.json");

/// gRFC A6: more attempts than this count as this many.
const MOST_ATTEMPTS: u32 = 5;

/// A parsed gRPC service config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    methods: HashMap<String, MethodConfig>,
    /// When a client stops retrying because most of its calls fail (gRFC A6). Without it
    /// retries are not throttled.
    pub retry_throttling: Option<RetryThrottling>,
    /// The name that `grpc.health.v1.Health/Watch` is asked about at each backend (gRFC A17).
    /// Without it every connected backend is used.
    pub health_check_service: Option<String>,
}

/// The config of one method.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodConfig {
    /// The longest that a call may take. A shorter deadline of the caller wins.
    pub timeout: Option<Duration>,
    /// Whether a call waits for a backend while there is none. Without it such a call fails at
    /// once with UNAVAILABLE.
    pub wait_for_ready: Option<bool>,
    /// When a failed attempt is repeated. Without it a call has one attempt.
    pub retry_policy: Option<RetryPolicy>,
}

/// When a failed attempt is repeated (gRFC A6).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The most attempts, the first one included: 2 to 5.
    pub max_attempts: u32,
    /// The pause before the second attempt.
    pub initial_backoff: Duration,
    /// The longest pause between two attempts.
    pub max_backoff: Duration,
    /// By what a pause is multiplied for the next one.
    pub backoff_multiplier: f64,
    /// The codes of failures that are repeated.
    pub retryable_status_codes: Vec<Code>,
}

/// When a client stops retrying (gRFC A6): it has `max_tokens` at first, each failure takes one
/// away and each success adds `token_ratio`. It retries while it has more than half of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryThrottling {
    /// The most tokens: 1 to 1,000.
    pub max_tokens: u32,
    /// The tokens that a success adds; more than 0, three decimals count.
    pub token_ratio: f64,
}

/// Why a service config can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServiceConfig {
    /// Where in the document, such as `methodConfig[1].timeout`.
    pub field: String,
    /// The violation.
    pub description: String,
}

impl fmt::Display for InvalidServiceConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "service config: {}: {}", self.field, self.description)
    }
}

impl std::error::Error for InvalidServiceConfig {}

fn invalid(field: impl Into<String>, description: impl Into<String>) -> InvalidServiceConfig {
    InvalidServiceConfig { field: field.into(), description: description.into() }
}

type Parsed<T> = Result<T, InvalidServiceConfig>;

impl ServiceConfig {
    /// The config of `deploy/service-config.json`, as it was when this crate was built.
    #[must_use]
    pub fn of_the_service() -> Self {
        static CONFIG: LazyLock<ServiceConfig> = LazyLock::new(|| {
            // A test parses the same text.
            ServiceConfig::parse(OF_THE_SERVICE).unwrap_or_default()
        });
        CONFIG.clone()
    }

    /// Reads a config in JSON, as `service_config.proto` maps to it. Unknown fields are ignored, as
    /// in gRPC's libraries.
    ///
    /// # Errors
    /// If it isn't JSON, or a field has a value that gRFC A2 or A6 doesn't allow.
    pub fn parse(text: &str) -> Parsed<Self> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| invalid("", error.to_string()))?;
        let document = object(&document, "")?;
        let mut config = Self::default();
        for (at, entry) in list(document, "methodConfig")?.iter().enumerate() {
            let field = format!("methodConfig[{at}]");
            let entry = object(entry, &field)?;
            let method = method_config(entry, &field)?;
            for (at, name) in list(entry, "name")?.iter().enumerate() {
                let field = format!("{field}.name[{at}]");
                let path = method_name(object(name, &field)?, &field)?;
                if config.methods.insert(path.clone(), method.clone()).is_some() {
                    return Err(invalid(field, format!("{path:?} is named twice")));
                }
            }
        }
        if let Some(throttling) = document.get("retryThrottling") {
            config.retry_throttling = Some(retry_throttling(throttling)?);
        }
        if let Some(health) = document.get("healthCheckConfig") {
            let health = object(health, "healthCheckConfig")?;
            config.health_check_service =
                health.get("serviceName").and_then(Value::as_str).map(str::to_owned);
        }
        let policies = list(document, "loadBalancingConfig")?;
        let known = policies.iter().any(|policy| policy.get("round_robin").is_some());
        if !policies.is_empty() && !known {
            return Err(invalid("loadBalancingConfig", "only round_robin is supported"));
        }
        Ok(config)
    }

    /// The config of a method by its path, such as `/bookstore.v1.BookService/GetBook`: the entry
    /// of the method, else that of its service, else the default entry (gRFC A2).
    #[must_use]
    pub fn method(&self, path: &str) -> MethodConfig {
        let service = path.rsplit_once('/').map(|(service, _)| format!("{service}/"));
        let exact = self.methods.get(path);
        let of_service = || service.as_deref().and_then(|service| self.methods.get(service));
        exact.or_else(of_service).or_else(|| self.methods.get("")).cloned().unwrap_or_default()
    }
}

/// `/service/method`, `/service/` for all methods of a service, or nothing for all services.
fn method_name(name: &Map<String, Value>, field: &str) -> Parsed<String> {
    let text = |key: &str| name.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("service"), text("method")) {
        ("", "") => Ok(String::new()),
        ("", _) => Err(invalid(field, "a method without its service")),
        (service, method) => Ok(format!("/{service}/{method}")),
    }
}

fn method_config(entry: &Map<String, Value>, field: &str) -> Parsed<MethodConfig> {
    let timeout = optional_duration(entry, "timeout", field)?;
    let wait_for_ready = entry.get("waitForReady").and_then(Value::as_bool);
    let policy = entry.get("retryPolicy");
    let field = format!("{field}.retryPolicy");
    let retry_policy = policy.map(|policy| retry_policy(policy, &field)).transpose()?;
    Ok(MethodConfig { timeout, wait_for_ready, retry_policy })
}

fn retry_policy(policy: &Value, field: &str) -> Parsed<RetryPolicy> {
    let policy = object(policy, field)?;
    let within = |key: &str| format!("{field}.{key}");
    let attempts = policy.get("maxAttempts").and_then(Value::as_u64).unwrap_or_default();
    if attempts < 2 {
        return Err(invalid(within("maxAttempts"), "must be at least 2"));
    }
    let backoff = |key: &str| {
        let pause = optional_duration(policy, key, field)?;
        let pause = pause.filter(|pause| !pause.is_zero());
        pause.ok_or_else(|| invalid(within(key), "must be longer than 0s"))
    };
    let multiplier = policy.get("backoffMultiplier").and_then(Value::as_f64).unwrap_or_default();
    if multiplier <= 0.0 {
        return Err(invalid(within("backoffMultiplier"), "must be more than 0"));
    }
    let codes = list(policy, "retryableStatusCodes")?.iter().map(code);
    let codes: Option<Vec<Code>> = codes.collect();
    let codes = codes.filter(|codes| !codes.is_empty()).ok_or_else(|| {
        invalid(within("retryableStatusCodes"), "must be names of codes, such as UNAVAILABLE")
    })?;
    Ok(RetryPolicy {
        max_attempts: u32::try_from(attempts).unwrap_or(MOST_ATTEMPTS).min(MOST_ATTEMPTS),
        initial_backoff: backoff("initialBackoff")?,
        max_backoff: backoff("maxBackoff")?,
        backoff_multiplier: multiplier,
        retryable_status_codes: codes,
    })
}

fn retry_throttling(throttling: &Value) -> Parsed<RetryThrottling> {
    const FIELD: &str = "retryThrottling";
    let throttling = object(throttling, FIELD)?;
    let tokens = throttling.get("maxTokens").and_then(Value::as_u64).unwrap_or_default();
    let max_tokens = u32::try_from(tokens).ok().filter(|tokens| (1..=1_000).contains(tokens));
    let max_tokens =
        max_tokens.ok_or_else(|| invalid(format!("{FIELD}.maxTokens"), "must be 1 to 1000"))?;
    let token_ratio = throttling.get("tokenRatio").and_then(Value::as_f64).unwrap_or_default();
    if token_ratio <= 0.0 {
        return Err(invalid(format!("{FIELD}.tokenRatio"), "must be more than 0"));
    }
    Ok(RetryThrottling { max_tokens, token_ratio })
}

fn object<'a>(value: &'a Value, field: &str) -> Parsed<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| invalid(field, "must be an object"))
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Parsed<&'a [Value]> {
    match object.get(key) {
        None => Ok(&[]),
        Some(Value::Array(entries)) => Ok(entries),
        Some(_) => Err(invalid(key, "must be a list")),
    }
}

/// A duration in protobuf's JSON form: seconds with up to nine decimals and an `s`.
fn optional_duration(
    object: &Map<String, Value>,
    key: &str,
    field: &str,
) -> Parsed<Option<Duration>> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let number = value.as_str().and_then(|text| text.strip_suffix('s'));
    let seconds = number.and_then(|number| number.parse::<f64>().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let message = "must be seconds, such as \"0.1s\"";
    duration.map(Some).ok_or_else(|| invalid(format!("{field}.{key}"), message))
}

/// A code by its name in gRPC's documents or by its number.
fn code(value: &Value) -> Option<Code> {
    if let Some(number) = value.as_i64() {
        return (0..=16).contains(&number).then(|| Code::from(i32::try_from(number).unwrap_or(2)));
    }
    Some(match value.as_str()? {
        "CANCELLED" => Code::Cancelled,
        "UNKNOWN" => Code::Unknown,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "ABORTED" => Code::Aborted,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        "UNAVAILABLE" => Code::Unavailable,
        "DATA_LOSS" => Code::DataLoss,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{
        "methodConfig": [
            {"name": [{}], "timeout": "2s"},
            {"name": [{"service": "a.B"}], "waitForReady": true},
            {"name": [{"service": "a.B", "method": "C"}], "retryPolicy": {
                "maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1.5s",
                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", 10]}}],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": "ready"},
        "loadBalancingConfig": [{"round_robin": {}}]
    }"#;

    #[test]
    fn the_repository_s_service_config_is_valid() {
        let config = ServiceConfig::parse(OF_THE_SERVICE).unwrap();
        assert_eq!(ServiceConfig::of_the_service(), config);
        assert!(config.method("/bookstore.v1.BookService/GetBook").retry_policy.is_some());
    }

    #[test]
    fn the_most_specific_method_config_wins() {
        let config = ServiceConfig::parse(WHOLE).unwrap();
        let policy = config.method("/a.B/C").retry_policy.unwrap();
        assert_eq!(policy.max_attempts, MOST_ATTEMPTS);
        assert_eq!(policy.max_backoff, Duration::from_millis(1_500));
        assert_eq!(policy.retryable_status_codes, [Code::Unavailable, Code::Aborted]);
        assert_eq!(config.method("/a.B/D").wait_for_ready, Some(true));
        assert_eq!(config.method("/x.Y/Z").timeout, Some(Duration::from_secs(2)));
        assert_eq!(config.health_check_service.as_deref(), Some("ready"));
    }

    #[test]
    fn a_refusal_names_the_wrong_field() {
        for (from, to, field) in [
            ("\"maxAttempts\": 9", "\"maxAttempts\": 1", "methodConfig[2].retryPolicy.maxAttempts"),
            ("\"0.1s\"", "\"0s\"", "methodConfig[2].retryPolicy.initialBackoff"),
            ("\"UNAVAILABLE\"", "\"AWAY\"", "methodConfig[2].retryPolicy.retryableStatusCodes"),
            ("\"2s\"", "2", "methodConfig[0].timeout"),
            ("\"maxTokens\": 10", "\"maxTokens\": 1001", "retryThrottling.maxTokens"),
            ("\"method\": \"C\"", "\"method\": \"\"", "methodConfig[2].name[0]"),
            ("round_robin", "pick_first", "loadBalancingConfig"),
        ] {
            let text = WHOLE.replace(from, to);
            assert_eq!(ServiceConfig::parse(&text).unwrap_err().field, field, "{to}");
        }
    }
}
