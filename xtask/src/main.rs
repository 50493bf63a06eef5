//! Project tasks: `cargo xtask ci | tidy | codegen | interop | sim | mutants | bench | peers`.

mod bench;
mod ci;
mod compat;
mod interop;
mod layers;
mod peers;
mod shell;
mod sim;
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
  mutants [--seeds N] [--threads N] [--mutant NAME,..]
                    look for the first seed that catches each old sin; of all, write docs/mutants.md
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
        "sim" => sim::run(&args[1..]),
        "mutants" => sim::mutants(&args[1..]),
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
