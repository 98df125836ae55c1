//! Why a command failed.

/// The error of a command. The program prints it and exits with 1.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The exit code for a wrong command line.
pub(super) const WRONG_COMMAND_LINE: u8 = 2;

/// The exit code for wrong settings (BSD's EX_USAGE). A wrong command line ends with 2.
pub(super) const USAGE: u8 = 64;
