//! The program `bookstore`.

/// A request allocates a few hundred small blocks. This allocator takes less time for them than the
/// system's (docs/measurements.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bookstore_server::main()
}
