//! Commands about keys.

use std::io::Read;

use super::show;
use crate::v2::{
    app::Context,
    cluster::Cluster,
    error::{Code, Ended, Error, Outcome},
    keys::{self, Condition, Node, Response, Set},
    say,
    settings::cluster,
};

fn refused(error: &Error) -> Ended {
    Ended::error(Code::Server, error)
}

/// The client, and the key that must be given.
fn cluster_and_key(context: &Context) -> Result<(Cluster, Vec<u8>), Ended> {
    let cluster = cluster(context)?;
    match context.args.first() {
        Some(key) => Ok((cluster, key.clone())),
        None => Err(Ended::missing("key required")),
    }
}

/// The second argument, or all of standard input.
fn value(context: &Context) -> Result<Vec<u8>, Ended> {
    if let Some(value) = context.args.get(1) {
        return Ok(value.clone());
    }
    let mut value = Vec::new();
    let read = std::io::stdin().read_to_end(&mut value);
    match read {
        Ok(_) if !value.is_empty() => Ok(value),
        _ => Err(Ended::missing("value required")),
    }
}

/// `mk`.
pub(in crate::v2) fn mk(context: &Context) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    let (value, ttl) = (value(context)?, context.flags.int("ttl"));
    let response = if context.flags.bool("in-order") {
        keys::create_in_order(&cluster, &key, value, ttl)
    } else {
        let condition = Condition { exists: "false", ..Condition::default() };
        keys::set(&cluster, &key, &Set { value, ttl, condition, dir: false })
    };
    show(context, &response.map_err(|error| refused(&error))?)
}

/// `set`.
pub(in crate::v2) fn set(context: &Context) -> Outcome {
    let condition = Condition {
        exists: "",
        value: context.flags.text("swap-with-value").to_owned(),
        index: context.flags.int("swap-with-index").cast_unsigned(),
    };
    put(context, condition)
}

/// `update`.
pub(in crate::v2) fn update(context: &Context) -> Outcome {
    put(context, Condition { exists: "true", ..Condition::default() })
}

fn put(context: &Context, condition: Condition) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    let (value, ttl) = (value(context)?, context.flags.int("ttl"));
    let response = keys::set(&cluster, &key, &Set { value, ttl, condition, dir: false });
    show(context, &response.map_err(|error| refused(&error))?)
}

/// `mkdir`.
pub(in crate::v2) fn mkdir(context: &Context) -> Outcome {
    put_dir(context, "false")
}

/// `setdir`.
pub(in crate::v2) fn setdir(context: &Context) -> Outcome {
    put_dir(context, "")
}

/// `updatedir`.
pub(in crate::v2) fn updatedir(context: &Context) -> Outcome {
    put_dir(context, "true")
}

fn put_dir(context: &Context, exists: &'static str) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    let condition = Condition { exists, ..Condition::default() };
    let set = Set { dir: true, ttl: context.flags.int("ttl"), condition, value: Vec::new() };
    let response = keys::set(&cluster, &key, &set).map_err(|error| refused(&error))?;
    match context.global.text("output") {
        "simple" => Ok(()),
        _ => show(context, &response),
    }
}

/// `rm`.
pub(in crate::v2) fn rm(context: &Context) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    let flags = &context.flags;
    let condition = Condition {
        exists: "",
        value: flags.text("with-value").to_owned(),
        index: flags.int("with-index").cast_unsigned(),
    };
    let (dir, recursive) = (flags.bool("dir"), flags.bool("recursive"));
    removed(context, keys::delete(&cluster, &key, dir, recursive, &condition))
}

/// `rmdir`.
pub(in crate::v2) fn rmdir(context: &Context) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    removed(context, keys::delete(&cluster, &key, true, false, &Condition::default()))
}

fn removed(context: &Context, response: Result<Response, Error>) -> Outcome {
    let response = response.map_err(|error| refused(&error))?;
    if response.node().is_dir() && context.global.text("output") == "simple" {
        return Ok(());
    }
    show(context, &response)
}

/// `get`.
pub(in crate::v2) fn get(context: &Context) -> Outcome {
    let (cluster, key) = cluster_and_key(context)?;
    let how = [false, context.flags.bool("sort"), context.flags.bool("quorum")];
    let response = keys::get(&cluster, &key, how).map_err(|error| refused(&error))?;
    if response.node().is_dir() {
        return Err(Ended::line(format_args!("{}: is a directory", response.node().key())));
    }
    show(context, &response)
}

/// `ls`.
pub(in crate::v2) fn ls(context: &Context) -> Outcome {
    let cluster = cluster(context)?;
    let key = context.args.first().map_or(&b"/"[..], Vec::as_slice);
    let flags = &context.flags;
    let how = [flags.bool("recursive"), flags.bool("sort"), flags.bool("quorum")];
    let response = keys::get(&cluster, key, how).map_err(|error| refused(&error))?;
    if context.global.text("output") != "simple" {
        return show(context, &response);
    }
    let node = response.node();
    let mut out = String::new();
    if !node.is_dir() {
        out = format!("{}\n", node.key());
    }
    node.nodes().iter().for_each(|node| list(&mut out, node, flags.bool("p")));
    match out.strip_suffix('\n') {
        Some(out) => say(out),
        None => Ok(()),
    }
}

fn list(out: &mut String, node: &Node, mark: bool) {
    out.push_str(node.key());
    out.push_str(if mark && node.is_dir() { "/\n" } else { "\n" });
    node.nodes().iter().for_each(|node| list(out, node, mark));
}
