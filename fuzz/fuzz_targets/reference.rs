//! `reference` of tests/fuzz, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::reference(input));
