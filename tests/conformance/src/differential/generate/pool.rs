//! Keys, values and numbers to draw from: few enough to meet again, odd enough to hurt.

use api::range::prefix_end;
use bytes::Bytes;
use rand::{Rng, RngCore, rngs::StdRng, seq::IndexedRandom};

use super::Generator;

/// The keys of a run.
pub(super) fn keys(rng: &mut StdRng) -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = Vec::new();
    for directory in ["a", "b", "registry/pods", "registry/nodes"] {
        for i in 0..60 {
            keys.push(format!("{directory}/{i:03}").into());
        }
    }
    // Neighbours and prefixes of each other, ends of the key space, bytes that are no text.
    for odd in ["a", "a/", "a/0", "b/000\0", "\0", "\0\0", "\u{1}", "~", "key with spaces", "ключ"]
    {
        keys.push(Bytes::from_static(odd.as_bytes()));
    }
    for odd in [&b"\xff"[..], b"\xff\xff", b"\xff\xff\xff\x01", b"a\xff", b"\x80bin\x00\x01"] {
        keys.push(Bytes::from_static(odd));
    }
    for length in [200, 511, 512, 2000] {
        let mut key = vec![0; length];
        rng.fill_bytes(&mut key);
        key[0] = b'L';
        keys.push(key.into());
    }
    keys
}

impl Generator {
    /// Any key of the pool; a quarter of them is drawn most of the time.
    pub(super) fn key(&mut self) -> Bytes {
        let among = if self.rng.random_bool(0.7) { self.keys.len() / 4 } else { self.keys.len() };
        // A stride spreads the preferred quarter over the whole pool.
        let index = self.rng.random_range(0..among) * 7 % self.keys.len();
        self.keys[index].clone()
    }

    /// A key and a range end: single keys, prefixes, spans, all, none.
    pub(super) fn key_range(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        match self.rng.random_range(0..20) {
            0..7 => (key, Bytes::new()),
            7..11 => {
                let cut = self.rng.random_range(0..key.len()) + 1;
                let prefix = key.slice(..cut.min(key.len()));
                let end = prefix_end(&prefix);
                (prefix, end)
            }
            11..14 => {
                let other = self.key();
                if key <= other { (key, other) } else { (other, key) }
            }
            14 => (key, self.key()),
            15 => (key, Bytes::from_static(b"\0")),
            16 | 17 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            18 => (Bytes::from_static(b"registry/"), Bytes::from_static(b"registry0")),
            _ => (Bytes::from_static(b"a/"), Bytes::from_static(b"a0")),
        }
    }

    /// A range that does not reach to the last key.
    pub(super) fn bounded_range(&mut self) -> (Bytes, Bytes) {
        let (key, end) = self.key_range();
        if super::open_ended(&end) { (key, Bytes::new()) } else { (key, end) }
    }

    /// A value: often one of a few, so that values are equal.
    pub(super) fn value(&mut self) -> Bytes {
        self.counter += 1;
        match self.rng.random_range(0..20) {
            0 => Bytes::new(),
            1..7 => {
                let few = ["x", "y", "value", "value2", "\0", "zz"];
                Bytes::from_static(few.choose(&mut self.rng).expect("not empty").as_bytes())
            }
            7..9 => {
                let mut bytes = vec![0; self.rng.random_range(1..300)];
                self.rng.fill_bytes(&mut bytes);
                bytes.into()
            }
            9 => vec![b'p'; self.rng.random_range(1000..5000)].into(),
            _ => format!("v{}", self.counter).into(),
        }
    }

    /// A revision to read at: mostly now or a little ago, at times out of reach.
    pub(super) fn read_revision(&mut self) -> i64 {
        let back = self.rng.random_range(0..60);
        match self.rng.random_range(0..30) {
            0..17 => 0,
            17..25 => (self.revision - back).max(1),
            25 => self.compact_revision(),
            26 => self.compact_revision() - 1,
            27 => self.revision,
            28 => self.revision + self.rng.random_range(1..3),
            _ => self.extreme(),
        }
    }

    /// A revision to compare with or to filter by; 0 is none.
    pub(super) fn near_revision(&mut self) -> i64 {
        let back = self.rng.random_range(0..800);
        match self.rng.random_range(0..20) {
            0 => self.extreme(),
            1 => 0,
            2 => self.revision + 1,
            _ => (self.revision - back).max(1),
        }
    }

    /// The numbers that programs forget.
    pub(super) fn extreme(&mut self) -> i64 {
        let extremes = [-1, -2, i64::MIN, i64::MAX, i64::MAX - 1, i64::MIN + 1, 1 << 32];
        *extremes.choose(&mut self.rng).expect("not empty")
    }

    /// A lease that was granted, or 0, or now and then one that was not.
    pub(super) fn some_lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.rng.random_bool(0.02) {
            return if self.rng.random_bool(0.9) { 0 } else { 987_654_321 };
        }
        let index = self.rng.random_range(0..self.leases.len());
        *self.leases.iter().nth(index).expect("below the length")
    }

    /// A number that an enumeration of `named` values may or may not have.
    pub(super) fn any_enum(&mut self, named: i32) -> i32 {
        if self.rng.random_bool(0.03) {
            *[-1, 7, 100, i32::MAX, i32::MIN].choose(&mut self.rng).expect("not empty")
        } else {
            self.rng.random_range(0..named)
        }
    }
}
