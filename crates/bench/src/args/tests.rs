//! The command line is read as documented.

use super::*;
use crate::args::load::{Beside, Consistency};
use crate::load::pace::Limit;

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(std::iter::once("bench").chain(line.split(' '))).expect("parses")
}

fn verb(line: &str) -> Verb {
    match parse(line).command {
        Command::Verb(verb) => verb,
        other => panic!("{other:?} is no load"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn a_put_with_everything() {
    let Verb::Put(args) = verb(
        "put --endpoint http://localhost:12379 --connections 10 --clients 100 --total 5 \
         --duration 2m --rate 1500 --key-size 32 --val-size 1024 --key-space-size 77 --sequential \
         --seed 9 --json out.json --server-pid 42 --warmup 500ms",
    ) else {
        panic!("a put")
    };
    assert_eq!(args.load.endpoints[0].authority, "localhost:12379");
    assert_eq!((args.load.connections, args.load.clients), (10, 100));
    assert_eq!(
        args.load.limit(),
        Limit::new(Some(5), Some(Duration::from_secs(120))).expect("set")
    );
    assert_eq!(args.load.rate, Some(1500.0));
    assert_eq!(args.load.warmup, Duration::from_millis(500));
    assert_eq!((args.keys.key_size, args.keys.key_space_size), (32, 77));
    assert!(args.keys.sequential);
    assert_eq!(args.values.val_size, 1024);
    assert_eq!((args.load.seed, args.load.server_pid), (9, vec![42]));
}

#[test]
fn a_load_is_always_bounded() {
    assert_eq!(verb("put").load().limit(), Limit::of_total(10_000));
    let timed = verb("put --duration 3");
    assert_eq!(timed.load().limit(), Limit::of_duration(Duration::from_secs(3)));
    assert!(verb("put --total 0").load().check().is_err());
    assert!(verb("put --clients 0").load().check().is_err());
    assert!(verb("put --duration 0s").load().check().is_err());
}

#[test]
fn a_slow_open_loop_is_no_stall() {
    assert_eq!(verb("put --rate 0.01").load().stall(), Duration::from_secs(200));
    assert_eq!(verb("put --rate 100").load().stall(), Duration::from_secs(30));
}

#[test]
fn spellings_of_etcds_tool_are_taken() {
    let Verb::Range(args) = verb("range --endpoints 127.0.0.1:1 --conns 2 --consistency s") else {
        panic!("a range")
    };
    assert!(args.is_serializable());
    assert_eq!(args.load.connections, 2);
    let Verb::Range(args) = verb("range") else { panic!("a range") };
    assert_eq!(args.consistency, Consistency::Linearizable);
    assert!(!args.is_serializable());
    let Verb::Range(args) = verb("range --serializable") else { panic!("a range") };
    assert!(args.is_serializable());
}

#[test]
fn every_verb_is_named_as_typed() {
    for name in [
        "put",
        "range",
        "txn-put",
        "txn-k8s",
        "txn-mixed",
        "range-stream",
        "stm",
        "watch",
        "watch-get",
        "watch-latency",
        "lease-grant",
        "lease-keepalive",
    ] {
        assert_eq!(verb(name).name(), name);
    }
}

#[test]
fn nonsense_is_refused() {
    for line in [
        "put --rate 0",
        "put --rate x",
        "put --duration 3d",
        "put --user nobody",
        "put --cert a",
        "put --beside sleep",
        "put --endpoint nowhere",
        "put --sequential --random",
        "range --serializable --consistency l",
        "fly",
    ] {
        let words = std::iter::once("bench").chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn what_goes_on_beside() {
    let kinds = [
        ("lists", Beside::Lists),
        ("compaction", Beside::Compaction),
        ("snapshot", Beside::Snapshot),
        ("defrag", Beside::Defrag),
        ("catch-up", Beside::CatchUp),
        ("leases", Beside::Leases),
    ];
    for (name, kind) in kinds {
        assert_eq!(verb(&format!("put --beside {name}")).load().beside, Some(kind));
    }
}

#[test]
fn members_tls_and_a_user() {
    let load = verb("put --endpoints https://a:1,b:2 --cacert ca --user root:a:b --server-pid 1,2");
    let load = load.load();
    let places: Vec<_> = load.endpoints.iter().map(|e| (e.host.as_str(), e.port, e.tls)).collect();
    assert_eq!(places, [("a", 1, true), ("b", 2, false)]);
    let user = load.security.user.as_ref().expect("given");
    assert_eq!((user.name.as_str(), user.password.as_str()), ("root", "a:b"));
    assert_eq!(load.server_pid, [1, 2]);
}

#[test]
fn durations() {
    assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
    assert!(parse_duration("").is_err());
    assert!(parse_duration("-1s").is_err());
    assert!(parse_duration("1e300h").is_err());
}

#[test]
fn compare_takes_lists() {
    let Command::Compare(args) = parse(
        "compare --oxetcd a --etcd b --workloads put-1,put-100 --workload x=put --server-arg \
         --quota-backend-bytes=1",
    )
    .command
    else {
        panic!("a comparison")
    };
    assert_eq!(args.workloads, ["put-1", "put-100"]);
    assert_eq!(args.own, ["x=put"]);
    assert_eq!(args.host.server_args, ["--quota-backend-bytes=1"]);
}
