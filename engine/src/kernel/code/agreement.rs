//! The kernels of a search by lists, every path against plain loops written here: scans of several lists, sifting, estimates of
//! records from anywhere.
//!
//! Lists are made of random bytes, so that factors are also infinite, not numbers, and too small to be normal.

use proptest::prelude::*;

use super::extra::{ExtraList, Record, record_bytes};
use super::query::QueryTables;
use super::scan::{Line, MAX_TURNS, PLACE_BITS, ScanTerms, ScanTurn, SignList, Survivors, block_sums, place_parts};
use super::sign_block::{BLOCK, FACTOR_BYTES, block_bytes, take_factors};
use super::tests::{every_path, vectors};
use crate::kernel::{Kernels, Op, RECORDS, SplitMix64};
use half::{bf16, f16};

/// A list of random bytes.
struct List {
    codes: Vec<u8>,
    factors: Vec<u8>,
    count: usize,
    terms: ScanTerms,
}

fn bytes(count: usize, draw: &mut SplitMix64) -> Vec<u8> {
    (0..count).map(|_| (draw.next_u64() >> 56) as u8).collect()
}

/// From -4 to 4, in steps that let numbers meet.
fn step(draw: &mut SplitMix64) -> f32 {
    (draw.next_u64() % 65) as f32 / 8.0 - 4.0
}

/// Factors of ordinary size, or any bits at all.
fn factors(blocks: usize, wild: bool, draw: &mut SplitMix64) -> Vec<u8> {
    if wild {
        return bytes(blocks * FACTOR_BYTES, draw);
    }
    let mut out = Vec::new();
    for _ in 0..blocks {
        (0..BLOCK).for_each(|_| out.extend(f16::from_f32(step(draw)).to_le_bytes()));
        (0..BLOCK).for_each(|_| out.extend(bf16::from_f32(step(draw).abs()).to_le_bytes()));
    }
    out
}

impl List {
    fn new(padded: usize, count: usize, wild: bool, draw: &mut SplitMix64) -> Self {
        let blocks = count.div_ceil(BLOCK);
        let op = if draw.next_u64().is_multiple_of(2) { Op::L2 } else { Op::Dot };
        let terms = ScanTerms { op, base: step(draw) * 8.0, reach: step(draw).abs(), scale: 2.0 };
        List { codes: bytes(blocks * block_bytes(padded), draw), factors: factors(blocks, wild, draw), count, terms }
    }

    fn signs(&self) -> SignList<'_> {
        SignList { codes: &self.codes, factors: &self.factors, count: self.count }
    }
}

fn lists(padded: usize, counts: &[usize], wild: bool, seed: u64) -> Vec<List> {
    let mut draw = SplitMix64::new(seed);
    counts.iter().map(|count| List::new(padded, *count, wild, &mut draw)).collect()
}

/// Each list asks for the one two further on.
fn turns(lists: &[List]) -> Vec<ScanTurn<'_>> {
    let ahead = |at: usize| lists.get(at + 2).map_or(&[][..], |list| &list.codes);
    lists
        .iter()
        .enumerate()
        .map(|(at, list)| ScanTurn { list: list.signs(), terms: list.terms, ahead: ahead(at) })
        .collect()
}

/// A prepared query: Gaussian, or of a few components, or zero.
fn query(padded: usize, kind: usize, seed: u64) -> QueryTables {
    let mut query = vectors(1, padded, seed).remove(0);
    match kind {
        0 => query.fill(0.0),
        1 => query.iter_mut().skip(3).for_each(|x| *x = 0.0),
        _ => {}
    }
    let mut tables = QueryTables::new();
    Kernels::scalar().prepare_query(&query, &mut tables);
    tables
}

/// Place, bits of the bound, sum.
type Found = (u32, u32, u32);

