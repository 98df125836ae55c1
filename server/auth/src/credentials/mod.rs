//! Credentials: what callers prove themselves with, and how each kind is verified.

mod authenticator;
#[cfg(test)]
mod authenticator_tests;
mod error;
mod https;
mod json;
mod jwt;
#[cfg(test)]
mod jwt_tests;
mod key_address;
mod key_set;
#[cfg(test)]
mod key_set_tests;
mod memory;
#[cfg(test)]
mod testing;
mod tokens;

pub use self::{
    authenticator::Authenticator,
    error::{CredentialsError, InvalidCause},
    tokens::{NewToken, new_token},
};
