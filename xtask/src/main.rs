//! Project tasks: `cargo xtask ci | tidy | codegen | interop | sim | bench | peers`.

mod bench;
mod ci;
mod compat;
mod interop;
mod layers;
mod peers;
mod shell;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK
  ci                format, lint, tidy, generated code: what a machine checks besides tests
  tidy              layers, module docs, words that must not land, rows of COMPAT.md
  codegen [--check] write (or check) crates/api/src/generated
  interop [PART..]  tests with a real etcd, the real etcdctl and other languages' clients; parts:
                    clients, transcripts, ctl, ctl-v2, server-v2, differential
  sim [OPTION..]    run seeds of the simulator; options: --seeds N, --from SEED, --threads N, --release
  bench [OPTION..]  compare a release build with a real etcd 3.5 and write docs/performance.md from it;
                    options are those of `oxetcd bench compare`
  peers             only fetch what interop needs, and print where it is";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let task = args.first().map_or("", String::as_str);
    let result = match task {
        "ci" => ci::run(),
        "tidy" => tidy::run(),
        "codegen" => ci::codegen(args.iter().any(|arg| arg == "--check")),
        "interop" => interop::run(&args[1..]),
        "sim" => sim(&args[1..]),
        "bench" => bench::run(&args[1..]),
        "peers" => peers::Peers::fetch().map(|peers| println!("{peers:#?}")),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the simulator; `--release` is for cargo, all else for the simulator.
fn sim(args: &[String]) -> anyhow::Result<()> {
    let mut cargo = shell::command("cargo");
    cargo.args(["run", "--quiet", "-p", "sim"]);
    cargo.args(args.iter().filter(|arg| *arg == "--release"));
    cargo.arg("--").args(args.iter().filter(|arg| *arg != "--release"));
    shell::run(&mut cargo)
}
