//! What a user of clustering can count on: the same result everywhere, no empty lists, lists near the best there are.

use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;

use super::anchors::{Anchors, Diversity, Selection, anchors, list_means};
use super::*;
use crate::error::{ErrorKind, Result};
use crate::kernel::{CpuPath, Kernels, SplitMix64};
use crate::metric::Element;

/// Threads of the standard library that take tasks in turn.
struct Threads(usize);

impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    loop {
                        // From the end, so that no test passes because parts happen to come in order.
                        let taken = next.fetch_add(1, Ordering::Relaxed);
                        if taken >= tasks {
                            return;
                        }
                        task(tasks - 1 - taken);
                    }
                });
            }
        });
    }
}

fn work(parallel: &dyn Parallel) -> Work<'_> {
    Work { kernels: crate::kernel::kernels(), parallel, watch: &Unwatched }
}

fn normal(draw: &mut SplitMix64) -> f32 {
    (0..4).map(|_| (draw.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum::<f32>() * 1.7
}

/// Rows around random centres.
fn mixture(rows: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut draw = SplitMix64::new(seed);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal(&mut draw)).collect();
    let mut values = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        let cluster = (draw.next_u64() % clusters as u64) as usize;
        values.extend(centres[cluster * dim..][..dim].iter().map(|c| c + 0.3 * normal(&mut draw)));
    }
    values
}

/// The first embeddings of the demonstration data: real text, 384 components.
fn embeddings(rows: usize) -> Vec<f32> {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/data/base.f16.npy");
    let bytes = std::fs::read(FILE).expect("the demonstration data is there");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].as_chunks::<2>().0.iter().take(rows * 384).map(|x| f16::from_le_bytes(*x).to_f32()).collect()
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The nearest centroid by plain sums in f64.
fn nearest(row: &[f32], centroids: &Centroids) -> (f64, usize) {
    let distances = centroids.values().chunks_exact(row.len()).map(|c| squared(row, c));
    distances.enumerate().fold((f64::INFINITY, 0), |best, (at, d)| if d < best.0 { (d, at) } else { best })
}

fn error(values: &[f32], centroids: &Centroids) -> f64 {
    let dim = centroids.dim();
    values.chunks_exact(dim).map(|row| nearest(row, centroids).0).sum::<f64>() / (values.len() / dim) as f64
}

/// Lloyd's algorithm as it stands in books: random rows, full comparisons, f64.
fn plain_lloyd(values: &[f32], dim: usize, count: usize, passes: usize) -> Centroids {
    let mut draw = SplitMix64::new(77);
    let rows: Vec<&[f32]> = values.chunks_exact(dim).collect();
    let mut picks: Vec<usize> = (0..rows.len()).collect();
    (0..count).for_each(|i| picks.swap(i, i + (draw.next_u64() % (rows.len() - i) as u64) as usize));
    let mut centroids = Centroids::new(picks[..count].iter().flat_map(|i| rows[*i].to_vec()).collect(), dim).unwrap();
    for _ in 0..passes {
        let lists: Vec<usize> = rows.iter().map(|row| nearest(row, &centroids).1).collect();
        let mut values = centroids.values().to_vec();
        for (list, mean) in values.chunks_exact_mut(dim).enumerate() {
            let members: Vec<&[f32]> =
                rows.iter().zip(&lists).filter(|(_, l)| **l == list).map(|(row, _)| *row).collect();
            for (i, mean) in mean.iter_mut().enumerate().filter(|_| !members.is_empty()) {
                *mean = (members.iter().map(|row| f64::from(row[i])).sum::<f64>() / members.len() as f64) as f32;
            }
        }
        centroids = Centroids::new(values, dim).unwrap();
    }
    centroids
}

fn bits(centroids: &Centroids) -> Vec<u32> {
    centroids.values().iter().map(|x| x.to_bits()).collect()
}

struct Everything {
    centroids: Vec<u32>,
    lists: Vec<u32>,
    seconds: Vec<u32>,
    distances: Vec<u32>,
}

fn train_and_assign(work: &Work<'_>, values: &[f32], dim: usize, training: &Training) -> Everything {
    let points = Rows::new(values, dim).unwrap();
    let centroids = train(work, &points, training).unwrap().centroids.rounded(Element::F16);
    let assigner = Assigner::new(work, &centroids, training.probes, Some(Spill::default())).unwrap();
    let mut lists = vec![9; points.count()];
    let (mut seconds, mut distances) = (lists.clone(), vec![0.0; points.count()]);
    let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: Some(&mut distances) };
    assigner.assign(work, &points, 0, places).unwrap();
    let distances = distances.into_iter().map(f32::to_bits).collect();
    Everything { centroids: bits(&centroids), lists, seconds, distances }
}

