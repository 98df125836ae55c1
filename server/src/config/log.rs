//! The settings of the log.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    settings::{LOG_FORMAT, LOG_LEVEL},
    values::SettingValues,
};

/// The settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `log_level`, a directive that tracing-subscriber's `EnvFilter` takes.
    /// Default `info`.
    pub level: String,
    /// `log_format`. Default [`LogFormat::Auto`].
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// [`LogFormat::Text`] where standard error is a terminal, else [`LogFormat::Json`].
    Auto,
    /// For people.
    Text,
    /// For log systems: one JSON object a line.
    Json,
}

impl Log {
    pub(super) fn read(values: &mut SettingValues) -> Option<Self> {
        let level = values.read(&LOG_LEVEL, level);
        let format = values.read(&LOG_FORMAT, |text| match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be auto, text or json".to_owned()),
        });
        Some(Self { level: level?, format: format? })
    }
}

/// A level as `log_level` takes it.
///
/// # Errors
/// What it must be.
pub fn level(text: &str) -> Result<String, String> {
    // The filter takes a single word that is no level as a target with all levels: a misspelt level
    // would switch off everything else.
    let lone_words_are_levels = text
        .split(',')
        .filter(|part| !part.contains(['=', '[', ']']))
        .all(|part| part.trim().parse::<LevelFilter>().is_ok() && !part.trim().is_empty());
    if lone_words_are_levels && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("must be off, error, warn, info, debug or trace, \
             or several of them for targets, such as info,hyper=debug"
            .to_owned())
    }
}
