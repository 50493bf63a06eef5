//! All content exchanged for other, through the generation that is not in use.
//!
//! It is filled in transactions of bounded size; one more makes it the store and empties the other.
//! A single transaction would hold every changed page in memory, large values even past the
//! engine's own limit. A crash before the last one leaves a generation that the next start
//! empties.

use crate::{Error, Op};

use super::{ACTIVE, LmdbBackend, Plain, engine};

/// A transaction is committed when it holds so many bytes of keys and values.
const BATCH_BYTES: usize = 1 << 20;
/// Or so many operations.
const BATCH_OPS: usize = 1 << 17;

/// See [`crate::Backend::replace`].
pub(super) fn replace(
    backend: &LmdbBackend,
    ops: &mut dyn Iterator<Item = Result<Op, Error>>,
) -> Result<(), Error> {
    let _one_writer = backend.writer.lock();
    let spare = backend.spare()?;
    backend.clear(spare)?;
    let filled = backend.fill(spare, ops);
    if filled.is_err() {
        // What is left of it takes room; the error of the content says more than one of this.
        let _ = backend.clear(spare);
        return filled;
    }
    backend.write(|txn| {
        backend.state.put(txn, ACTIVE, &[spare as u8])?;
        Plain::forget(backend.state, txn, 1 - spare)?;
        backend.databases(1 - spare).try_for_each(|bucket| bucket.clear(txn))
    })?;
    backend.damage.forget();
    Ok(())
}

impl LmdbBackend {
    /// Empties what an unfinished [`replace`] of an earlier process left.
    pub(super) fn clear_unfinished(&self) -> Result<(), Error> {
        let spare = self.spare()?;
        let is_left = {
            let _shared = self.gate.read();
            let txn = self.env.read_txn().map_err(engine)?;
            let mut left = false;
            for bucket in self.databases(spare) {
                left |= !bucket.is_empty(&txn).map_err(engine)?;
            }
            left
        };
        if is_left { self.clear(spare) } else { Ok(()) }
    }

    /// The generation that is not the store.
    fn spare(&self) -> Result<usize, Error> {
        let _shared = self.gate.read();
        let txn = self.env.read_txn().map_err(engine)?;
        Ok(1 - self.active(&txn).map_err(engine)?)
    }

    fn clear(&self, generation: usize) -> Result<(), Error> {
        self.write(|txn| {
            Plain::forget(self.state, txn, generation)?;
            self.databases(generation).try_for_each(|bucket| bucket.clear(txn))
        })
    }

    fn fill(
        &self,
        generation: usize,
        ops: &mut dyn Iterator<Item = Result<Op, Error>>,
    ) -> Result<(), Error> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut ended = false;
        while !ended {
            match ops.next().transpose()? {
                Some(op) => {
                    op.check_key()?;
                    bytes += op.bytes();
                    batch.push(op);
                }
                None => ended = true,
            }
            if ended || bytes >= BATCH_BYTES || batch.len() >= BATCH_OPS {
                self.write(|txn| self.apply(txn, generation, &batch))?;
                batch.clear();
                bytes = 0;
            }
        }
        Ok(())
    }
}