fn assert_same(a: &Everything, b: &Everything, what: &str) {
    assert!(a.centroids == b.centroids, "centroids differ: {what}");
    assert!(a.lists == b.lists && a.seconds == b.seconds, "lists differ: {what}");
    assert!(a.distances == b.distances, "distances differ: {what}");
}

#[test]
fn threads_do_not_change_a_bit() {
    // Flat, and with super-lists; a dimension that fills no lane.
    for (rows, dim, nlist) in [(3_000, 19, 40), (9_000, 24, 700)] {
        let values = mixture(rows, dim, nlist / 2, 5);
        let training = Training { rows_per_list: 12, ..Training::new(nlist) };
        let expected = train_and_assign(&work(&Serial), &values, dim, &training);
        for threads in [1, 2, 3, 7] {
            let got = train_and_assign(&work(&Threads(threads)), &values, dim, &training);
            assert_same(&got, &expected, &format!("{threads} threads, {nlist} lists"));
        }
    }
}

#[test]
fn instruction_sets_do_not_change_a_bit() {
    for (rows, dim, nlist) in [(700, 70, 33), (2_400, 17, 600)] {
        let values = mixture(rows, dim, nlist, 6);
        let training = Training { rows_per_list: 4, passes: 2, ..Training::new(nlist) };
        let scalar = Work { kernels: Kernels::scalar(), ..work(&Serial) };
        let expected = train_and_assign(&scalar, &values, dim, &training);
        for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
            let got = train_and_assign(&Work { kernels, ..scalar }, &values, dim, &training);
            assert_same(&got, &expected, kernels.path().name());
        }
    }
}

#[test]
fn a_row_gets_the_same_lists_alone_and_among_others() {
    let (dim, nlist) = (20, 600);
    let values = mixture(3_000, dim, 300, 8);
    let points = Rows::new(&values, dim).unwrap();
    let work = work(&Serial);
    let centroids = train(&work, &points, &Training { rows_per_list: 5, ..Training::new(nlist) }).unwrap().centroids;
    let assigner = Assigner::new(&work, &centroids, 4, Some(Spill::default())).unwrap();
    let assign = |first: usize, count: usize| {
        let (mut lists, mut seconds) = (vec![0; count], vec![0; count]);
        let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: None };
        assigner.assign(&work, &points, first, places).unwrap();
        (lists, seconds)
    };
    let (lists, seconds) = assign(0, 3_000);
    for row in (0..3_000).step_by(61) {
        assert_eq!(assign(row, 1), (vec![lists[row]], vec![seconds[row]]));
    }
    let (later, _) = assign(1_500, 700);
    assert_eq!(later, lists[1_500..2_200]);
}

#[test]
fn on_real_embeddings_the_error_is_that_of_plain_lloyd() {
    let values = embeddings(2_400);
    let plain = error(&values, &plain_lloyd(&values, 384, 48, 6));
    let points = Rows::new(&values, 384).unwrap();
    let training = Training { rows_per_list: usize::MAX, passes: 6, oversize: Oversize::Keep, ..Training::new(48) };
    let trained = train(&work(&Threads(2)), &points, &training).unwrap();
    let ours = error(&values, &trained.centroids);
    assert_eq!(trained.centroids.count(), 48);
    assert!(ours <= plain * 1.01, "{ours} against {plain}");
    assert!(trained.errors.windows(2).all(|two| two[1] <= two[0] * 1.000_01), "errors fall: {:?}", trained.errors);
}

#[test]
fn with_super_lists_almost_every_row_gets_its_nearest_list() {
    let values = embeddings(5_000);
    let points = Rows::new(&values, 384).unwrap();
    let work = work(&Threads(2));
    let training = Training { rows_per_list: 9, passes: 2, oversize: Oversize::Keep, ..Training::new(550) };
    let centroids = train(&work, &points, &training).unwrap().centroids;
    let assigner = Assigner::new(&work, &centroids, 8, None).unwrap();
    let (mut lists, mut distances) = (vec![0; 500], vec![0.0; 500]);
    let places = Places { lists: &mut lists, seconds: None, distances: Some(&mut distances) };
    assigner.assign(&work, &points, 4_500, places).unwrap();
    let mut found = 0;
    let (mut total, mut least) = (0.0, 0.0);
    for ((row, list), distance) in values[4_500 * 384..].chunks_exact(384).zip(lists).zip(distances) {
        let best = nearest(row, &centroids);
        found += usize::from(best.1 == list as usize);
        assert!((f64::from(distance) - squared(row, centroids.get(list as usize).unwrap())).abs() < 1e-4);
        (total, least) = (total + f64::from(distance), least + best.0);
    }
    assert!(found >= 475, "{found} of 500");
    assert!(total <= least * 1.005, "{total} against {least}");
}

