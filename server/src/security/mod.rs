//! What proves who somebody is.

pub mod password;
