//! Credentials.

pub mod password;