#[test]
fn second_lists_have_nearly_the_least_loss_of_all() {
    let values = embeddings(2_000);
    let points = Rows::new(&values, 384).unwrap();
    let work = work(&Serial);
    let centroids = train(&work, &points, &Training::new(60)).unwrap().centroids;
    let assigner = Assigner::new(&work, &centroids, 8, Some(Spill { lambda: 1.0 })).unwrap();
    let (mut lists, mut seconds) = (vec![0; 300], vec![0; 300]);
    let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: None };
    assigner.assign(&work, &points, 0, places).unwrap();
    let mut same = 0;
    let (mut total, mut best) = (0.0, 0.0);
    for (row, (first, second)) in values.chunks_exact(384).zip(lists.iter().zip(&seconds)) {
        assert_ne!(first, second);
        let own = centroids.get(*first as usize).unwrap();
        let loss = |list: usize| {
            let other = centroids.get(list).unwrap();
            let along: f64 =
                row.iter().zip(other).zip(own).map(|((x, c), o)| f64::from(x - c) * f64::from(x - o)).sum();
            squared(row, other) + along * along / squared(row, own)
        };
        let all = (0..centroids.count()).filter(|list| *list != *first as usize);
        let least = all.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap();
        same += usize::from(least == *second as usize);
        (total, best) = (total + loss(*second as usize), best + loss(least));
    }
    assert!(same >= 240 && total <= best * 1.01, "{same} of 300, loss {}", total / best);
}

#[test]
fn few_rows_make_few_lists() {
    for (rows, nlist) in [(1, 1), (1, 50), (6, 4), (6, 1000), (99, 10), (99, 99), (99, 3_000)] {
        let values = mixture(rows, 12, rows, 3);
        let points = Rows::new(&values, 12).unwrap();
        let work = work(&Serial);
        let trained = train(&work, &points, &Training::new(nlist)).unwrap();
        let count = trained.centroids.count();
        assert!(count <= rows && (count >= nlist.min(rows) || count * 3 >= rows), "{count} of {rows}, {nlist}");
        let assigner = Assigner::new(&work, &trained.centroids, 8, Some(Spill::default())).unwrap();
        let (mut lists, mut seconds) = (vec![0; rows], vec![0; rows]);
        let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: None };
        assigner.assign(&work, &points, 0, places).unwrap();
        assert!(lists.iter().all(|list| (*list as usize) < count));
        assert!(seconds.iter().all(|list| if count == 1 { *list == NO_LIST } else { (*list as usize) < count }));
        assert!((0..count).all(|list| lists.contains(&(list as u32))), "no list is empty: {lists:?}");
    }
}

#[test]
fn equal_rows_share_a_list_and_make_no_more_lists_than_there_are_rows() {
    let five = mixture(5, 16, 5, 1);
    for (copies, nlist) in [(40, 64), (400, 600)] {
        let values: Vec<f32> = (0..copies).flat_map(|_| five.clone()).collect();
        let points = Rows::new(&values, 16).unwrap();
        let trained = train(&work(&Serial), &points, &Training::new(nlist)).unwrap();
        assert_eq!(trained.centroids.count(), 5, "{nlist}");
        assert!(error(&values, &trained.centroids) < 1e-12);
    }
}

