//! Opening a file: which meta page counts, and is the file as long as it says.

use crate::{
    Bucket, Error, META_BYTES, Meta, NO_FREELIST, Source, bucket::Root, error::corrupt,
    page::HEADER_BYTES,
};

/// bbolt's own page size on most systems, assumed when no meta page tells it.
const PAGE_SIZE_USUAL: u64 = 4096;
/// Page sizes that are taken: bbolt looks for its second meta page in steps from 1 KiB to 16 MiB.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1 << 10..=1 << 24;

/// A file that is open for reading. Nothing of it is kept in memory but the meta record.
#[derive(Debug)]
pub struct Db<S> {
    pub(crate) source: S,
    pub(crate) meta: Meta,
}

impl<S: Source> Db<S> {
    /// Reads the meta pages. A file that is shorter than its meta page says is refused.
    pub fn open(source: S) -> Result<Db<S>, Error> {
        let page_size = page_size(&source)?;
        if source.len() < 2 * page_size {
            return Err(Error::TooSmall(source.len()));
        }
        let meta = match (read_meta(&source, 0), read_meta(&source, page_size)) {
            (Ok(first), Ok(second)) if second.txid > first.txid => second,
            (Ok(first), _) => first,
            (Err(_), Ok(second)) => second,
            (Err(error), Err(_)) => return Err(error),
        };
        validate(&meta, source.len())?;
        Ok(Db { source, meta })
    }

    /// The meta record that counts.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of all pages: what a copy of the file has.
    pub fn size(&self) -> u64 {
        self.meta.high_water * u64::from(self.meta.page_size)
    }

    /// The bucket of buckets. Its entries are the names of the buckets.
    pub fn root(&self) -> Bucket<'_, S> {
        Bucket { db: self, root: Root::Page(self.meta.root), sequence: self.meta.sequence }
    }

    /// The bucket of that name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, S>>, Error> {
        self.root().bucket(name)
    }
}

/// The page size, from the first meta page or else from the second, wherever it is.
fn page_size<S: Source>(source: &S) -> Result<u64, Error> {
    if source.len() < PAGE_SIZE_USUAL {
        return Err(Error::Invalid);
    }
    if let Ok(meta) = read_meta(source, 0) {
        return usable(&meta);
    }
    let second = (10..=24).map(|shift| 1_u64 << shift);
    for at in second.take_while(|at| at + 1024 < source.len()) {
        if let Ok(meta) = read_meta(source, at) {
            return usable(&meta);
        }
    }
    Ok(PAGE_SIZE_USUAL)
}

fn usable(meta: &Meta) -> Result<u64, Error> {
    let size = meta.page_size;
    if !PAGE_SIZES.contains(&size) || !size.is_power_of_two() {
        return Err(corrupt(0, "page size is not a power of two between 1 KiB and 16 MiB"));
    }
    Ok(u64::from(size))
}

fn read_meta<S: Source>(source: &S, page_at: u64) -> Result<Meta, Error> {
    let mut bytes = [0; META_BYTES];
    source.read_at(page_at + HEADER_BYTES as u64, &mut bytes)?;
    Meta::decode(&bytes)
}

fn validate(meta: &Meta, len: u64) -> Result<(), Error> {
    let page = meta.txid % 2;
    let page_size = usable(meta)?;
    let expected = meta.high_water.checked_mul(page_size);
    let expected = expected.ok_or_else(|| corrupt(page, "high-water mark is out of range"))?;
    if expected > len {
        return Err(Error::Truncated { expected, actual: len });
    }
    if meta.root < 2 || meta.root >= meta.high_water {
        return Err(corrupt(page, "root bucket is out of range"));
    }
    let freelist = meta.freelist;
    if freelist != NO_FREELIST && (freelist < 2 || freelist >= meta.high_water) {
        return Err(corrupt(page, "freelist is out of range"));
    }
    Ok(())
}
