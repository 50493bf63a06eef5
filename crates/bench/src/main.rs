//! The load generator on its own, without the multi-call binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::main(std::env::args_os().collect())
}
