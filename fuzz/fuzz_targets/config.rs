//! See `tests/fuzzed/src/config.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::config::run(input));
