//! The stages together: every path against the scalar one, and estimates against true distances.

use super::extra::{ExtraList, append_record, record_bytes, take_factors};
use super::query::QueryTables;
use super::residual::{Coded, Coding};
use super::scan::{ScanTerms, SignList, Survivors};
use super::sign_block::append_blocks;
use crate::kernel::{CpuPath, Kernels, Op, SplitMix64};

pub(in crate::kernel) fn every_path() -> impl Iterator<Item = &'static Kernels> {
    CpuPath::ALL.into_iter().filter_map(Kernels::for_path)
}

/// One of two independent Gaussian numbers made of two uniform ones (Box and Muller).
fn gaussian(generator: &mut SplitMix64) -> f32 {
    let mut uniform = || ((generator.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), uniform() * std::f64::consts::TAU);
    (radius * angle.cos()) as f32
}

pub(super) fn vectors(count: usize, padded: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut generator = SplitMix64::new(seed);
    (0..count).map(|_| (0..padded).map(|_| gaussian(&mut generator)).collect()).collect()
}

struct List {
    padded: usize,
    coding: Coding,
    count: usize,
    codes: Vec<u8>,
    factors: Vec<u8>,
    records: Vec<u8>,
    entries: Vec<Coded>,
}

impl List {
    fn new(kernels: &Kernels, coding: Coding, members: &[Vec<f32>], centroid: &[f32]) -> Self {
        let entries: Vec<Coded> = members
            .iter()
            .map(|o| {
                let mut coded = Coded::default();
                kernels.encode(&coding, o, centroid, 0.25, &mut coded);
                coded
            })
            .collect();
        let (mut codes, mut factors, mut records) = (Vec::new(), Vec::new(), Vec::new());
        append_blocks(centroid.len(), &entries, &mut codes, &mut factors);
        entries.iter().for_each(|coded| append_record(coded, coding.extra_bits(), &mut records));
        List { padded: centroid.len(), coding, count: members.len(), codes, factors, records, entries }
    }

    fn signs(&self) -> SignList<'_> {
        SignList { codes: &self.codes, factors: &self.factors, count: self.count }
    }

    fn extra(&self) -> ExtraList<'_> {
        ExtraList { records: &self.records, extra_bits: self.coding.extra_bits() }
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

pub(super) fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The terms of a query and a list, and what the estimates estimate.
fn terms(op: Op, query: &[f32], centroid: &[f32]) -> ScanTerms {
    let reach = squared(query, centroid);
    let base = match op {
        Op::L2 => reach,
        Op::Dot => -dot(query, centroid),
    };
    ScanTerms { op, base: base as f32, reach: reach.sqrt() as f32, scale: 1.0 }
}

