//! Temporary.
fn main() -> std::process::ExitCode {
    proxy::main(std::env::args_os().skip(1).collect())
}
