use super::*;
use crate::compaction::check_coding;
use crate::error::ErrorKind;
use crate::index::stored::Stored;
use crate::kernel::cluster::Serial;
use crate::kernel::{CpuPath, Kernels, SplitMix64, decode_row};
use crate::metric::Element;
use crate::storage::testing::MemDir;
use crate::storage::{FileKind, FileName};

/// The rows and queries of the demonstration: 5,000 and some texts of 384 components, of unit length.
pub(super) const BASE: &[u8] = include_bytes!("../../../demo/data/base.f16.npy");
pub(super) const QUERIES: &[u8] = include_bytes!("../../../demo/data/query.f16.npy");
pub(super) const DIM: usize = 384;

pub(super) fn halves(npy: &[u8]) -> Vec<f32> {
    let bytes = &npy[10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]))..];
    let mut values = vec![0.0; bytes.len() / 2];
    decode_row(Element::F16, bytes, &mut values);
    values
}

pub(super) fn random(count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut draw = SplitMix64::new(seed);
    // Clustered: near one of twenty points.
    let centres: Vec<f32> = (0..20 * dim).map(|_| (draw.next_u64() >> 40) as f32 / 8e6 - 1.0).collect();
    (0..count)
        .flat_map(|_| {
            let centre = (draw.next_u64() % 20) as usize * dim;
            let noise: Vec<f32> = (0..dim).map(|_| (draw.next_u64() >> 40) as f32 / 1.6e7 - 0.5).collect();
            centres[centre..centre + dim].iter().zip(noise).map(|(c, x)| c + x).collect::<Vec<_>>()
        })
        .collect()
}

pub(super) fn schema(dim: usize, metric: Metric) -> Schema {
    Schema::new(dim, metric).ids(crate::id::IdKind::U64)
}

fn build(schema: &Schema, values: &[f32], options: TrialOptions) -> Trial {
    let dir = Arc::new(MemDir::new(1));
    let trial = Trial::build(dir, schema, values, options, &Serial).unwrap();
    assert!(trial.verify().is_empty());
    trial
}

pub(super) fn options(lists: usize) -> TrialOptions {
    TrialOptions { lists, bits: 4, spill: true, segments: 1, seed: 7 }
}

