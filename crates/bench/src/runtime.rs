//! The runtime under everything: one thread, so that the generator never takes more than one core.

use anyhow::{Context as _, Result};
use std::future::Future;
use tokio::task::LocalSet;

/// Runs `future` on a new single-threaded runtime, with local tasks allowed.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    Ok(LocalSet::new().block_on(&runtime, future))
}
