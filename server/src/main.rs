//! The program `bookstore`.

fn main() -> std::process::ExitCode {
    bookstore_server::main()
}
