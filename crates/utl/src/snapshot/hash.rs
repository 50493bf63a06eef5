//! The SHA-256 behind a snapshot that came from a member.

use std::path::Path;

use bbolt::Source;
use ring::digest::{self, Context, SHA256, SHA256_OUTPUT_LEN};
use storage::engine::DbFile;

use crate::{Failure, exit::io, progress::Progress};

/// Files are read in pieces of this.
const BUFFER_BYTES: usize = 1 << 20;

/// Pages are multiples of a sector; what is left over is the hash.
const SECTOR_BYTES: u64 = 512;

/// The database within a snapshot file, its hash checked unless that is not wanted.
pub(crate) fn verified(path: &Path, skip: bool) -> Result<DbFile, Failure> {
    let file = DbFile::open(path).map_err(|error| match error {
        storage::Error::Io { source, .. } => io("open", path, &source),
        error => Failure::error(error),
    })?;
    let len = file.len();
    if len < SHA256_OUTPUT_LEN as u64 {
        return Err(Failure::error(format!("seek {}: invalid argument", path.display())));
    }
    let has_hash = len % SECTOR_BYTES == SHA256_OUTPUT_LEN as u64;
    if !has_hash {
        return match skip {
            true => Ok(file),
            false => Err(Failure::error("snapshot missing hash but --skip-hash-check=false")),
        };
    }
    let database = len - SHA256_OUTPUT_LEN as u64;
    if !skip {
        let read = |error| io("read", path, &error);
        let mut expected = [0; SHA256_OUTPUT_LEN];
        file.read_at(database, &mut expected).map_err(read)?;
        let actual = hash(&file, database).map_err(read)?;
        if actual.as_ref() != expected {
            let (expected, actual) = (go_bytes(&expected), go_bytes(actual.as_ref()));
            return Err(Failure::error(format!("expected sha256 {expected}, got {actual}")));
        }
    }
    Ok(file.without_last(SHA256_OUTPUT_LEN as u64))
}

fn hash(file: &DbFile, len: u64) -> std::io::Result<digest::Digest> {
    let mut progress = Progress::new("checking the hash", len);
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < len {
        let some = (len - at).min(BUFFER_BYTES as u64) as usize;
        file.read_at(at, &mut buffer[..some])?;
        context.update(&buffer[..some]);
        at += some as u64;
        progress.add(some as u64);
    }
    Ok(context.finish())
}

/// `[1 2 3]`.
fn go_bytes(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(" "))
}
