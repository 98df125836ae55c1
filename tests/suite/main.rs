//! The suite: it tests the program from outside, on every engine.
//!
//! It is a single test binary, since each binary is linked with all dependencies.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

mod abuse;
mod admin;
mod autocommit;
mod backup;
mod bad_input;
mod batch;
mod book;
mod book_transfer;
mod borders;
mod cart;
mod category;
mod client;
mod clients;
mod clocks;
mod cluster;
mod coalescing;
mod contract;
mod credentials;
mod drift;
mod exceptions;
mod field_mask;
mod filter_books;
mod filter_cases;
mod guard;
mod health;
mod idempotency;
mod item;
mod lifecycle;
mod list;
mod logs;
mod migrate;
mod migration;
mod operations;
mod order;
mod panics;
mod policy;
mod post;
mod printed;
mod races;
mod readme;
mod reasons;
mod reflection;
mod registry;
mod replicas;
mod review;
mod roles;
mod sessions;
mod settings;
mod standard;
mod store;
mod telemetry;
mod tidy;
mod tls;
mod topology;
mod transact;
mod transaction;
mod transfer;
mod trials;
mod urls;
mod user;
