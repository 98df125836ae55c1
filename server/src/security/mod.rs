//! Credentials: what proves who calls, and the files that hold it.

pub mod password;
pub mod reload;
