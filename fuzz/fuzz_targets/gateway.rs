//! See `tests/fuzzed/src/gateway.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::gateway::run(input));
