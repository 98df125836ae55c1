//! The methods of the service: those of the contract, and those that a policy has to cover.

use bookstore_auth::policy::PolicyMethod;

use super::error::AppError;
use crate::{
    resource::RESOURCES,
    rpc::{layers::REFLECTION_PATHS, registry::Registry},
    transaction,
};

/// Every method of the service.
///
/// # Errors
/// If it differs from the contract, which is an error of the build.
pub fn registry() -> Result<Registry, AppError> {
    let mut registry = Registry::default();
    for resource in RESOURCES {
        (resource.register)(&mut registry);
    }
    transaction::register(&mut registry);
    registry.complete().map_err(AppError::Contract)
}

/// The methods that a policy has to cover: all but those of health.
///
/// # Errors
/// If the methods differ from the contract, which is an error of the build.
pub fn policy_methods() -> Result<Vec<PolicyMethod>, AppError> {
    let registry = registry()?;
    let ours = registry.methods().map(|method| PolicyMethod {
        path: method.path,
        entries: method.entries.map(|entries| entries.path),
    });
    Ok(ours.chain(REFLECTION_PATHS.map(PolicyMethod::at)).collect())
}