/// Every entry of every list, with its bound.
fn bounds(query: &QueryTables, lists: &[List], z: f32) -> Vec<(u32, f32, u32)> {
    let mut all = Vec::new();
    for (turn, list) in lists.iter().enumerate() {
        let line = Line::new(query, &list.terms, z);
        for at in 0..list.count {
            let (block, lane) = (at / BLOCK, at % BLOCK);
            let length = block_bytes(query.padded_dim());
            let sum = block_sums(query, &list.codes[block * length..][..length])[lane];
            let stored = take_factors(&list.factors.as_chunks().0[block], lane);
            let (add, rescale) = (f16::from_bits(stored.add).to_f32(), bf16::from_bits(stored.rescale).to_f32());
            all.push((((turn as u32) << PLACE_BITS) + at as u32, line.bound(add, rescale, sum), sum));
        }
    }
    all
}

fn found(survivors: &Survivors) -> Vec<Found> {
    let columns = survivors.positions().iter().zip(survivors.bounds()).zip(survivors.sums());
    columns.map(|((place, bound), sum)| (*place, bound.to_bits(), *sum)).collect()
}

fn check_scan(query: &QueryTables, lists: &[List], z: f32) {
    let all = bounds(query, lists, z);
    // A bound that occurs is the sharpest of thresholds: it does not pass itself.
    let mut thresholds = vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, f32::MAX, f32::MIN];
    thresholds.extend(all.iter().step_by(1 + all.len() / 5).map(|(_, bound, _)| *bound));
    let turns = turns(lists);
    for kernels in every_path() {
        let mut survivors = Survivors::new();
        for threshold in &thresholds {
            let passed = all.iter().filter(|(_, bound, _)| bound < threshold);
            let expected: Vec<Found> = passed.map(|(place, bound, sum)| (*place, bound.to_bits(), *sum)).collect();
            survivors.clear();
            kernels.scan_all(query, &turns, z, *threshold, &mut survivors);
            assert_eq!(found(&survivors), expected, "{:?} {threshold}", kernels.path());
            // What is there already stays in front.
            kernels.scan_all(query, &turns, z, *threshold, &mut survivors);
            assert_eq!(found(&survivors), [&expected[..], &expected[..]].concat(), "{:?}", kernels.path());
        }
        for list in lists {
            let mut estimates = vec![0.0; list.count];
            kernels.estimate(query, &list.signs(), &list.terms, &mut estimates);
            let expected = bounds(query, std::slice::from_ref(list), 0.0);
            assert_eq!(estimates.len(), expected.len());
            for (estimate, (_, bound, _)) in estimates.iter().zip(expected) {
                let alike = estimate.to_bits() == bound.to_bits() || (estimate.is_nan() && bound.is_nan());
                assert!(alike, "{:?}: {estimate} for {bound}", kernels.path());
            }
        }
    }
}

#[test]
fn scans_of_no_lists_and_of_lists_that_end_anywhere_in_a_block_find_the_same() {
    let cases: [&[usize]; 8] =
        [&[], &[0], &[0, 0, 0], &[1], &[31, 32, 33], &[0, 64, 0, 1, 63], &[15, 16, 17, 48, 0], &[300, 2, 128]];
    for (seed, counts) in cases.into_iter().enumerate() {
        for padded in [64, 192, 384] {
            for kind in 0..3 {
                let lists = lists(padded, counts, kind == 2, seed as u64);
                check_scan(&query(padded, kind, seed as u64), &lists, 1.5);
            }
        }
    }
}

/// 4,096 components are more than 16-bit sums hold.
#[test]
fn the_largest_sums_and_the_most_lists_are_no_special_case() {
    let mut widest = lists(4096, &[33, 5], false, 3);
    for list in &mut widest {
        list.codes.fill(0xFF);
    }
    let mut tables = QueryTables::new();
    Kernels::scalar().prepare_query(&[1.0; 4096], &mut tables);
    check_scan(&tables, &widest, 0.0);
    let counts: Vec<usize> = (0..MAX_TURNS).map(|turn| turn % 35).collect();
    check_scan(&query(64, 2, 9), &lists(64, &counts, false, 9), 1.5);
}

