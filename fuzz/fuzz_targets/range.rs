//! See `tests/fuzzed/src/range.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::range::run(input));
