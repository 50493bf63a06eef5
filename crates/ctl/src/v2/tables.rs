//! The commands and flags of 3.4's command line for the v2 store.

use super::{
    app::{Action, Command},
    commands::{auth, backup, health, keys, member, role, user, watch},
    error::Outcome,
    flags::{Flag, Kind},
};

/// Flags that stand before the command.
pub(super) static GLOBAL_FLAGS: &[Flag] = &[
    switch(&["debug"], "show each request as a curl command"),
    switch(&["no-sync"], "talk to the endpoints as given, not to those that members tell"),
    text(&["output", "o"], "format of answers (simple, extended or json)")
        .default("simple")
        .placeholder("simple"),
    text(&["discovery-srv", "D"], "domain whose SRV records name the members"),
    switch(&["insecure-discovery"], "accept SRV records of members without TLS"),
    text(&["peers", "C"], "older name of --endpoints"),
    text(&["endpoint"], "older name of --endpoints"),
    text(
        &["endpoints"],
        "URLs of members, separated by commas (default: \
         \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    text(&["cert-file"], "certificate to show to members"),
    text(&["key-file"], "key of the certificate"),
    text(&["ca-file"], "authorities that members' certificates must be from"),
    text(&["username", "u"], "name[:password] to authenticate with (asks for the password)"),
    Flag::new(&["timeout"], Kind::Duration, "bound on one request").default("2s"),
    Flag::new(&["total-timeout"], Kind::Duration, "bound on the command, unless it watches")
        .default("5s"),
];

const fn switch(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag::new(names, Kind::Bool, usage)
}

const fn text(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag::new(names, Kind::Text, usage)
}

const fn number(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag::new(names, Kind::Int, usage)
}

const TTL: Flag = number(&["ttl"], "seconds until the key goes");
const SORT: Flag = switch(&["sort"], "answer in the order of keys");
const QUORUM: Flag = switch(&["quorum", "q"], "read through the leader and a majority");
const AFTER_INDEX: Flag = number(&["after-index"], "begin behind this index");
const ROLES: Flag = Flag::new(&["roles"], Kind::List, "a role; may be repeated");

const fn command(
    name: &'static str,
    usage: &'static str,
    args_usage: &'static str,
    flags: &'static [Flag],
    run: fn(&super::app::Context) -> Outcome,
) -> Command {
    Command {
        name,
        aliases: &[],
        usage,
        description: "",
        args_usage,
        flags,
        action: Action::Run(run),
        commands: &[],
    }
}

const fn group(name: &'static str, usage: &'static str, commands: &'static [Command]) -> Command {
    Command {
        name,
        aliases: &[],
        usage,
        description: "",
        args_usage: "[arguments...]",
        flags: &[],
        action: Action::Group,
        commands,
    }
}

/// All commands but `help`.
pub(super) static COMMANDS: &[Command] = &[
    command(
        "backup",
        "copy a data directory for a new cluster",
        " ",
        &[
            text(&["data-dir"], "the data directory"),
            text(&["wal-dir"], "its log, if that is elsewhere"),
            text(&["backup-dir"], "where the copy goes"),
            text(&["backup-wal-dir"], "where the copy of the log goes, if elsewhere"),
            switch(&["with-v3"], "copy the v3 store too"),
        ],
        backup::backup,
    ),
    command(
        "cluster-health",
        "ask each member for its health",
        " ",
        &[switch(&["forever", "f"], "ask again every 10 seconds")],
        health::cluster_health,
    ),
    command(
        "mk",
        "set a key that must be new",
        "<key> <value>",
        &[switch(&["in-order"], "make a numbered key in the directory <key>"), TTL],
        keys::mk,
    ),
    command("mkdir", "make a directory", "<key>", &[TTL], keys::mkdir),
    command(
        "rm",
        "remove a key or a directory",
        "<key>",
        &[
            switch(&["dir"], "remove an empty directory, or a key"),
            switch(&["recursive", "r"], "remove a directory with all in it"),
            text(&["with-value"], "only if this is its value"),
            number(&["with-index"], "only if this is its index"),
        ],
        keys::rm,
    ),
    command("rmdir", "remove an empty directory, or a key", "<key>", &[], keys::rmdir),
    command("get", "show the value of a key", "<key>", &[SORT, QUORUM], keys::get),
    command(
        "ls",
        "list a directory",
        "[key]",
        &[
            SORT,
            switch(&["recursive", "r"], "list directories in it too"),
            switch(&["p"], "mark directories with a slash"),
            QUORUM,
        ],
        keys::ls,
    ),
    Command {
        description: "A <value> that begins with a dash is taken for a flag, unless -- stands before:\n\n   \
                      $ set -- <key> <value>",
        ..command(
            "set",
            "set a key",
            "<key> <value>",
            &[
                TTL,
                text(&["swap-with-value"], "only if this is its value"),
                number(&["swap-with-index"], "only if this is its index"),
            ],
            keys::set,
        )
    },
    command("setdir", "make a directory, or set its time to live", "<key>", &[TTL], keys::setdir),
    command("update", "set a key that must be there", "<key> <value>", &[TTL], keys::update),
    command(
        "updatedir",
        "set the time to live of a directory",
        "<key> <value>",
        &[TTL],
        keys::updatedir,
    ),
    command(
        "watch",
        "wait for a change",
        "<key>",
        &[
            switch(&["forever", "f"], "wait for the next one after each"),
            AFTER_INDEX,
            switch(&["recursive", "r"], "of keys below it too"),
        ],
        watch::watch,
    ),
    command(
        "exec-watch",
        "run a program at each change",
        "<key> <command> [args...]",
        &[AFTER_INDEX, switch(&["recursive", "r"], "of keys below it too")],
        watch::exec_watch,
    ),
    group("member", "show and change the members", MEMBER),
    group("user", "show and change users", USER),
    group("role", "show and change roles", ROLE),
    group("auth", "switch authentication", AUTH),
];

static MEMBER: &[Command] = &[
    command("list", "list the members", " ", &[], member::list),
    command("add", "add a member", "<name> <peerURL>", &[], member::add),
    command("remove", "remove a member", "<memberID>", &[], member::remove),
    command(
        "update",
        "change the peer URLs of a member",
        "<memberID> <peerURLs>",
        &[],
        member::update,
    ),
];

static USER: &[Command] = &[
    command("add", "add a user", "<user>", &[], user::add),
    command("get", "show a user's roles", "<user>", &[], user::get),
    command("list", "list all users", "<user>", &[], user::list),
    command("remove", "remove a user", "<user>", &[], user::remove),
    command("grant", "give a user roles", "<user>", &[ROLES], user::grant),
    command("revoke", "take roles from a user", "<user>", &[ROLES], user::revoke),
    command("passwd", "change a user's password", "<user>", &[], user::passwd),
];

const GRANT: &[Flag] = &[
    text(&["path"], "the key, or a prefix that ends in *"),
    switch(&["read"], "reading"),
    switch(&["write"], "writing"),
    switch(&["readwrite", "rw"], "both"),
];

static ROLE: &[Command] = &[
    command("add", "add a role", "<role> ", &[], role::add),
    command("get", "show what a role may", "<role>", &[], role::get),
    command("list", "list all roles", " ", &[], role::list),
    command("remove", "remove a role", "<role>", &[], role::remove),
    command("grant", "allow a role something", "<role>", GRANT, role::grant),
    command("revoke", "take a permission from a role", "<role>", GRANT, role::revoke),
];

static AUTH: &[Command] = &[
    command("enable", "switch authentication on", " ", &[], auth::enable),
    command("disable", "switch authentication off", " ", &[], auth::disable),
];
