//! See `tests/fuzzed/src/wal.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::wal::run(input));
