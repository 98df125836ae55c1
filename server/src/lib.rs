//! The bookstore's data service.
//!
//! A call comes in at [`listener`], passes the layers of [`rpc`], reaches its resource
//! ([`resource`]: service, then convert, then operations) and from there the database
//! ([`bookstore_store`]). [`app`] wires it, [`command`] is the command line. ARCHITECTURE.md draws
//! it.

pub mod admin;
pub mod app;
pub mod budget;
pub mod command;
pub mod config;
pub mod drift;
pub mod listener;
pub mod meters;
pub mod migrations;
pub mod postgres_programs;
pub mod resource;
pub mod rpc;
pub mod sample_data;
pub mod security;
pub mod shutdown;
pub mod telemetry;
pub mod traces;
pub mod transaction;

pub use command::{main, main_with};

/// A request allocates a few hundred small blocks. This allocator takes less time for them than the
/// system's. It takes the place of the C library's too, which SQLite uses. Huge pages would only
/// make memory grow (docs/measurements.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