#[test]
fn rows_of_any_size_and_place_are_clustered_alike() {
    let plain = mixture(400, 8, 6, 2);
    let lists_of = |values: &[f32]| {
        let training = Training { oversize: Oversize::Keep, ..Training::new(6) };
        train_and_assign(&work(&Serial), values, 8, &training).lists
    };
    let expected = lists_of(&plain);
    for scale in [2.0_f32.powi(14), 2.0_f32.powi(-9)] {
        assert_eq!(lists_of(&plain.iter().map(|x| x * scale).collect::<Vec<_>>()), expected, "{scale}");
    }
    for scale in [1e30, 1e-30, 1e-41, 3e37] {
        let values: Vec<f32> = plain.iter().map(|x| x * scale).collect();
        let points = Rows::new(&values, 8).unwrap();
        let trained = train(&work(&Serial), &points, &Training::new(6)).unwrap();
        assert!(trained.centroids.count() == 6 && trained.errors.iter().all(|e| e.is_finite()), "{scale}");
    }
    // Far from the origin; many lists, so that the luck of the first rows evens out.
    let far: Vec<f32> = plain.iter().map(|x| x + 1000.0).collect();
    let points = Rows::new(&far, 8).unwrap();
    let trained = train(&work(&Serial), &points, &Training { passes: 8, ..Training::new(60) }).unwrap();
    let (is, best) = (error(&far, &trained.centroids), error(&plain, &plain_lloyd(&plain, 8, 60, 8)));
    assert!(is <= best * 1.05, "{is} against {best}");
}

#[test]
fn extreme_dimensions_and_constant_rows_work() {
    for (dim, rows) in [(1, 300), (4_096, 40)] {
        let values = mixture(rows, dim, 10, 4);
        let points = Rows::new(&values, dim).unwrap();
        let trained = train(&work(&Serial), &points, &Training::new(8)).unwrap();
        assert!(
            trained.centroids.count() >= 8
                && error(&values, &trained.centroids) < error(&values, &plain_lloyd(&values, dim, 1, 1))
        );
    }
    let zero = vec![0.0; 700 * 5];
    let trained = train(&work(&Serial), &Rows::new(&zero, 5).unwrap(), &Training::new(600)).unwrap();
    assert_eq!(trained.centroids.values(), [0.0; 5]);
}

#[test]
fn an_empty_list_takes_half_of_the_largest() {
    // Two distant heaps of very different size: with this many lists the small one runs dry in some pass.
    let mut values = mixture(3_000, 4, 1, 9);
    values.extend(mixture(30, 4, 1, 10).iter().map(|x| x + 1e3));
    let points = Rows::new(&values, 4).unwrap();
    let training = Training { rows_per_list: usize::MAX, oversize: Oversize::Keep, ..Training::new(1_500) };
    let trained = train(&work(&Serial), &points, &training).unwrap();
    assert!(trained.reseeded > 0);
    assert_eq!(trained.centroids.count(), 1_500);
}

#[test]
fn oversized_lists_are_halved_only_when_asked_for() {
    // Lists of five rows in the mean: chance makes some much larger.
    let values = mixture(1_000, 6, 1, 11);
    let points = Rows::new(&values, 6).unwrap();
    let sizes = |oversize| {
        let training = Training { rows_per_list: usize::MAX, oversize, ..Training::new(200) };
        let work = work(&Serial);
        let centroids = train(&work, &points, &training).unwrap().centroids;
        let mut lists = vec![0; 1_000];
        let assigner = Assigner::new(&work, &centroids, 8, None).unwrap();
        assigner.assign(&work, &points, 0, Places { lists: &mut lists, ..Places::default() }).unwrap();
        let mut sizes = vec![0; centroids.count()];
        lists.iter().for_each(|list| sizes[*list as usize] += 1);
        (centroids.count(), sizes.into_iter().max().unwrap())
    };
    let (kept, largest) = sizes(Oversize::Keep);
    assert_eq!(kept, 200);
    assert!(largest > 12, "{largest}");
    let (halved, smaller) = sizes(Oversize::Halve(2.0));
    assert!((201..=250).contains(&halved), "{halved}");
    assert!(smaller <= 12, "{smaller} after {largest}");
}

/// Rows that fail to be read, or count how much is read at once.
struct Watched<'a> {
    rows: Rows<'a>,
    largest: AtomicUsize,
    fail_at: usize,
}

impl Points for Watched<'_> {
    fn count(&self) -> usize {
        self.rows.count()
    }
    fn dim(&self) -> usize {
        self.rows.dim()
    }
    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.largest.fetch_max(out.len() / self.dim(), Ordering::Relaxed);
        if (start..start + out.len() / self.dim()).contains(&self.fail_at) {
            return Err(crate::error::Error::new(ErrorKind::Io, "the disk is gone"));
        }
        self.rows.read(start, out)
    }
}

