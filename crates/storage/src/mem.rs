//! The backend's twin in memory, for tests and simulation: the same order, the same atomicity.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::{Backend, Bucket, Damage, Error, Op, ReadTx, Size, Visit, damage::DamageLog};

/// The buckets, one map each; copied on write when a view still holds them.
type Maps = Vec<Arc<BTreeMap<Bytes, Bytes>>>;

/// A backend that lives as long as the value. Clones share the data, as two openings of one file
/// would.
#[derive(Clone)]
pub struct MemBackend {
    maps: Arc<RwLock<Maps>>,
    /// Rows that every read finds damaged.
    broken: Arc<RwLock<BTreeSet<(Bucket, Bytes)>>>,
    damage: Arc<DamageLog>,
}

impl MemBackend {
    /// An empty backend.
    pub fn new() -> MemBackend {
        let maps = Bucket::ALL.iter().map(|_| Arc::default()).collect();
        MemBackend {
            maps: Arc::new(RwLock::new(maps)),
            broken: Arc::default(),
            damage: Arc::default(),
        }
    }

    /// An independent copy of everything committed: what a crash right now would leave.
    pub fn fork(&self) -> MemBackend {
        MemBackend {
            maps: Arc::new(RwLock::new(self.maps.read().clone())),
            broken: Arc::new(RwLock::new(self.broken.read().clone())),
            damage: Arc::default(),
        }
    }

    /// Damages a row: reads fail as they would if its bits had changed on a disk, until the row is
    /// written again. Whether there is such a row.
    pub fn damage_row(&self, bucket: Bucket, key: &[u8]) -> bool {
        let exists = self.maps.read()[bucket as usize].contains_key(key);
        if exists {
            self.broken.write().insert((bucket, Bytes::copy_from_slice(key)));
        }
        exists
    }
}

impl Default for MemBackend {
    fn default() -> MemBackend {
        MemBackend::new()
    }
}

impl Backend for MemBackend {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
        let maps = self.maps.read().clone();
        let broken = self.broken.read().clone();
        Ok(Box::new(MemRead { maps, broken, damage: self.damage.clone() }))
    }

    fn commit(&self, ops: &[Op]) -> Result<(), Error> {
        ops.iter().try_for_each(Op::check_key)?;
        let mut maps = self.maps.write();
        let mut broken = self.broken.write();
        for op in ops {
            apply(&mut maps, op);
            if !broken.is_empty() {
                broken.remove(&(op.bucket(), op.key().clone()));
            }
        }
        Ok(())
    }

    fn replace(&self, ops: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
        let mut maps: Maps = Bucket::ALL.iter().map(|_| Arc::default()).collect();
        for op in ops {
            let op = op?;
            op.check_key()?;
            apply(&mut maps, &op);
        }
        *self.maps.write() = maps;
        self.broken.write().clear();
        self.damage.forget();
        Ok(())
    }

    fn take_damage(&self) -> Vec<Damage> {
        self.damage.take()
    }

    fn size(&self) -> Result<Size, Error> {
        let maps = self.maps.read();
        let entries = maps.iter().flat_map(|map| map.iter());
        let in_use = entries.map(|(key, value)| (key.len() + value.len()) as u64).sum();
        Ok(Size { allocated: in_use, in_use })
    }
}

fn apply(maps: &mut Maps, op: &Op) {
    let map = Arc::make_mut(&mut maps[op.bucket() as usize]);
    match op {
        Op::Put { key, value, .. } => map.insert(key.clone(), value.clone()),
        Op::Delete { key, .. } => map.remove(key),
    };
}

/// A view: the maps as they were.
struct MemRead {
    maps: Maps,
    broken: BTreeSet<(Bucket, Bytes)>,
    damage: Arc<DamageLog>,
}

impl MemRead {
    fn check(&self, bucket: Bucket, key: &[u8]) -> Result<(), Error> {
        let is_broken =
            !self.broken.is_empty() && self.broken.contains(&(bucket, Bytes::copy_from_slice(key)));
        if is_broken { Err(self.damage.add(bucket, key)) } else { Ok(()) }
    }
}

impl ReadTx for MemRead {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.check(bucket, key)?;
        Ok(self.maps[bucket as usize].get(key).map(|value| &value[..]))
    }

    fn scan(&self, bucket: Bucket, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let range = (Bound::Included(from), Bound::Unbounded);
        for (key, value) in self.maps[bucket as usize].range::<[u8], _>(range) {
            self.check(bucket, key)?;
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
