//! The settings that the handlers of calls need.

use std::time::Duration;

use bookstore_query::search::Language;

/// What the configuration says about calls.
#[derive(Clone, Copy, Debug)]
pub struct CallSettings {
    /// How long idempotency keys are kept. Default 24 hours.
    pub key_retention: Duration,
    /// The language of searches. Default [`Language::Simple`].
    pub search_language: Language,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self { key_retention: Duration::from_hours(24), search_language: Language::default() }
    }
}