#[test]
fn rows_are_read_in_blocks_and_a_failing_source_ends_the_work() {
    let values = mixture(20_000, 4, 50, 12);
    let mut points = Watched { rows: Rows::new(&values, 4).unwrap(), largest: 0.into(), fail_at: usize::MAX };
    let work = work(&Threads(3));
    let centroids = train(&work, &points, &Training::new(100)).unwrap().centroids;
    let assigner = Assigner::new(&work, &centroids, 8, None).unwrap();
    let mut lists = vec![0; 20_000];
    assigner.assign(&work, &points, 0, Places { lists: &mut lists, ..Places::default() }).unwrap();
    assert!(points.largest.load(Ordering::Relaxed) <= 1_024);
    points.fail_at = 13_333;
    let failed = assigner.assign(&work, &points, 0, Places { lists: &mut lists, ..Places::default() });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    let all = Training { rows_per_list: usize::MAX, ..Training::new(100) };
    assert_eq!(train(&work, &points, &all).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn the_budget_shrinks_the_sample_and_is_refused_when_it_cannot_do() {
    let values = mixture(6_000, 32, 20, 13);
    let points = Rows::new(&values, 32).unwrap();
    let work = work(&Serial);
    let mut training = Training { rows_per_list: 50, ..Training::new(100) };
    assert_eq!(train(&work, &points, &training).unwrap().sample_rows, 5_000);
    training.budget_bytes = training.bytes(2_000, 32, 1);
    assert_eq!(train(&work, &points, &training).unwrap().sample_rows, 2_000);
    training.budget_bytes = training.bytes(99, 32, 1);
    let refused = train(&work, &points, &training).unwrap_err();
    assert_eq!((refused.kind(), refused.argument_name()), (ErrorKind::InvalidArgument, Some("budget_bytes")));
}

#[test]
fn nonsense_is_refused() {
    let work = work(&Serial);
    let rows = |values| Rows::new(values, 2).unwrap();
    let refused = |result: Result<Trained>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(Rows::new(&[1.0; 3], 2).is_err() && Rows::new(&[], 0).is_err());
    refused(train(&work, &rows(&[]), &Training::new(3)));
    refused(train(&work, &rows(&[1.0, 2.0]), &Training::new(0)));
    refused(train(&work, &rows(&[1.0, f32::NAN, 0.0, 0.0]), &Training::new(1)));
    refused(train(&work, &rows(&[1.0, f32::INFINITY, 0.0, 0.0]), &Training::new(2)));
    let centroids = Centroids::new(vec![0.0; 4], 2).unwrap();
    let assigner = Assigner::new(&work, &centroids, 8, None).unwrap();
    let (mut lists, mut seconds) = ([0; 2], [0; 2]);
    let assign = |points: &Rows<'_>, first, places: Places<'_>| {
        assigner.assign(&work, points, first, places).unwrap_err().kind()
    };
    let two = rows(&[0.0; 4]);
    assert_eq!(assign(&two, 1, Places { lists: &mut lists, ..Places::default() }), ErrorKind::InvalidArgument);
    let wrong = Rows::new(&[0.0; 6], 3).unwrap();
    assert_eq!(assign(&wrong, 0, Places { lists: &mut lists, ..Places::default() }), ErrorKind::InvalidArgument);
    let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: None };
    assert_eq!(assign(&two, 0, places), ErrorKind::InvalidArgument);
}

/// Cancels after some questions, and counts reports.
struct Patience {
    left: AtomicUsize,
    reports: AtomicUsize,
}

impl Watch for Patience {
    fn progress(&self, progress: Progress) {
        assert!(progress.done <= progress.total);
        self.reports.fetch_add(1, Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn work_reports_and_ends_when_cancelled_at_any_part() {
    let values = mixture(4_000, 8, 30, 14);
    let points = Rows::new(&values, 8).unwrap();
    let run = |left: usize| {
        let watch = Patience { left: left.into(), reports: 0.into() };
        let work = Work { watch: &watch, ..work(&Threads(2)) };
        let result = train(&work, &points, &Training { rows_per_list: 4, ..Training::new(600) });
        (result.map(|_| ()), watch.reports.into_inner(), left - watch.left.into_inner())
    };
    let (done, reports, asked) = run(1 << 20);
    done.unwrap();
    assert!(reports > 20);
    for left in (0..asked).step_by((asked / 9).max(1)) {
        assert_eq!(run(left).0.unwrap_err().kind(), ErrorKind::Cancelled, "{left} of {asked}");
    }
}

fn choose(values: &[f32], dim: usize, selection: Selection<'_>, count: usize) -> Result<Anchors> {
    let training = Training { rows_per_list: usize::MAX, ..Training::new(count) };
    anchors(&work(&Threads(2)), &Rows::new(values, dim).unwrap(), selection, &training)
}

#[test]
fn every_selection_ends_in_means_of_lists() {
    let values = embeddings(1_500);
    let groups: Vec<u32> = (0..1_500).map(|i| i % 3).collect();
    let selections = [
        Selection::Random,
        Selection::KMeans,
        Selection::MaxCoverage(Diversity::Cosine(0.2)),
        Selection::Stratified { groups: &groups, minimum: 2 },
    ];
    let one = error(&values, &choose(&values, 384, Selection::KMeans, 1).unwrap().centroids);
    for selection in selections {
        let chosen = choose(&values, 384, selection, 40).unwrap();
        assert_eq!(chosen.centroids.count(), 40, "{selection:?}");
        let ours = error(&values, &chosen.centroids);
        assert!(ours < 0.95 * one, "{selection:?}: {ours} against {one}");
        if !chosen.rows.is_empty() {
            let points: Vec<f32> = chosen.rows.iter().flat_map(|row| values[row * 384..][..384].to_vec()).collect();
            let points = Centroids::new(points, 384).unwrap();
            assert!(ours < 0.95 * error(&values, &points), "means are nearer than the rows chosen");
            let rows = Rows::new(&values, 384).unwrap();
            assert_eq!(list_means(&work(&Serial), &rows, &points, 8).unwrap(), chosen.centroids);
        }
        assert_eq!(bits(&choose(&values, 384, selection, 40).unwrap().centroids), bits(&chosen.centroids));
    }
}

#[test]
fn random_rows_are_distinct_and_differ_by_seed() {
    let values = mixture(300, 4, 300, 15);
    let chosen = choose(&values, 4, Selection::Random, 120).unwrap().rows;
    assert!(chosen.len() == 120 && chosen.windows(2).all(|two| two[0] < two[1]) && chosen[119] < 300);
    let points = Rows::new(&values, 4).unwrap();
    let training = Training { seed: 1, ..Training::new(120) };
    assert_ne!(anchors(&work(&Serial), &points, Selection::Random, &training).unwrap().rows, chosen);
    assert_eq!(choose(&values, 4, Selection::Random, 900).unwrap().rows, (0..300).collect::<Vec<_>>());
}

#[test]
fn coverage_finds_planted_outliers_and_keeps_its_distance() {
    let mut values: Vec<f32> = mixture(900, 16, 3, 16).iter().map(|x| x * 0.05 + 1.0).collect();
    let outliers = [100, 411, 777];
    for (i, row) in outliers.into_iter().enumerate() {
        values[row * 16..][..16].iter_mut().enumerate().for_each(|(at, x)| *x = if at == i { -30.0 } else { 0.0 });
    }
    let chosen = choose(&values, 16, Selection::MaxCoverage(Diversity::Cosine(0.0)), 5).unwrap().rows;
    assert!(outliers.iter().all(|row| chosen.contains(row)), "{chosen:?}");
    let all = choose(&values, 16, Selection::MaxCoverage(Diversity::Cosine(0.2)), 500).unwrap().rows;
    assert!((4..20).contains(&all.len()), "stops early: {}", all.len());
    let cosine = |a: usize, b: usize| {
        let (a, b) = (&values[a * 16..][..16], &values[b * 16..][..16]);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| cosine(*a, *b) >= 0.2 - 1e-6));
    }
    assert!(choose(&values, 16, Selection::MaxCoverage(Diversity::L2(f32::NAN)), 5).is_err());
}

#[test]
fn strata_get_their_shares() {
    let values = mixture(1_000, 8, 60, 17);
    let groups: Vec<u32> = (0..1_000)
        .map(|i| {
            if i < 600 {
                7
            } else if i < 900 {
                0
            } else {
                40
            }
        })
        .collect();
    // In the order of group numbers: 0, 7, 40.
    let chosen = choose(&values, 8, Selection::Stratified { groups: &groups, minimum: 0 }, 50).unwrap();
    assert_eq!(chosen.shares, [15, 30, 5]);
    assert_eq!(chosen.centroids.count(), 50);
    let chosen = choose(&values, 8, Selection::Stratified { groups: &groups, minimum: 9 }, 50).unwrap();
    assert_eq!(chosen.shares, [14, 27, 9]);
    assert!(choose(&values, 8, Selection::Stratified { groups: &groups, minimum: 20 }, 50).is_err());
    assert!(choose(&values, 8, Selection::Stratified { groups: &groups[1..], minimum: 0 }, 50).is_err());
}
