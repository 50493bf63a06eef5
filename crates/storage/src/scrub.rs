//! Reading a whole store for its checksums, a piece at a time.

use std::ops::ControlFlow;

use crate::{Backend, Bucket, Error};

/// How far a walk over all rows has come. It begins at [`Position::default`], may be kept as bytes,
/// and goes on in a store that has changed meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    bucket: usize,
    key: Vec<u8>,
}

impl Position {
    /// The position as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.bucket as u8];
        bytes.extend_from_slice(&self.key);
        bytes
    }

    /// The position of such bytes; of others the beginning.
    pub fn from_bytes(bytes: &[u8]) -> Position {
        match bytes.split_first() {
            Some((bucket, key)) if usize::from(*bucket) < Bucket::ALL.len() => {
                Position { bucket: usize::from(*bucket), key: key.to_vec() }
            }
            _ => Position::default(),
        }
    }
}

/// A piece of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
    /// Rows that were read and found right.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were not.
    pub damaged: u64,
}

/// Reads rows from `from` on, about `bytes_max` bytes of them, in one view. The backend notes each
/// row that is damaged; the walk goes on behind it.
pub fn step(backend: &dyn Backend, from: &Position, bytes_max: u64) -> Result<Step, Error> {
    let tx = backend.read()?;
    let mut at = from.clone();
    let mut step = Step { next: None, rows: 0, bytes: 0, damaged: 0 };
    while let Some(&bucket) = Bucket::ALL.get(at.bucket) {
        let mut last = None;
        let scanned = tx.scan(bucket, &at.key, &mut |key, value| {
            step.rows += 1;
            step.bytes += (key.len() + value.len()) as u64;
            if step.bytes < bytes_max {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        });
        let behind = match scanned {
            Err(Error::Damaged(damage)) if !damage.key.is_empty() => {
                step.damaged += 1;
                Some(damage.key)
            }
            Err(error) => return Err(error),
            Ok(()) => last,
        };
        match behind {
            None => at = Position { bucket: at.bucket + 1, key: Vec::new() },
            Some(mut key) => {
                // The smallest key behind it.
                key.push(0);
                at.key = key;
                if step.bytes >= bytes_max {
                    tx.forget();
                    step.next = Some(at);
                    return Ok(step);
                }
            }
        }
    }
    tx.forget();
    Ok(step)
}
