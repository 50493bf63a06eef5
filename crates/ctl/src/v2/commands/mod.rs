//! What the commands do.

pub(super) mod auth;
pub(super) mod backup;
pub(super) mod health;
pub(super) mod keys;
pub(super) mod member;
pub(super) mod role;
pub(super) mod user;
pub(super) mod watch;

use super::{
    app::Context,
    error::{Ended, Error, Outcome},
    keys::Response,
    say,
};

/// An error that is told as it is, with exit code 1.
fn plain(error: Error) -> Ended {
    Ended::line(error)
}

/// Fails when there are arguments.
fn no_arguments(context: &Context) -> Outcome {
    match context.args.is_empty() {
        true => Ok(()),
        false => Err(Ended::line("No arguments accepted")),
    }
}

/// Shows an answer about a key.
fn show(context: &Context, response: &Response) -> Outcome {
    let node = response.node();
    let previous = response.prev_node.as_ref().map(|node| node.value());
    let deleted = response.action() == "delete";
    match context.global.text("output") {
        "simple" if deleted => say(format!("PrevNode.Value: {}", previous.unwrap_or_default())),
        "simple" => say(node.value()),
        "extended" => {
            say(format!("Key: {}", node.key()))?;
            say(format!("Created-Index: {}", node.created_index()))?;
            say(format!("Modified-Index: {}", node.modified_index()))?;
            if let Some(value) = previous {
                say(format!("PrevNode.Value: {value}"))?;
            }
            say(format!("TTL: {}", node.ttl()))?;
            say(format!("Index: {}", response.index))?;
            if deleted { Ok(()) } else { say(format!("\n{}", node.value())) }
        }
        "json" => say(response.to_json()),
        other => {
            eprintln!("Unsupported output format: {other}");
            Ok(())
        }
    }
}
