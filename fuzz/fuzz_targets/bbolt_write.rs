//! See `tests/fuzzed/src/bbolt_write.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::bbolt_write::run(input));
