//! The program `bookstore`.

/// A request allocates a few hundred small blocks. This allocator takes less time for them than the
/// system's. It takes the place of the C library's too, which SQLite uses; huge pages would only make
/// memory grow (docs/measurements.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bookstore_server::main()
}
