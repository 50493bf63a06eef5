//! See `tests/fuzzed/src/peer_codec.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::peer_codec::run(input));
