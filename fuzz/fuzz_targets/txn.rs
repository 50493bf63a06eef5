//! See `tests/fuzzed/src/txn.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::txn::run(input));
