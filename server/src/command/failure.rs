//! Why a command failed.

/// Any reason why a command could not be carried out. The program prints it and ends with 1.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;
