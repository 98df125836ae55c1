//! Puts the policy and the credentials' files in force, at the start and when they change.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{error::AppError, methods::policy_methods};
use crate::{
    config::Config,
    security::{
        access::{AccessControl, AccessFiles, AccessRules},
        audit,
        reload::ReloadTask,
    },
};

/// How often it is looked whether an issuer's keys have to be read.
const TICK: Duration = Duration::from_secs(1);

/// Reads the policy and the tokens, and follows their files; none without a policy.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn load(
    config: &Config,
    reload: &mut ReloadTask,
) -> Result<Option<Arc<AccessControl>>, AppError> {
    let Some(policy) = config.security.policy.clone() else { return Ok(None) };
    let files =
        AccessFiles { policy, tokens: config.security.tokens.clone(), methods: policy_methods()? };
    let verified = config.security.verified();
    let only_reports = config.security.only_reports;
    let control = Arc::new(Mutex::new(None::<Arc<AccessControl>>));
    let loaded = control.clone();
    let load = move |reader: &mut crate::security::reload::FileReader| {
        let mut control = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let before = control.as_ref().map(|control| control.now());
        let access = AccessRules::load(&files, &mut |path| reader.read(path), before.as_deref())?;
        let unverified = access.policy.unverified(verified);
        for warning in access.policy.warnings().iter().chain(&unverified) {
            let place = format!("{}:{}", files.policy.display(), warning.line);
            tracing::warn!(target: "audit", place, "{}", warning.message);
        }
        match &*control {
            Some(control) => control.replace(access),
            None => *control = Some(Arc::new(AccessControl::new(access, only_reports))),
        }
        Ok(())
    };
    reload.watch("policy", load).map_err(AppError::Security)?;
    let control = control.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(control)
}

/// Reads the keys at addresses when that is due, and ends the seconds of the audit log. It never
/// ends.
pub(super) async fn follow(control: Arc<AccessControl>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        control.now().authenticator.read_due_keys();
        audit::end_second();
    }
}
