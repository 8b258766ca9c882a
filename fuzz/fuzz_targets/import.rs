#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| stratavec_fuzz_targets::import(data));
