//! Keys and values: of given sizes, drawn from a seed, cheap to make.

use anyhow::{Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};

/// Values are windows into a block longer than them by this much, so neighbours differ.
const VALUE_SLACK_BYTES: usize = 4096;

/// The order in which keys are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// 0, 1, 2, ... and round again.
    Sequential,
    /// Uniform, from the seed.
    Random,
}

/// The keys of a load: `prefix`, then the key's number in decimal, zeros first. Numbers and keys
/// have the same order.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    prefix: Bytes,
    key_bytes: usize,
    keys: u64,
}

impl KeySpace {
    /// `keys` keys of `key_bytes` bytes each, the prefix included.
    pub(crate) fn new(prefix: &str, key_bytes: usize, keys: u64) -> Result<Self> {
        ensure!(keys > 0, "the key space needs at least one key");
        // One number past the last is needed as the end of a range.
        let digits = keys.to_string().len();
        ensure!(
            prefix.len() + digits <= key_bytes,
            "keys of {key_bytes} bytes cannot hold prefix {prefix:?} and {digits} digits"
        );
        Ok(Self { prefix: Bytes::copy_from_slice(prefix.as_bytes()), key_bytes, keys })
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> u64 {
        self.keys
    }

    /// Key `number`; `len()` gives the end of a range over all keys.
    pub(crate) fn key(&self, number: u64) -> Bytes {
        assert!(number <= self.keys, "key {number} is outside of {} keys", self.keys);
        let mut key = BytesMut::zeroed(self.key_bytes);
        key[..self.prefix.len()].copy_from_slice(&self.prefix);
        let mut rest = number;
        for digit in key[self.prefix.len()..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        key.freeze()
    }
}

/// Draws key numbers.
#[derive(Clone, Debug)]
pub(crate) struct KeyPicker {
    order: Order,
    keys: u64,
    next: u64,
    step: u64,
    rng: SmallRng,
}

impl KeyPicker {
    /// Numbers below `keys` in `order`.
    pub(crate) fn new(order: Order, keys: u64, seed: u64) -> Self {
        assert!(keys > 0, "a picker needs a key to pick");
        Self { order, keys, next: 0, step: 1, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The same draw, of every `step`-th number.
    pub(crate) fn spaced(self, step: u64) -> Self {
        Self { step, ..self }
    }

    /// The next number.
    pub(crate) fn pick(&mut self) -> u64 {
        let number = match self.order {
            Order::Random => self.rng.random_range(0..self.keys),
            Order::Sequential => {
                let number = self.next;
                self.next = (number + 1) % self.keys;
                number
            }
        };
        number * self.step
    }
}

/// Values that no compression makes smaller.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    block: Bytes,
    len: usize,
    next: usize,
}

impl Values {
    /// Values of `len` bytes from `seed`.
    pub(crate) fn new(len: usize, seed: u64) -> Self {
        let mut block = vec![0; len + VALUE_SLACK_BYTES];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { block: block.into(), len, next: 0 }
    }

    /// The next value; no bytes are copied.
    pub(crate) fn next(&mut self) -> Bytes {
        let at = self.next;
        self.next = (at + 1) % VALUE_SLACK_BYTES;
        self.block.slice(at..at + self.len)
    }

    /// The next value with its first 8 bytes replaced by `stamp`.
    pub(crate) fn stamped(&mut self, stamp: u64) -> Bytes {
        assert!(self.len >= STAMP_BYTES, "a stamped value has room for its stamp");
        let mut value = BytesMut::with_capacity(self.len);
        value.put_u64(stamp);
        value.extend_from_slice(&self.next()[STAMP_BYTES..]);
        value.freeze()
    }
}

/// Bytes of a value that its stamp takes.
pub(crate) const STAMP_BYTES: usize = 8;

/// Reads the stamp of a value made by [`Values::stamped`].
pub(crate) fn stamp_of(value: &[u8]) -> Option<u64> {
    value.first_chunk::<STAMP_BYTES>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_size_and_the_order_of_their_numbers() {
        let space = KeySpace::new("p/", 8, 1000).expect("fits");
        assert_eq!(space.key(0), "p/000000");
        assert_eq!(space.key(999), "p/000999");
        assert!((0..1000).all(|i| space.key(i) < space.key(i + 1)));
        assert!((0..=1000).all(|i| space.key(i).len() == 8));
    }

    #[test]
    fn a_key_size_too_small_is_refused() {
        assert!(KeySpace::new("", 3, 999).is_ok());
        assert!(KeySpace::new("", 3, 1000).is_err());
        assert!(KeySpace::new("", 8, 0).is_err());
        assert!(KeySpace::new("prefix/", 8, 10).is_err());
    }

    #[test]
    fn picks_repeat_with_the_seed() {
        let draw = |order, seed| {
            let mut picker = KeyPicker::new(order, 5, seed);
            (0..50).map(|_| picker.pick()).collect::<Vec<_>>()
        };
        assert_eq!(draw(Order::Sequential, 1)[..7], [0, 1, 2, 3, 4, 0, 1]);
        assert_eq!(draw(Order::Random, 1), draw(Order::Random, 1));
        assert_ne!(draw(Order::Random, 1), draw(Order::Random, 2));
        assert!((0..5).all(|key| draw(Order::Random, 3).contains(&key)));
    }

    #[test]
    fn values_differ_and_stamps_are_read_back() {
        let mut values = Values::new(16, 7);
        assert_ne!(values.next(), values.next());
        let value = values.stamped(0x0102_0304_0506_0708);
        assert_eq!(value.len(), 16);
        assert_eq!(stamp_of(&value), Some(0x0102_0304_0506_0708));
        assert_eq!(stamp_of(&value[..7]), None);
        assert_eq!(Values::new(0, 1).next().len(), 0);
    }
}
