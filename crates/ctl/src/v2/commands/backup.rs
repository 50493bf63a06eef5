//! `backup`: the data directory of a member that does not run, copied for a new cluster.

use std::path::PathBuf;

use crate::v2::{
    app::Context,
    error::{Ended, Outcome},
};

/// Copies.
pub(in crate::v2) fn backup(context: &Context) -> Outcome {
    let path = |name: &str| PathBuf::from(context.flags.text(name));
    let own = |name: &str| Some(path(name)).filter(|path| !path.as_os_str().is_empty());
    let config = utl::backup::Backup {
        data_dir: path("data-dir"),
        wal_dir: own("wal-dir"),
        backup_dir: path("backup-dir"),
        backup_wal_dir: own("backup-wal-dir"),
        with_v3: context.flags.bool("with-v3"),
    };
    utl::backup::backup(&config, &mut |line| eprintln!("{line}")).map_err(Ended::line)
}