#[test]
#[should_panic(expected = "more lists than places tell apart")]
fn more_lists_than_places_tell_apart_are_refused() {
    let lists = lists(64, &[0; MAX_TURNS + 1], false, 1);
    Kernels::scalar().scan_all(&query(64, 2, 1), &turns(&lists), 0.0, 0.0, &mut Survivors::new());
}

#[test]
fn a_place_comes_apart_into_what_it_was_made_of() {
    for (turn, position) in [(0, 0), (0, 1), (1, 0), (MAX_TURNS - 1, (1 << PLACE_BITS) - 1)] {
        assert_eq!(place_parts((turn << PLACE_BITS) as u32 | position as u32), (turn, position));
    }
}

/// Survivors with these bounds; places and sums tell them apart.
fn survivors(bounds: &[f32]) -> Survivors {
    let mut survivors = Survivors::new();
    survivors.reserve(bounds.len());
    for (i, bound) in bounds.iter().enumerate() {
        (survivors.positions[i], survivors.bounds[i], survivors.sums[i]) = (7 * i as u32, *bound, u32::MAX - i as u32);
    }
    // Left over from before: never looked at.
    survivors.bounds[bounds.len()..].fill(0.0);
    survivors.set_len(bounds.len());
    survivors
}

fn check_sift(bounds: &[f32], above: f32, up_to: f32) {
    let inside = |x: f32| x <= up_to && (above == f32::NEG_INFINITY || x > above);
    let expected: Vec<(u32, u32, u32)> = (0_u32..)
        .zip(bounds)
        .filter(|(_, bound)| inside(**bound))
        .map(|(i, bound)| (7 * i, bound.to_bits(), u32::MAX - i))
        .collect();
    let survivors = survivors(bounds);
    let mut out = Survivors::new();
    let triples = |out: &Survivors| {
        let columns = out.positions().iter().zip(out.bounds()).zip(out.sums());
        columns.map(|((place, bound), sum)| (*place, bound.to_bits(), *sum)).collect::<Vec<_>>()
    };
    for kernels in every_path() {
        kernels.sift(&survivors, above, up_to, &mut out);
        assert_eq!(triples(&out), expected, "{:?} {above} {up_to}", kernels.path());
    }
}

const EDGES: [f32; 9] = [f32::NEG_INFINITY, f32::MIN, -1.0, -0.0, 0.0, 1.0, f32::MAX, f32::INFINITY, f32::NAN];

#[test]
fn sifting_keeps_what_lies_between_two_bounds_whatever_they_are() {
    let edges: Vec<f32> = EDGES.into_iter().cycle().take(97).collect();
    for count in [0, 1, 15, 16, 17, 31, 32, 33, 48, 97] {
        for above in EDGES {
            for up_to in EDGES {
                check_sift(&edges[..count], above, up_to);
                check_sift(&vec![1.0; count], above, up_to);
            }
        }
    }
}

/// One entry's record, base and sum.
struct Entry {
    bytes: Vec<u8>,
    base: f32,
    sum: u32,
}

/// Records of random code bits with ordinary factors behind them; some are longer than need be.
fn entries(padded: usize, extra_bits: usize, count: usize, seed: u64) -> Vec<Entry> {
    let mut draw = SplitMix64::new(seed);
    (0..count)
        .map(|i| {
            let mut record = bytes(record_bytes(padded, extra_bits) - 8, &mut draw);
            record.extend(step(&mut draw).to_le_bytes());
            record.extend(step(&mut draw).to_le_bytes());
            record.extend((0..i % 3).map(|_| 0xA5));
            Entry { bytes: record, base: step(&mut draw), sum: (draw.next_u64() % 60_000) as u32 }
        })
        .collect()
}

