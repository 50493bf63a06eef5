//! The multi-call binary: server, command-line tools and load generator in one file.
//!
//! The name it is called by decides (`etcd`, `etcdctl`, `etcdutl`); called by its own name, the
//! first argument does (`server`, `ctl`, `utl`, `bench`). Anything else is the server's: `oxetcd
//! --data-dir x` is `etcd --data-dir x`. The server's first argument may name a proxy instead
//! (`gateway`, `grpc-proxy`).

mod allocator;

use std::{ffi::OsString, path::Path, process::ExitCode};

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// What this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Ctl,
    Utl,
    Bench,
    Proxy,
}

fn main() -> ExitCode {
    let (role, args) = role(std::env::args_os().collect());
    match role {
        Role::Server => {
            let (give_back, in_use) = (allocator::give_back, allocator::in_use);
            server::main(named("etcd", args), server::Allocator { give_back, in_use })
        }
        Role::Ctl => ctl::main(named("etcdctl", args)),
        Role::Utl => utl::main(named("etcdutl", args)),
        Role::Bench => bench::main(named("oxetcd bench", args)),
        Role::Proxy => proxy::main(args),
    }
}

/// Arguments with the program's name in front, as a tool expects its own.
fn named(name: &str, args: Vec<OsString>) -> Vec<OsString> {
    std::iter::once(OsString::from(name)).chain(args).collect()
}

/// The role, and the arguments that are left for it.
fn role(mut args: Vec<OsString>) -> (Role, Vec<OsString>) {
    let program = if args.is_empty() { OsString::new() } else { args.remove(0) };
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.as_str() {
        "etcd" => return (server_or_proxy(&args), args),
        "etcdctl" => return (Role::Ctl, args),
        "etcdutl" => return (Role::Utl, args),
        _ => {}
    }
    let by_word = match args.first().and_then(|word| word.to_str()) {
        Some("server" | "etcd") => Some(Role::Server),
        Some("ctl" | "etcdctl") => Some(Role::Ctl),
        Some("utl" | "etcdutl") => Some(Role::Utl),
        Some("bench") => Some(Role::Bench),
        _ => None,
    };
    match by_word {
        Some(role) => {
            args.remove(0);
            match role {
                Role::Server => (server_or_proxy(&args), args),
                role => (role, args),
            }
        }
        None => (server_or_proxy(&args), args),
    }
}

/// What `etcd` is with these arguments.
fn server_or_proxy(args: &[OsString]) -> Role {
    match args.first().and_then(|word| word.to_str()) {
        Some(word) if proxy::is_command(word) => Role::Proxy,
        _ => Role::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> (Role, usize) {
        let (role, args) = role(words.iter().map(OsString::from).collect());
        (role, args.len())
    }

    #[test]
    fn the_name_decides_before_the_first_word() {
        assert_eq!(of(&["/usr/bin/etcd", "--name", "x"]), (Role::Server, 2));
        assert_eq!(of(&["etcdctl", "server"]), (Role::Ctl, 1));
        assert_eq!(of(&["oxetcd", "utl", "version"]), (Role::Utl, 1));
        assert_eq!(of(&["oxetcd", "bench"]), (Role::Bench, 0));
        assert_eq!(of(&["oxetcd", "--version"]), (Role::Server, 1));
        assert_eq!(of(&["oxetcd"]), (Role::Server, 0));
        assert_eq!(of(&["etcd", "gateway", "start"]), (Role::Proxy, 2));
        assert_eq!(of(&["oxetcd", "server", "grpc-proxy"]), (Role::Proxy, 1));
        assert_eq!(of(&["oxetcd", "grpc-proxy", "--help"]), (Role::Proxy, 2));
    }
}
