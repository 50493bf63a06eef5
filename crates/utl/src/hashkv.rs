//! `etcdutl hashkv`: the hash of a file's history, as `HashKV` of a member that has it.

use std::{path::Path, sync::Arc};

use mvcc::{HashKv, ReadError, Store};
use storage::{
    Backend,
    engine::{LmdbBackend, LmdbOptions, Share},
};

use crate::{
    Failure,
    file_store::FileStore,
    open::{self, Timeout},
    print::Column,
};

/// Hashes up to a revision, 0 for the newest. `path` is a bbolt file, or the directory of a store of
/// oxetcd. Neither is changed.
pub(crate) fn hash(path: &Path, revision: i64, timeout: Timeout) -> Result<HashKv, Failure> {
    open::exists(path)?;
    let backend: Arc<dyn Backend> = if path.is_dir() {
        Arc::new(LmdbBackend::open(path, LmdbOptions::default()).map_err(Failure::error)?)
    } else {
        let db = open::open_db(path, Share::Nobody, timeout)?;
        Arc::new(FileStore::new(db).map_err(Failure::error)?)
    };
    let opened = Store::open(backend).map_err(Failure::error)?;
    opened.store.hash_kv(revision).map_err(|error| match error {
        ReadError::Compacted => Failure::error("mvcc: required revision has been compacted"),
        ReadError::Future => Failure::error("mvcc: required revision is a future revision"),
        ReadError::Storage(error) => Failure::error(error),
    })
}

/// What is shown of a hash.
pub(crate) fn columns(hash: &HashKv) -> [Column; 3] {
    [
        Column {
            heading: "hash",
            field: "Hash",
            json: "hash",
            text: hash.hash.to_string(),
            value: hash.hash.into(),
        },
        Column {
            heading: "hash revision",
            field: "Hash revision",
            json: "hashRevision",
            text: hash.revision.to_string(),
            value: hash.revision.into(),
        },
        Column {
            heading: "compact revision",
            field: "Compact revision",
            json: "compactRevision",
            text: hash.compact_revision.to_string(),
            value: hash.compact_revision.into(),
        },
    ]
}
