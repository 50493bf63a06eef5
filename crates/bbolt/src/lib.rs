//! The bbolt file format: a reader that trusts nothing it read and a streaming writer, pure over bytes.
