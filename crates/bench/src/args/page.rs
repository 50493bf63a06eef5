//! Options of what is made from finished runs.

use clap::Args;
use std::path::PathBuf;

/// Options of `plot`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlotArgs {
    /// JSON files that a load or `compare` wrote.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Folder for the plots.
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Options of `page`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PageArgs {
    /// JSON files that `compare` wrote; their workloads are put on one page.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The page. What stands outside of its generated part is kept.
    #[arg(long, default_value = "docs/performance.md")]
    pub(crate) out: PathBuf,
}
