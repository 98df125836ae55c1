//! What `import` and `export` have in common. Both are clients of a running service:
//! they know the contract and nothing of the server's insides.

pub mod client;
pub mod field;
pub mod format;
pub mod json;
pub mod money;
pub mod progress;