fn truth(op: Op, query: &[f32], member: &[f32]) -> f64 {
    match op {
        Op::L2 => squared(query, member),
        Op::Dot => -(dot(query, member) + 0.25),
    }
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Everything a path computes for a list, as bits.
fn run(kernels: &Kernels, list: &List, query: &[f32], terms: &ScanTerms, threshold: f32) -> [Vec<u32>; 5] {
    let mut tables = QueryTables::new();
    kernels.prepare_query(query, &mut tables);
    let mut estimates = vec![0.0; list.count];
    kernels.estimate(&tables, &list.signs(), terms, &mut estimates);
    let mut found = Survivors::new();
    kernels.scan(&tables, &list.signs(), terms, 1.5, threshold, &list.records, &mut found);
    let mut refined = vec![0.0; found.len()];
    if list.coding.bits > 1 {
        kernels.estimate_extra(&tables, &list.extra(), terms, found.positions(), found.sums(), &mut refined);
    }
    [bits_of(&estimates), found.positions().to_vec(), bits_of(found.bounds()), found.sums().to_vec(), bits_of(&refined)]
}

fn check_paths(coding: Coding, members: &[Vec<f32>], centroid: &[f32], query: &[f32]) {
    let scalar = Kernels::scalar();
    let expected = List::new(scalar, coding, members, centroid);
    let terms = terms(coding.op, query, centroid);
    let mut tables = QueryTables::new();
    scalar.prepare_query(query, &mut tables);
    for kernels in every_path() {
        let what = format!("{:?}, {coding:?}, {} x {}", kernels.path(), members.len(), centroid.len());
        let list = List::new(kernels, coding, members, centroid);
        assert_eq!(list.codes, expected.codes, "{what}");
        assert_eq!(list.factors, expected.factors, "{what}");
        assert_eq!(list.records, expected.records, "{what}");
        let mut own = QueryTables::new();
        kernels.prepare_query(query, &mut own);
        assert_eq!(own.table_bytes(), tables.table_bytes(), "{what}");
        assert_eq!(own.planes(), tables.planes(), "{what}");
        for threshold in [f32::INFINITY, terms.base, f32::NEG_INFINITY] {
            let (a, b) = (run(scalar, &list, query, &terms, threshold), run(kernels, &list, query, &terms, threshold));
            assert_eq!(a, b, "{what}");
        }
    }
}

#[test]
fn every_path_writes_the_same_bytes_and_finds_the_same_survivors() {
    for (padded, count) in [(64, 0), (64, 1), (128, 31), (192, 32), (384, 33), (832, 100), (2112, 40), (4096, 3)] {
        let all = vectors(count + 2, padded, padded as u64);
        for bits in 1..=8 {
            let op = if bits % 2 == 0 { Op::L2 } else { Op::Dot };
            check_paths(Coding { bits, op, scale: 1.0 }, &all[2..], &all[0], &all[1]);
        }
    }
}

#[test]
fn degenerate_vectors_are_coded_alike_on_every_path() {
    let padded = 64;
    let mut one_component = vec![0.0; padded];
    one_component[5] = -3.0;
    let mut specks = vec![1.0e-39; padded];
    specks[0] = 1.0;
    let members = [
        vec![0.0; padded],
        vec![1.0; padded],
        vec![1.0; padded],
        vec![-0.0; padded],
        one_component,
        specks,
        vec![1.0e-30; padded],
        vec![1.0e15; padded],
    ];
    for (centroid, bits, op) in
        [(0, 1, Op::L2), (0, 4, Op::L2), (1, 4, Op::L2), (1, 8, Op::Dot), (7, 3, Op::L2), (4, 2, Op::Dot)]
    {
        let coding = Coding { bits, op, scale: 1.0 };
        for query in [&members[0], &members[1], &members[5], &members[7], &vec![1.0e-41; padded]] {
            check_paths(coding, &members, &members[centroid], query);
        }
    }
}

#[test]
fn an_entry_at_its_centroid_has_no_error() {
    let all = vectors(2, 128, 1);
    for bits in [1, 4] {
        let coding = Coding { bits, op: Op::L2, scale: 1.0 };
        let list = List::new(Kernels::scalar(), coding, &all[..1], &all[0]);
        let terms = terms(Op::L2, &all[1], &all[0]);
        let [estimates, ..] = run(Kernels::scalar(), &list, &all[1], &terms, f32::INFINITY);
        assert_eq!(f32::from_bits(estimates[0]), terms.base);
    }
}

#[test]
fn a_constant_too_large_to_store_lets_the_entry_pass_every_scan() {
    let members = vec![vec![1.0e15; 64]];
    let coding = Coding { bits: 4, op: Op::L2, scale: 1.0 };
    let list = List::new(Kernels::scalar(), coding, &members, &vec![0.0; 64]);
    let query = vec![1.0; 64];
    let terms = terms(Op::L2, &query, &vec![0.0; 64]);
    let [_, positions, _, _, refined] = run(Kernels::scalar(), &list, &query, &terms, -1.0e37);
    assert_eq!(positions, [0]);
    let exact = truth(Op::L2, &query, &members[0]);
    assert!((f64::from(f32::from_bits(refined[0])) / exact - 1.0).abs() < 1e-3);
}

/// Mean and standard deviation of `(estimate - truth) / sigma`.
fn z_statistics(bits: usize, op: Op, padded: usize) -> (f64, f64) {
    let kernels = crate::kernel::kernels();
    let (mut sum, mut square, mut n) = (0.0, 0.0, 0.0);
    for seed in 0..60 {
        let all = vectors(72, padded, seed * 1000 + padded as u64);
        let scaled = |x: &[f32], by: f32| -> Vec<f32> { x.iter().map(|x| x * by).collect() };
        let (centroid, query) = (scaled(&all[0], 2.0), scaled(&all[1], 1.5));
        let members: Vec<Vec<f32>> =
            all[2..].iter().map(|o| o.iter().zip(&centroid).map(|(x, c)| x * 0.7 + c).collect()).collect();
        let coding = Coding { bits, op, scale: 64.0 };
        let list = List::new(kernels, coding, &members, &centroid);
        let terms = ScanTerms { scale: coding.scale, ..terms(op, &query, &centroid) };
        let got = run(kernels, &list, &query, &terms, f32::INFINITY);
        let mut tables = QueryTables::new();
        kernels.prepare_query(&query, &mut tables);
        let estimates = if bits == 1 { &got[0] } else { &got[4] };
        for ((estimate, member), coded) in estimates.iter().zip(&members).zip(&list.entries) {
            let sigma = f64::from(terms.sigma(&tables, bits, coded.factors.rescale));
            let z = (f64::from(f32::from_bits(*estimate)) - truth(op, &query, member)) / sigma;
            sum += z;
            square += z * z;
            n += 1.0;
        }
    }
    (sum / n, (square / n - (sum / n).powi(2)).sqrt())
}

#[test]
fn errors_are_centred_and_as_large_as_sigma_says() {
    for bits in 1..=8 {
        for (op, padded) in [(Op::L2, 128), (Op::L2, 768), (Op::Dot, 384)] {
            let (mean, deviation) = z_statistics(bits, op, padded);
            eprintln!("{bits} bits, {op:?}, {padded}: mean {mean:.3}, deviation {deviation:.3}");
            assert!(mean.abs() < 0.08, "{bits} bits, {op:?}, {padded}: mean {mean:.3}");
            assert!((0.95..1.05).contains(&deviation), "{bits} bits, {op:?}, {padded}: deviation {deviation:.3}");
        }
    }
}

#[test]
fn records_end_with_the_factors_of_the_whole_code() {
    let all = vectors(2, 192, 5);
    let list = List::new(Kernels::scalar(), Coding { bits: 3, op: Op::L2, scale: 1.0 }, &all[..1], &all[1]);
    assert_eq!(list.records.len(), record_bytes(list.padded, 2));
    assert_eq!(take_factors(&list.records), list.entries[0].factors);
}
