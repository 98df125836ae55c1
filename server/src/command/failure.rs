//! Why a command failed.

/// The error of a command. The program prints it and exits with 1.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;