/// Exact search, scored as flat collections score.
pub(super) fn truth(schema: &Schema, values: &[f32], query: &[f32], k: usize, dead: &[u64]) -> Vec<(f32, u64)> {
    let flat = FlatQuery::new(query, schema).unwrap();
    let mut all: Vec<(f32, u64)> = lengths(values, schema.dim())
        .zip(values.chunks_exact(schema.dim()))
        .zip(0..)
        .filter(|(_, row)| !dead.contains(row))
        .map(|((length, row), number)| {
            let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
            (flat.score_one(&Stored { bytes, element: Element::F32, length }), number)
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

pub(super) fn everything(trial: &Trial) -> Effort {
    Effort { exact: 200, deviations: 8.0, ..Effort::new(trial.lists()) }
}

#[test]
fn all_lists_and_enough_exact_rows_give_what_exact_search_gives() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    let small = random(3_000, 100, 5);
    let asked = random(30, 100, 6);
    let mut cases = vec![(DIM, Metric::Cosine, &base, &queries), (DIM, Metric::L2, &base, &queries)];
    cases.extend([Metric::L2, Metric::Cosine, Metric::InnerProduct].map(|metric| (100, metric, &small, &asked)));
    for (dim, metric, values, queries) in cases {
        let schema = schema(dim, metric);
        let trial = build(&schema, values, options(60));
        let mut seeker = trial.seeker().unwrap();
        for query in queries.chunks_exact(dim).take(30) {
            let found = seeker.nearest(query, 10, &everything(&trial)).unwrap();
            assert_eq!(found, truth(&schema, values, query, 10, &[]), "{metric:?} {dim}");
        }
    }
}

#[test]
fn few_lists_find_most_of_the_nearest_texts() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    let schema = schema(DIM, Metric::Cosine);
    for (bits, exact, least) in [(1, 64, 0.93), (2, 32, 0.94), (4, 16, 0.94), (7, 16, 0.94)] {
        let trial = build(&schema, &base, TrialOptions { bits, ..options(200) });
        let mut seeker = trial.seeker().unwrap();
        let (mut hits, mut wanted) = (0, 0);
        for query in queries.chunks_exact(DIM).take(100) {
            let truth = truth(&schema, &base, query, 10, &[]);
            let found = seeker.nearest(query, 10, &Effort { exact, ..Effort::new(24) }).unwrap();
            hits += truth.iter().filter(|row| found.contains(row)).count();
            wanted += truth.len();
        }
        let recall = hits as f64 / wanted as f64;
        assert!(recall >= least, "{bits} bits: {recall}");
    }
}

#[test]
fn dead_rows_are_not_found_and_take_no_place_of_others() {
    let base = halves(BASE);
    let schema = schema(DIM, Metric::Cosine);
    let mut trial = build(&schema, &base, options(50));
    let query = &base[..DIM];
    let dead: Vec<u64> = truth(&schema, &base, query, 40, &[]).iter().map(|found| found.1).collect();
    trial.kill(&dead).unwrap();
    let effort = Effort { exact: 16, ..everything(&trial) };
    let found = trial.seeker().unwrap().nearest(query, 10, &effort).unwrap().to_vec();
    assert_eq!(found, truth(&schema, &base, query, 10, &dead));
}

#[test]
fn more_rows_than_there_are_and_no_patience_are_no_special_case() {
    let values = random(25, 64, 3);
    let schema = schema(64, Metric::L2);
    for lists in [1, 3, 25] {
        let trial = build(&schema, &values, options(lists));
        let mut seeker = trial.seeker().unwrap();
        let found = seeker.nearest(&values[..64], 100, &everything(&trial)).unwrap();
        assert_eq!(found, truth(&schema, &values, &values[..64], 100, &[]));
        let impatient = Effort { patience: 0, ..Effort::new(3) };
        assert!(seeker.nearest(&values[..64], 5, &impatient).unwrap().is_empty());
        assert!(seeker.nearest(&values[..64], 0, &Effort::new(3)).unwrap().is_empty());
    }
}

#[test]
fn merging_moves_entries_and_changes_none_of_their_bits() {
    let base = halves(BASE);
    let schema = schema(DIM, Metric::Cosine);
    for bits in [1, 4] {
        let mut trial = build(&schema, &base, TrialOptions { segments: 3, bits, ..options(100) });
        let dead = [0, 17, 2_000, 4_999];
        let kept: Vec<_> = trial.entries().into_iter().filter(|entry| !dead.contains(&entry.1)).collect();
        let apart: Vec<_> = {
            let mut seeker = trial.seeker().unwrap();
            seeker.nearest(&base[5 * DIM..6 * DIM], 10, &Effort::new(20)).unwrap().to_vec()
        };
        trial.kill(&dead).unwrap();
        trial.merge().unwrap();
        assert_eq!(trial.segments.len(), 1);
        assert!(trial.verify().is_empty());
        assert_eq!(trial.entries(), kept);
        let merged = trial.seeker().unwrap().nearest(&base[5 * DIM..6 * DIM], 10, &Effort::new(20)).unwrap().to_vec();
        assert_eq!(merged, apart);
    }
}

/// What a search by lists did and found, with the kernels of one path.
#[derive(Debug, PartialEq)]
struct Outcome {
    lists: Vec<u32>,
    work: (usize, usize),
    measured: usize,
    found: Vec<(f32, u64)>,
}

fn outcomes(trial: &Trial, kernels: &'static Kernels, queries: &[f32], efforts: &[(usize, Effort)]) -> Vec<Outcome> {
    let mut seeker = trial.seeker().unwrap().with_kernels(kernels);
    let mut all = Vec::new();
    for query in queries.chunks_exact(trial.schema.dim()) {
        for (k, effort) in efforts {
            let found = seeker.nearest(query, *k, effort).unwrap().to_vec();
            let scratch = &seeker.scratch;
            let (lists, measured) = (scratch.probed().collect(), scratch.measured());
            all.push(Outcome { lists, work: scratch.work, measured, found });
        }
    }
    all
}

/// Searches look at the same lists, entries, records and rows whatever the path. Exact distances are sums in an order of the
/// path's own: `rounding` of them is what they may differ by, and rows so near to each other may change places.
fn check_paths(trial: &Trial, queries: &[f32], rounding: f32) {
    let few = Effort::new(5);
    let efforts = [
        (10, few),
        (10, Effort { patience: 3, ..Effort::new(12) }),
        (1, Effort { exact: 1, deviations: 0.0, ..few }),
        (100, Effort { exact: 150, ..Effort::new(20) }),
        (10, everything(trial)),
    ];
    let scalar = outcomes(trial, Kernels::scalar(), queries, &efforts);
    assert!(scalar.iter().any(|outcome| outcome.found.len() == 100));
    for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
        let got = outcomes(trial, kernels, queries, &efforts);
        assert_eq!(got.len(), scalar.len());
        for (got, wanted) in got.iter().zip(&scalar) {
            if rounding == 0.0 {
                assert_eq!(got, wanted, "{:?}", kernels.path());
                continue;
            }
            let facts =
                |outcome: &Outcome| (outcome.lists.clone(), outcome.work, outcome.measured, outcome.found.len());
            assert_eq!(facts(got), facts(wanted), "{:?}", kernels.path());
            for (got, wanted) in got.found.iter().zip(&wanted.found) {
                assert!((got.0 - wanted.0).abs() <= rounding, "{:?}: {got:?} for {wanted:?}", kernels.path());
            }
            let last = wanted.found.last().map_or(0.0, |found| found.0);
            for (distance, row) in got.found.iter().filter(|found| found.0 < last - 2.0 * rounding) {
                let there = wanted.found.iter().any(|other| other.1 == *row && (other.0 - distance).abs() <= rounding);
                assert!(there, "{:?}: row {row} at {distance} in {wanted:?}", kernels.path());
            }
        }
    }
}

