//! Credentials, what they allow, and the files that say so.

pub mod access;
pub mod audit;
pub mod password;
pub mod reload;
pub mod tls;
