//! Opening: the index is rebuilt from the revision bucket, which holds no values.

use std::{ops::ControlFlow, sync::Arc};

use api::ids::LeaseId;
use parking_lot::{Mutex, RwLock};
use storage::{
    Backend, Bucket, Error,
    schema::{key, meta, revision},
};

use super::{Opened, Store, compact};
use crate::{
    index::Loader,
    recent::{Recent, RecentLimits},
};

impl Store {
    /// Opens the store that `backend` holds.
    pub fn open(backend: Arc<dyn Backend>) -> Result<Opened, Error> {
        Store::open_with(backend, RecentLimits::default())
    }

    /// Opens the store, with a limit on what is held in memory of recent revisions.
    pub fn open_with(backend: Arc<dyn Backend>, recent: RecentLimits) -> Result<Opened, Error> {
        let tx = backend.read()?;
        let mut loader = Loader::default();
        let mut newest = 1;
        let mut intact = true;
        tx.scan_revisions(Bucket::Revision, &mut |stored_key, value| match (
            key::decode(stored_key),
            revision::decode(value),
        ) {
            (Some((revision, deleted)), Some(record)) => {
                newest = newest.max(revision.main);
                loader.add(revision, deleted, &record);
                ControlFlow::Continue(())
            }
            _ => {
                intact = false;
                ControlFlow::Break(())
            }
        })?;
        if !intact {
            let what = "neither a revision nor a record of one";
            return Err(Error::Corrupt { bucket: Bucket::Revision.name(), what });
        }
        let scheduled = meta::read_scheduled_compact(&*tx)?.unwrap_or(-1);
        let finished = meta::read_finished_compact(&*tx)?.unwrap_or(-1);
        drop(tx);

        let (index, attached) = loader.finish();
        let compacted = scheduled.max(finished);
        let falls = mutants::is_on(mutants::Mutant::RevisionFalls);
        let current = if falls { newest } else { newest.max(compacted) };
        let unfinished_compaction = (scheduled > finished).then_some(scheduled);
        let store = Store {
            backend,
            index: RwLock::new(index),
            recent: RwLock::new(Recent::new(current, recent)),
            current: current.into(),
            compacted: compacted.into(),
            compaction: compact::State::resume(unfinished_compaction),
            hash_compactions: true.into(),
            hashes: Mutex::default(),
            writer: Mutex::new(()),
            generations: Default::default(),
        };
        let attachments = attached.into_iter().map(|(lease, key)| (LeaseId(lease), key)).collect();
        Ok(Opened { store, attachments, unfinished_compaction })
    }
}