/// Components are small integers, so that sums are exact in any order: every bit is compared.
#[test]
fn a_search_by_lists_is_the_same_on_every_path_to_the_last_bit() {
    let whole = |values: Vec<f32>| values.into_iter().map(|x| (4.0 * x).round()).collect::<Vec<_>>();
    let (values, queries) = (whole(random(3_000, 100, 21)), whole(random(25, 100, 22)));
    for (metric, bits, segments) in [
        (Metric::L2, 4, 1),
        (Metric::L2, 1, 2),
        (Metric::InnerProduct, 7, 1),
        (Metric::InnerProduct, 2, 3),
        (Metric::L2, 6, 2),
    ] {
        let schema = schema(100, metric);
        let mut trial = build(&schema, &values, TrialOptions { bits, segments, ..options(60) });
        check_paths(&trial, &queries, 0.0);
        trial.kill(&[0, 7, 100, 2_999]).unwrap();
        check_paths(&trial, &queries[..300], 0.0);
    }
}

#[test]
fn a_search_of_texts_by_lists_is_the_same_on_every_path_but_for_rounding() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    for bits in [1, 4] {
        let schema = schema(DIM, Metric::Cosine);
        let trial = build(&schema, &base, TrialOptions { bits, ..options(100) });
        check_paths(&trial, &queries[..20 * DIM], 1e-6);
    }
}

/// Segments of a collection may be coded with different bits: one wave then holds records of several lengths.
#[test]
fn segments_of_different_bits_are_searched_together_and_alike_on_every_path() {
    let values: Vec<f32> = random(3_000, 100, 31).into_iter().map(|x| (4.0 * x).round()).collect();
    let queries: Vec<f32> = random(25, 100, 32).into_iter().map(|x| (4.0 * x).round()).collect();
    for metric in [Metric::L2, Metric::InnerProduct] {
        let schema = schema(100, metric);
        let coded = |bits| build(&schema, &values, TrialOptions { bits, segments: 5, ..options(40) });
        let mut trial = coded(4);
        for (at, bits) in [(0, 1), (2, 7), (3, 2), (4, 5)] {
            trial.segments[at] = coded(bits).segments[at].clone();
        }
        check_paths(&trial, &queries, 0.0);
        let mut seeker = trial.seeker().unwrap();
        for query in queries.chunks_exact(100) {
            // One bit tells the nearest less well: more rows are measured.
            let effort = Effort { exact: 400, ..everything(&trial) };
            let distances = |found: &[(f32, u64)]| found.iter().map(|found| found.0).collect::<Vec<_>>();
            // Not the rows: of two at the last distance, bounds and estimates choose.
            let found = seeker.nearest(query, 10, &effort).unwrap();
            assert_eq!(distances(found), distances(&truth(&schema, &values, query, 10, &[])));
        }
    }
}