fn estimates(kernels: &Kernels, query: &QueryTables, op: Op, extra_bits: usize, entries: &[Entry]) -> Vec<u32> {
    let records: Vec<Record> =
        entries.iter().map(|entry| Record { bytes: &entry.bytes, base: entry.base, sum: entry.sum }).collect();
    let mut out = [f32::NAN; RECORDS + 1];
    kernels.estimate_records(query, op, extra_bits, &records, &mut out);
    assert!(out[entries.len()..].iter().all(|x| x.is_nan()), "{:?} wrote behind the last", kernels.path());
    out[..entries.len()].iter().map(|x| x.to_bits()).collect()
}

fn check_records(padded: usize, extra_bits: usize, count: usize, kind: usize, seed: u64) {
    let tables = query(padded, kind, seed);
    let entries = entries(padded, extra_bits, count, seed);
    for op in [Op::L2, Op::Dot] {
        let expected = estimates(Kernels::scalar(), &tables, op, extra_bits, &entries);
        for kernels in every_path() {
            let what = format!("{:?} {padded} x {count}, {extra_bits} bits", kernels.path());
            assert_eq!(estimates(kernels, &tables, op, extra_bits, &entries), expected, "{what}");
            // Alone, and as an entry of a list, each has the estimate it has among others.
            for (entry, expected) in entries.iter().zip(&expected) {
                let alone = estimates(kernels, &tables, op, extra_bits, std::slice::from_ref(entry));
                assert_eq!(alone, [*expected], "{what}");
                let list = ExtraList { records: &entry.bytes, extra_bits };
                let terms = ScanTerms { op, base: entry.base, reach: 0.0, scale: 1.0 };
                let mut out = [0.0];
                kernels.estimate_extra(&tables, &list, &terms, &[0], &[entry.sum], &mut out);
                assert_eq!(out[0].to_bits(), *expected, "{what}");
            }
        }
    }
}

#[test]
fn records_from_anywhere_have_the_same_estimates_however_many_are_asked_for() {
    for extra_bits in 1..=7 {
        for count in 0..=RECORDS {
            for padded in [64, 128, 448] {
                check_records(padded, extra_bits, count, count % 3, 5);
            }
        }
        check_records(4096, extra_bits, RECORDS, 2, 6);
    }
}

