//! The reader of bbolt files, and the import of what it reads: it ends without a panic, and what
//! the check finds nothing wrong with can be read to its end.
//!
//! The first byte of the input says what is mended: bit 0, magic, version and checksum of the meta pages
//! (no mutation finds a checksum); bit 1, the ids of pages.

use bbolt::Db;

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    let mut file = rest.to_vec();
    let page = if how & 4 == 0 { 1024 } else { 4096 };
    if how & 2 != 0 {
        for (id, page) in file.chunks_exact_mut(page).enumerate() {
            page[..8].copy_from_slice(&(id as u64).to_le_bytes());
        }
    }
    if how & 1 != 0 {
        let pages = (file.len() / page) as u64;
        for at in [16, page + 16] {
            if let Some(meta) = file.get_mut(at..at + 64) {
                meta[..4].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
                meta[4..8].copy_from_slice(&2_u32.to_le_bytes());
                meta[8..12].copy_from_slice(&(page as u32).to_le_bytes());
                meta[40..48].copy_from_slice(&pages.to_le_bytes());
                let sum = fnv1a(&meta[..56]);
                meta[56..].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    let Ok(db) = Db::open(&file) else { return };
    let mut faults = 0_u64;
    let checked = db.check(&mut |_| faults += 1);
    let whole = read_all(&db);
    if checked.is_ok() && faults == 0 {
        assert!(whole, "a file without faults is read to its end");
    }
    for op in storage::image::import(&db) {
        if op.is_err() {
            break;
        }
    }
}

/// Whether every entry of every bucket of the root could be read.
fn read_all(db: &Db<&Vec<u8>>) -> bool {
    let mut names = db.root().cursor();
    loop {
        let name = match names.next() {
            Ok(Some(name)) => name,
            Ok(None) => return true,
            Err(_) => return false,
        };
        if !name.is_bucket {
            continue;
        }
        let Ok(Some(bucket)) = db.bucket(name.key) else { return false };
        let mut cursor = bucket.cursor();
        let mut last = Vec::new();
        loop {
            match cursor.next() {
                Ok(Some(entry)) => {
                    assert!(last < entry.key.to_vec(), "keys ascend");
                    last = entry.key.to_vec();
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        // What was seen is found.
        if !last.is_empty() {
            let mut again = bucket.cursor();
            let _ = again.seek(&last);
            let _ = again.next();
        }
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
