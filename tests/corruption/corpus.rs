//! Every input that is kept for the fuzzers, run as an ordinary test.

use std::path::Path;
use std::time::{Duration, Instant};

use stratavec_fuzz_targets::TARGETS;

use crate::draw::Draw;
use crate::heap::peak_of;
use crate::subject::on_both_cores;

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
            assert!(time < Duration::from_secs(20), "{} takes {time:?}", path.display());
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

/// Changes an input as fuzzers do: bytes flipped, set, inserted, taken out, doubled, or joined with another's.
fn mutate(input: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    for _ in 0..1 + draw.below(5) {
        let at = draw.below(input.len() + 1);
        let count = (1 + draw.below(16)).min(input.len() - at.min(input.len()));
        match draw.below(8) {
            0 | 1 if at < input.len() => input[at] ^= 1 << draw.below(8),
            2 if at < input.len() => input[at] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][draw.below(6)],
            3 if at < input.len() => input[at] = draw.next() as u8,
            4 => drop(input.drain(at..at + count)),
            5 => input.insert(at, draw.next() as u8),
            6 => {
                let part = input[at..at + count].to_vec();
                let to = draw.below(input.len() + 1);
                input.splice(to..to, part);
            }
            _ => {
                let from = draw.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
        }
    }
    input.truncate(20_000);
}

/// A fuzzer without a special compiler, for the long runs: inputs that were kept, changed at random. `STRATAVEC_SECONDS` for each
/// target, 60 if not said; `STRATAVEC_SEED` begins elsewhere; `STRATAVEC_TARGET` names one.
#[test]
#[ignore = "a long run: a minute for each target"]
fn changed_inputs_of_every_fuzz_target_pass() {
    let said = |name: &str| std::env::var(name).ok();
    let seconds = said("STRATAVEC_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed: u64 = said("STRATAVEC_SEED").and_then(|text| text.parse().ok()).unwrap_or(1);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS.iter().filter(|(name, _)| said("STRATAVEC_TARGET").is_none_or(|only| only == *name)) {
        let folder = std::fs::read_dir(corpus.join(name)).unwrap();
        let inputs: Vec<Vec<u8>> = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        let start = Instant::now();
        let runs = on_both_cores(usize::MAX / 2, |claimed| {
            let mut runs = 0;
            let mut pool = inputs.clone();
            for case in claimed {
                if start.elapsed() >= Duration::from_secs(seconds) {
                    break;
                }
                let mut draw = Draw(seed.wrapping_mul(1 << 40) + case as u64);
                let at = draw.below(pool.len());
                let mut input = pool[at].clone();
                let other = draw.below(pool.len());
                mutate(&mut input, &pool[other], &mut draw);
                if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
                    let path = std::env::temp_dir().join(format!("stratavec-{name}-{seed}-{case}"));
                    std::fs::write(&path, &input).unwrap();
                    println!("{name}: see {}", path.display());
                    std::panic::resume_unwind(panic);
                }
                // Changes pile up in some of the pool.
                if draw.below(8) == 0 {
                    let at = draw.below(pool.len());
                    pool[at] = if draw.below(4) == 0 { inputs[at].clone() } else { input };
                }
                runs += 1;
            }
            runs
        });
        println!("{name}: {} inputs in {seconds} s", runs.iter().sum::<usize>());
    }
}