/// Files of before, whose records stand end to end, beside files in which each fills up its line.
#[test]
fn records_are_found_however_far_apart_they_are() {
    for (dim, bits) in [(120, 4), (50, 7), (192, 3), (600, 4)] {
        let whole = |count, seed| random(count, dim, seed).into_iter().map(|x| (4.0 * x).round()).collect::<Vec<f32>>();
        let (values, queries) = (whole(1_500, 41), whole(20, 42));
        let schema = schema(dim, Metric::L2);
        let built = || build(&schema, &values, TrialOptions { bits, segments: 3, ..options(30) });
        let (mut new, mut old) = (built(), built());
        (0..3).filter(|at| *at != 1).for_each(|at| old.pack(at));
        let long = |trial: &Trial| trial.segments.iter().map(|file| file.facts().len).collect::<Vec<_>>();
        let rewritten = |trial: &Trial| trial.segments.iter().map(|file| file.most_rewritten()).collect::<Vec<_>>();
        assert!(rewritten(&old) == long(&new) && rewritten(&new) == long(&new) && long(&old)[0] < long(&new)[0]);
        check_paths(&old, &queries, 0.0);
        let found = |trial: &Trial| {
            let mut seeker = trial.seeker().unwrap();
            let of = |query| seeker.nearest(query, 10, &Effort::new(12)).unwrap().to_vec();
            queries.chunks_exact(dim).map(of).collect::<Vec<_>>()
        };
        assert_eq!(found(&old), found(&new));
        assert!(old.entries() == new.entries());
        new.merge().unwrap();
        old.merge().unwrap();
        assert!(old.entries() == new.entries() && old.segments[0].shape() == new.segments[0].shape());
        assert_eq!(found(&old), found(&new));
    }
}

/// [LIST-4]
#[test]
fn the_same_rows_give_the_same_bytes_on_any_number_of_threads() {
    struct Backwards;
    impl Parallel for Backwards {
        fn threads(&self) -> usize {
            3
        }
        fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..tasks).rev().for_each(task);
        }
    }
    let values = random(2_000, 96, 8);
    let schema = schema(96, Metric::L2);
    let bytes = |parallel: &dyn Parallel| {
        let dir = Arc::new(MemDir::new(1));
        Trial::build(dir.clone(), &schema, &values, options(90), parallel).unwrap();
        let file = |kind, number| dir.file_bytes(FileName::File(kind, FileId { number, epoch: 1 })).unwrap();
        (file(FileKind::Model, 2), file(FileKind::List, 4))
    };
    assert!(bytes(&Serial) == bytes(&Backwards));
}

fn ids(hits: &crate::Hits) -> Vec<u64> {
    let id = |hit: &crate::Hit| match hit.id {
        crate::Id::U64(id) => id,
        crate::Id::Bytes(_) => unreachable!("ids are numbers"),
    };
    hits.iter().map(id).collect()
}

/// Mean part of the true nearest rows that a search with this effort finds.
fn recall(snapshot: &crate::Snapshot, queries: &[f32], effort: crate::Effort, k: usize) -> f64 {
    let mut found = 0;
    let mut wanted = 0;
    for query in queries.chunks_exact(snapshot.schema().dim()) {
        let truth = ids(&snapshot.search(query).k(k).effort(crate::Effort::Exact).run().unwrap());
        let hits = ids(&snapshot.search(query).k(k).effort(effort).run().unwrap());
        found += truth.iter().filter(|id| hits.contains(id)).count();
        wanted += truth.len();
    }
    found as f64 / wanted as f64
}