/// What the words of the module say, in f64 and with nothing shared but the planes.
#[test]
fn an_estimate_of_a_record_is_what_its_code_says() {
    let padded = 192;
    let tables = query(padded, 2, 8);
    let (high, low, unit, _, _) = tables.planes();
    for extra_bits in 1..=7 {
        for entry in entries(padded, extra_bits, RECORDS, 11) {
            let mut values = vec![0; padded];
            let code = record_bytes(padded, extra_bits) - 8;
            super::extra::take_code(&entry.bytes[..code], extra_bits, &mut values);
            let factors = super::extra::take_factors(&entry.bytes[..code + 8]);
            let middle = f64::from((1 << extra_bits) - 1) / 2.0;
            let further: f64 = values
                .iter()
                .zip(high.iter().zip(low))
                .map(|(u, (h, l))| {
                    let q = 128.0 * f64::from(*h) + if extra_bits > 4 { f64::from(*l) } else { 0.0 };
                    (f64::from(*u) - middle) * q * f64::from(unit)
                })
                .sum();
            let signs = f64::from(tables.sign_product(entry.sum)) * f64::from(1 << extra_bits);
            let rescaled = f64::from(factors.rescale) * (further + signs);
            let exact = f64::from(factors.add) + f64::from(entry.base) - 2.0 * rescaled;
            let got = estimates(Kernels::scalar(), &tables, Op::L2, extra_bits, &[entry]);
            let error = (f64::from(f32::from_bits(got[0])) - exact).abs();
            assert!(error <= 1e-5 * (1.0 + rescaled.abs() + signs.abs()), "{extra_bits} bits: off by {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scans_of_any_lists_find_the_same_on_every_path(
        seed in any::<u64>(),
        runs in 1_usize..5,
        counts in prop::collection::vec(prop_oneof![3 => 0_usize..100, 1 => Just(32), 1 => Just(64)], 0..7),
        wild in any::<bool>(),
        kind in 0_usize..3,
        z in prop_oneof![Just(0.0_f32), -2.0_f32..4.0],
    ) {
        let padded = 64 * runs;
        check_scan(&query(padded, kind, seed), &lists(padded, &counts, wild, seed), z);
    }

    #[test]
    fn sifting_is_a_filter(
        bounds in prop::collection::vec(
            prop_oneof![6 => (-9_i8..9).prop_map(f32::from), 1 => prop::sample::select(&EDGES[..])], 0..200),
        above in prop_oneof![3 => (-9_i8..9).prop_map(f32::from), 1 => prop::sample::select(&EDGES[..])],
        up_to in prop_oneof![3 => (-9_i8..9).prop_map(f32::from), 1 => prop::sample::select(&EDGES[..])],
    ) {
        check_sift(&bounds, above, up_to);
    }

    #[test]
    fn records_have_the_same_estimates_on_every_path(
        seed in any::<u64>(),
        runs in 1_usize..9,
        extra_bits in 1_usize..8,
        count in 0..=RECORDS,
        kind in 0_usize..3,
    ) {
        check_records(64 * runs, extra_bits, count, kind, seed);
    }
}

#[test]
fn records_of_one_bit_are_scored_alike_on_every_path_and_as_a_loop_scores_them() {
    let mut draw = SplitMix64::new(12);
    for padded in [64, 192, 384, 832] {
        let query = &vectors(1, padded, 5)[0];
        let all: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let mut record = bytes(padded / 8, &mut draw);
                record.extend(step(&mut draw).to_le_bytes());
                record.extend(step(&mut draw).abs().to_le_bytes());
                // More than the record, which is not looked at.
                record.extend([0xFF; 4]);
                record
            })
            .collect();
        for (op, gain) in [(Op::L2, 2.0), (Op::Dot, 1.0)] {
            for some in all.chunks(RECORDS).chain(all[..RECORDS].chunks(3)) {
                let record = |(i, bytes): (usize, &'_ Vec<u8>)| (i as f32, bytes.clone());
                let told: Vec<(f32, Vec<u8>)> = some.iter().enumerate().map(record).collect();
                let records: Vec<Record> =
                    told.iter().map(|(base, bytes)| Record { bytes, base: *base, sum: 77 }).collect();
                let run = |kernels: &Kernels| {
                    let (mut tables, mut out) = (QueryTables::new(), vec![f32::NAN; records.len()]);
                    kernels.prepare_query(query, &mut tables);
                    kernels.estimate_signs(&tables, op, &records, &mut out);
                    out
                };
                let expected = run(Kernels::scalar());
                for kernels in every_path() {
                    let same = run(kernels).iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{:?} {padded} {op:?}", kernels.path());
                }
                for (record, estimate) in records.iter().zip(expected) {
                    let bit = |i: usize| f32::from(record.bytes[i / 8] >> (i % 8) & 1) - 0.5;
                    let product: f32 = query.iter().enumerate().map(|(i, q)| q * bit(i)).sum();
                    let number = |at: usize| f32::from_le_bytes(record.bytes[at..at + 4].try_into().unwrap());
                    let (add, rescale) = (number(padded / 8), number(padded / 8 + 4));
                    // Components of the query are rounded to 125ths of the largest: five standard errors of their sum.
                    let step = query.iter().fold(0.0_f32, |most, q| most.max(q.abs())) / 125.0;
                    let rounding = 5.0 * 0.5 * step * (padded as f32 / 12.0).sqrt();
                    let off = (estimate - (add + record.base - rescale * (gain * product))).abs();
                    assert!(off <= gain * rescale * rounding + 1e-4, "{padded} {op:?}: off by {off}");
                }
            }
        }
    }
}
