//! See `tests/fuzzed/src/bbolt.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::bbolt::run(input));