#[test]
fn the_public_search_over_lists_finds_what_the_bare_one_finds() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    let schema = schema(DIM, Metric::Cosine);
    let mut trial = build(&schema, &base, TrialOptions { segments: 3, ..options(200) });
    let snapshot = trial.snapshot(&[], true).unwrap();
    let mut seeker = trial.seeker().unwrap();
    for query in queries.chunks_exact(DIM).take(40) {
        let effort = crate::Effort::Probe { nprobe: 20, patience: usize::MAX };
        let hits = snapshot.search(query).effort(effort).run().unwrap();
        let bare = seeker.nearest(query, 10, &Effort { exact: 17, ..Effort::new(20) }).unwrap();
        assert_eq!(ids(&hits), bare.iter().map(|found| found.1).collect::<Vec<_>>());
        assert!(hits.iter().zip(bare).all(|(hit, bare)| hit.distance == bare.0 && hit.exact));
        assert_eq!(hits.explain().lists_probed, 20);
        assert!(hits.explain().entries_scanned > 100 && hits.explain().rows_scored >= 10);
    }
    for part in [0.9, 0.95, 0.99] {
        let found = recall(&snapshot, &queries, crate::Effort::Recall(part), 10);
        assert!(found >= f64::from(part) - 0.01, "{found} at {part}");
    }
}

#[test]
fn fresh_rows_are_found_at_once_in_lists_and_out_of_them() {
    let (base, queries) = (halves(BASE), halves(QUERIES));
    for metric in [Metric::Cosine, Metric::L2, Metric::InnerProduct] {
        let schema = schema(DIM, metric);
        let (old, fresh) = base.split_at(base.len() / DIM / 2 * DIM);
        let mut trial = build(&schema, old, options(150));
        let effort = crate::Effort::Probe { nprobe: 30, patience: usize::MAX };
        let filed = trial.snapshot(fresh, true).unwrap();
        let flat = trial.snapshot(fresh, false).unwrap();
        assert_eq!((filed.count(), flat.count()), ((base.len() / DIM) as u64, (base.len() / DIM) as u64));
        for query in fresh.chunks_exact(DIM).step_by(97) {
            for snapshot in [&filed, &flat] {
                let exact = snapshot.search(query).k(1).effort(crate::Effort::Exact).run().unwrap();
                let hits = snapshot.search(query).k(1).effort(effort).run().unwrap();
                assert_eq!((hits.len(), hits[0].distance), (1, exact[0].distance), "{metric:?}");
            }
        }
        let mut all = trial_of_all(&schema, &base);
        let whole = recall(&all.snapshot(&[], true).unwrap(), &queries, effort, 10);
        let (by_lists, scanned) = (recall(&filed, &queries, effort, 10), recall(&flat, &queries, effort, 10));
        println!(
            "{metric:?}: {whole:.4} all in files, {by_lists:.4} half fresh, {scanned:.4} half fresh and not in lists"
        );
        assert!(by_lists > whole - 0.02 && scanned >= by_lists - 0.005, "{whole} {by_lists} {scanned}");
    }
}

fn trial_of_all(schema: &Schema, base: &[f32]) -> Trial {
    build(schema, base, options(150))
}

#[test]
fn codes_of_a_model_mean_nothing_to_one_with_another_frame() {
    let schema = schema(24, Metric::L2);
    let values = random(600, 24, 3);
    let model = |values: &[f32], seed| build(&schema, values, TrialOptions { seed, ..options(6) }).model;
    let (older, moved) = (model(&values, 7), values.iter().map(|x| x + 0.25).collect::<Vec<f32>>());
    check_coding(&older, &model(&values, 7)).unwrap();
    for other in [model(&values, 8), model(&moved, 7)] {
        let error = check_coding(&older, &other).unwrap_err();
        let said = error.to_string();
        assert!(error.kind() == ErrorKind::Corrupt && said.contains(&other.id.to_string()), "{said}");
    }
}
