//! TLS of the port for calls, and what is reported of the database's.

use opentelemetry::KeyValue;

use super::error::AppError;
use crate::{
    config::{Config, Database},
    meters,
    security::{reload::ReloadTask, tls::Tls},
};

/// TLS, if the settings name its files.
///
/// # Errors
/// If a file can't be used.
pub(super) fn load_tls(config: &Config, reload: &mut ReloadTask) -> Result<Option<Tls>, AppError> {
    let Some(files) = &config.security.tls else { return Ok(None) };
    let tls = Tls::load(files, reload).map_err(AppError::Security)?;
    tls.observe();
    Ok(Some(tls))
}

/// Reports how the connections to each node of the database are encrypted, as a metric.
pub(super) fn observe_database(database: &Database) {
    let nodes: Vec<_> = database.encryption().cloned().collect();
    meters::DATABASE_TLS.observe(move |gauge| {
        for node in &nodes {
            let mode = KeyValue::new("mode", node.ssl_mode);
            gauge.observe(1.0, &[KeyValue::new("node", node.node.clone()), mode]);
        }
    });
}
