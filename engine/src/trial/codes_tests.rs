//! Lists of product codes and lists without codes: the same rows, and nearly the same answers, as with bits.

use super::tests::{BASE, DIM, QUERIES, everything, halves, options, random, schema, truth};
use super::*;
use crate::kernel::cluster::Serial;
use crate::kernel::{CpuPath, Kernels};
use crate::metric::{Metric, RowFormat};
use crate::storage::testing::MemDir;

const fn product(m: u32, codebook_size: u32) -> Codes {
    Codes::Product { m, codebook_size }
}

fn build(schema: &Schema, values: &[f32], options: TrialOptions, codes: Codes) -> Trial {
    let trial = Trial::build_coded(Arc::new(MemDir::new(1)), schema, values, options, codes, &Serial).expect("a trial");
    assert!(trial.verify().is_empty());
    trial
}

#[test]
fn all_lists_and_enough_exact_rows_give_what_exact_search_gives() {
    let (small, asked) = (random(1_500, 100, 5), random(20, 100, 6));
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        let schema = schema(100, metric);
        for codes in [Codes::None, product(32, 16), product(64, 256), product(32, 32), product(32, 512)] {
            let trial = build(&schema, &small, options(60), codes);
            let mut seeker = trial.seeker().expect("a seeker");
            for query in asked.chunks_exact(100) {
                let effort = Effort { exact: 1_500, ..everything(&trial) };
                let found = seeker.nearest(query, 10, &effort).expect("rows");
                assert_eq!(found, truth(&schema, &small, query, 10, &[]), "{metric:?} {codes}");
            }
        }
    }
}

/// [LIST-1]
#[test]
fn few_lists_find_most_of_the_nearest_texts() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    let schema = schema(DIM, Metric::Cosine);
    let cases = [
        (Codes::None, 10, 0.94),
        (product(96, 16), 64, 0.93),
        (product(48, 256), 64, 0.93),
        (product(96, 256), 32, 0.94),
        (product(32, 512), 96, 0.9),
    ];
    for (codes, exact, least) in cases {
        let trial = build(&schema, &base, options(200), codes);
        let mut seeker = trial.seeker().expect("a seeker");
        let (mut hits, mut wanted) = (0, 0);
        for query in queries.chunks_exact(DIM).take(100) {
            let truth = truth(&schema, &base, query, 10, &[]);
            let found = seeker.nearest(query, 10, &Effort { exact, ..Effort::new(24) }).expect("rows");
            hits += truth.iter().filter(|row| found.contains(row)).count();
            wanted += truth.len();
        }
        let recall = hits as f64 / wanted as f64;
        assert!(recall >= least, "{codes}: {recall}");
    }
}

/// Merging moves bytes: entries before are entries after.
#[test]
fn merging_moves_entries_and_changes_none_of_their_bits() {
    let values = random(900, 64, 12);
    for codes in [Codes::None, product(16, 16), product(8, 256), product(8, 64), product(7 + 1, 1024), product(2, 16)] {
        let mut trial = build(&schema(64, Metric::L2), &values, TrialOptions { segments: 3, ..options(30) }, codes);
        let before = trial.entries();
        trial.merge().expect("a merge");
        assert_eq!((before.len() > 900, trial.entries()), (true, before.clone()), "{codes}");
        assert!(trial.verify().is_empty());
        let dead: Vec<u64> = (0..900).filter(|row| row % 3 == 0).collect();
        trial.kill(&dead).expect("dead rows");
        trial.merge().expect("a merge");
        let left: Vec<_> = before.into_iter().filter(|entry| entry.1 % 3 != 0).collect();
        assert_eq!(trial.entries(), left, "{codes}");
    }
}

#[test]
fn every_path_finds_the_same_rows() {
    let (values, asked) = (random(2_000, 96, 8), random(10, 96, 9));
    for metric in [Metric::L2, Metric::InnerProduct] {
        for codes in [product(32, 16), product(64, 256), product(16, 128), product(16, 1024)] {
            let trial = build(&schema(96, metric), &values, TrialOptions { segments: 2, ..options(40) }, codes);
            for query in asked.chunks_exact(96) {
                let of = |kernels: &'static Kernels| {
                    let mut seeker = trial.seeker().expect("a seeker").with_kernels(kernels);
                    let found = seeker.nearest(query, 10, &Effort { exact: 24, ..Effort::new(8) }).expect("rows");
                    (found.iter().map(|found| found.1).collect::<Vec<_>>(), seeker.work())
                };
                let plain = of(Kernels::scalar());
                for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
                    assert_eq!(of(kernels), plain, "{codes} on {:?}", kernels.path());
                }
            }
        }
    }
}

#[test]
fn rows_of_any_format_and_dead_rows_are_measured_as_flat_search_measures_them() {
    let (values, asked) = (random(800, 64, 1), random(5, 64, 2));
    for format in [RowFormat::F16, RowFormat::Bf16] {
        let schema = schema(64, Metric::Cosine).rows(format);
        for codes in [Codes::None, product(16, 256)] {
            let mut trial = build(&schema, &values, options(20), codes);
            let mut all = trial.seeker().expect("a seeker");
            let effort = Effort { exact: 800, ..everything(&trial) };
            let first = all.nearest(&asked[..64], 3, &effort).expect("rows").to_vec();
            trial.kill(&[first[0].1]).expect("dead rows");
            let mut rest = trial.seeker().expect("a seeker");
            assert_eq!(rest.nearest(&asked[..64], 2, &effort).expect("rows"), &first[1..], "{codes} {format:?}");
        }
    }
}
