//! The two programs and their pages of help.

use std::{ffi::OsString, process::ExitCode};

use crate::{
    Failure,
    flags::{Asked, Flag, Values, parse, usage},
    gateway, grpc,
};

/// One program: `etcd NAME start`.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    start: fn(&Values) -> Failure,
}

/// What there is.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "gateway",
        about: "pass TCP connections on to the members of a cluster",
        flags: gateway::FLAGS,
        start: gateway::start,
    },
    Program {
        name: "grpc-proxy",
        about: "answer clients in the place of a cluster",
        flags: grpc::FLAGS,
        start: grpc::start,
    },
];

/// Runs the program that the first argument names.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let program = args.first().and_then(|word| PROGRAMS.iter().find(|p| p.name == word));
    let Some(program) = program else {
        eprintln!("Error: unknown command");
        return ExitCode::FAILURE;
    };
    let rest = &args[1..];
    let start = rest.iter().position(|arg| !arg.starts_with('-')).filter(|at| rest[*at] == "start");
    let Some(start) = start else {
        return match parse(&[], rest) {
            Ok(_) => {
                print!("{}", program.page());
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&error, &program.synopsis()),
        };
    };
    let mut of_start = rest.to_vec();
    of_start.remove(start);
    match parse(program.flags, &of_start) {
        Ok(Asked::Help) => {
            print!("start the {}\n\n{}", program.name, program.start_synopsis());
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(values)) => {
            match (program.start)(&values) {
                Failure::Out(text) => print!("{text}"),
                Failure::Err(text) => eprint!("{text}"),
            }
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error, &program.start_synopsis()),
    }
}

/// An error of the command line, as etcd's library tells it: before the page and after it.
fn refuse(error: &str, page: &str) -> ExitCode {
    eprint!("Error: {error}\n{page}\n{error}");
    ExitCode::FAILURE
}

impl Program {
    fn page(&self) -> String {
        format!("{}\n\n{}", self.about, self.synopsis())
    }

    fn synopsis(&self) -> String {
        let name = self.name;
        format!(
            "Usage:\n  etcd {name} [command]\n\nAvailable Commands:\n  start       start the {name}\n\n\
             Flags:\n{}\nUse \"etcd {name} [command] --help\" for more information about a \
             command.\n",
            usage(&[])
        )
    }

    fn start_synopsis(&self) -> String {
        format!("Usage:\n  etcd {} start [flags]\n\nFlags:\n{}", self.name, usage(self.flags))
    }
}
