//! The common parts of `import` and `export`. Both are clients of a running service: they use the
//! contract and nothing of the server.

pub mod client;
pub mod field;
pub mod format;
pub mod json;
pub mod money;
pub mod place;
pub mod progress;
