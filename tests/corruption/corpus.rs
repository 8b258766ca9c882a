//! Every input that is kept for the fuzzers, run as an ordinary test.

use std::path::Path;
use std::time::{Duration, Instant};

use stratavec_fuzz_targets::TARGETS;

use crate::heap::peak_of;

const MOST_CORPUS_BYTES: usize = 1_000_000;

/// [C18] Inputs that once broke a promise, and those that a fuzzer begins with.
#[test]
fn every_kept_input_of_every_fuzz_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let folder = std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("inputs of {name}: {error}"));
        let mut inputs: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no inputs");
        let (mut slowest, mut largest) = (Duration::ZERO, 0);
        for path in &inputs {
            let input = std::fs::read(path).unwrap();
            bytes += input.len();
            println!("{}", path.display());
            let start = Instant::now();
            let ((), peak) = peak_of(|| target(&input));
            let time = start.elapsed();
            assert!(time < Duration::from_secs(2), "{} takes {time:?}", path.display());
            assert!(peak < 256 << 20, "{} takes {peak} bytes", path.display());
            (slowest, largest) = (slowest.max(time), largest.max(peak));
        }
        println!("{name}: {} inputs, slowest {slowest:?}, peak heap {} KiB", inputs.len(), largest >> 10);
    }
    assert!(bytes < MOST_CORPUS_BYTES, "{bytes} bytes of inputs");
}

/// The targets of the library are those of the fuzzers.
#[test]
fn each_target_has_its_fuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("stratavec_fuzz_targets::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}
