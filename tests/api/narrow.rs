//! Vectors of numbers that need fewer bits than the row format has: their files are shorter, and nothing else tells.

use std::path::Path;

use stratavec::{
    Access, Background, Collection, Compact, Compaction, Effort, Filter, Hits, IdKind, Include, IndexKind, IvfOptions,
    Metric, OpenOptions, RowFormat, Schema, Snapshot, Verify,
};

const DIM: usize = 24;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

fn options(access: Access) -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual).access(access)
}

fn number(id: u64, i: usize) -> u64 {
    (id * 31 + i as u64 * 17 + id * i as u64 * 7) % 251
}

/// Whole numbers, numbers of few bits, and others.
const KINDS: [fn(u64) -> f32; 3] = [|n| n as f32, |n| n as f32 / 4.0 - 31.0, |n| n as f32 / 3.0];

fn vector(kind: usize, id: u64) -> Vec<f32> {
    (0..DIM).map(|i| KINDS[kind](number(id, i))).collect()
}

/// Rows of each kind in a file of their own, and some in memory. In each file is a row, dead by now, that makes it `long`, or does not.
fn collection(path: &Path, metric: Metric, index: IndexKind, long: bool) -> Collection {
    let schema = Schema::new(DIM, metric).ids(IdKind::U64).index(index).seed(8);
    let c = Collection::create(path, schema, options(Access::Mmap)).unwrap();
    for kind in 0..3 {
        let (first, other) = (kind as u64 * 200, 10_000 + kind as u64);
        let mut batch = c.batch();
        (first..first + 200).for_each(|id| {
            batch.upsert(id, &vector(kind, id));
        });
        batch.upsert(other, &[if long { 0.1 } else { 3.0 }; DIM]);
        batch.commit().unwrap();
        c.flush().unwrap();
        c.delete(other).unwrap();
    }
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    (0..20).for_each(|id| {
        c.upsert(id * 20, &vector(0, id + 900)).unwrap();
    });
    c
}

fn vector_bytes(c: &Collection) -> u64 {
    c.stats().sections.iter().find(|(section, _)| *section == "vectors").map_or(0, |(_, bytes)| *bytes)
}

fn seen(hits: &Hits) -> Vec<(u64, u32, Option<Vec<f32>>)> {
    hits.iter().map(|hit| (hit.id.as_u64().unwrap(), hit.distance.to_bits(), hit.vector.clone())).collect()
}

/// All that a user can read.
fn answers(snapshot: &Snapshot) -> Vec<Vec<(u64, u32, Option<Vec<f32>>)>> {
    let mut all = vec![
        snapshot
            .iter()
            .map(|item| item.unwrap())
            .map(|item| (item.id.as_u64().unwrap(), item.seq as u32, Some(item.vector)))
            .collect(),
    ];
    for n in 0..30 {
        let query: Vec<f32> = vector(n as usize % 3, n + 2_000).iter().map(|x| x + 0.3).collect();
        let search = |effort| snapshot.search(&query).k(15).effort(effort).include(Include::VECTOR);
        let few = Effort::Probe { nprobe: 3, patience: usize::MAX };
        let some = Filter::ids((0..600u64).filter(|id| id % 7 == n % 7));
        let found = search(Effort::Exact).run().unwrap();
        let bound = found[7].distance;
        all.extend([
            seen(&found),
            seen(&search(few).run().unwrap()),
            seen(&search(few).filter(some.clone()).run().unwrap()),
            seen(&search(Effort::Exact).filter(some).run().unwrap()),
            seen(&search(Effort::Exact).max_distance(bound).run().unwrap()),
        ]);
        all.extend(snapshot.search_batch(&[&query, &query]).k(3).effort(few).run().unwrap().iter().map(seen));
        let item = snapshot.get(n * 19).unwrap().unwrap();
        all.push(vec![(n * 19, 0, Some(item.vector))]);
    }
    all
}

/// [ROW-12]
#[test]
fn no_answer_tells_how_long_the_components_in_files_are() {
    let lists = IndexKind::Ivf(IvfOptions::auto().nlist(12));
    for (metric, index) in METRICS.into_iter().flat_map(|m| [IndexKind::Flat, lists].map(|index| (m, index))) {
        let dir = tempfile::tempdir().unwrap();
        let [short, long] = ["short", "long"].map(|name| dir.path().join(name));
        let (a, b) = (collection(&short, metric, index, false), collection(&long, metric, index, true));
        let rows = DIM as u64 * 201;
        assert!(vector_bytes(&b) >= vector_bytes(&a) + 3 * rows, "{} and {}", vector_bytes(&a), vector_bytes(&b));
        let wanted = answers(&b.snapshot());
        assert!(answers(&a.snapshot()) == wanted, "{metric:?} {index:?}");
        for c in [a, b] {
            c.close().unwrap();
        }
        // What was in memory is in files now, and its codes tell a little less of it.
        let ways = [(&long, Access::Mmap), (&long, Access::Pread), (&short, Access::Mmap), (&short, Access::Pread)];
        let opened = ways.map(|(path, access)| answers(&Collection::open(path, options(access)).unwrap().snapshot()));
        assert!(opened.iter().all(|answers| *answers == opened[0]), "{metric:?} {index:?}: opened again");
        let merged = [(&long, Access::Mmap), (&short, Access::Pread)].map(|(path, access)| {
            let c = Collection::open(path, options(access)).unwrap();
            c.compact(Compact::Full).unwrap().wait().unwrap();
            let all = (answers(&c.snapshot()), vector_bytes(&c));
            c.close().unwrap();
            let report = Collection::verify(path, Verify::Full).unwrap();
            assert!(report.is_sound(), "{:?}", report.findings);
            all
        });
        assert!(merged[0] == merged[1], "{metric:?} {index:?}: merged");
    }
}

/// One row makes a file long; when it is gone, a merge makes it short.
#[test]
fn a_merge_makes_a_file_short_again() {
    for (format, least) in [(RowFormat::F32, 4), (RowFormat::F16, 2), (RowFormat::Bf16, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).rows(format);
        let c = Collection::create(dir.path().join("c"), schema, options(Access::Mmap)).unwrap();
        let mut batch = c.batch();
        (0..100).for_each(|id| {
            batch.upsert(id, &vector(0, id));
        });
        batch.upsert(100, &[0.1; DIM]);
        batch.commit().unwrap();
        c.flush().unwrap();
        let before = vector_bytes(&c);
        assert_eq!(before, 101 * (DIM as u64 * least + 16));
        c.delete(100u64).unwrap();
        c.flush().unwrap();
        c.compact(Compact::Full).unwrap().wait().unwrap();
        assert_eq!(vector_bytes(&c), 100 * (DIM as u64 + 16), "{format:?}");
        for id in 0..100u64 {
            assert_eq!(c.snapshot().get(id).unwrap().unwrap().vector, vector(0, id));
        }
    }
}

/// What lists read from row files is told as it is.
#[test]
fn a_search_says_how_many_bytes_of_vectors_it_read() {
    let lists = IndexKind::Ivf(IvfOptions::auto().nlist(40));
    let bytes = [3.0, 0.1].map(|x| {
        let dir = tempfile::tempdir().unwrap();
        let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists);
        let c = Collection::create(dir.path().join("c"), schema, options(Access::Mmap)).unwrap();
        let items = (0..400u64).map(|id| (id, vector(0, id).iter().map(|y| x + y).collect::<Vec<f32>>()));
        c.bulk_load(items.collect::<Vec<_>>()).unwrap().wait().unwrap();
        c.compact(Compact::Auto).unwrap().wait().unwrap();
        let snapshot = c.snapshot();
        let query = vec![90.0; DIM];
        let hits =
            snapshot.search(&query).k(5).effort(Effort::Probe { nprobe: 2, patience: usize::MAX }).run().unwrap();
        let explain = hits.explain();
        assert!(explain.rows_scored > 0);
        explain.bytes_read / explain.rows_scored
    });
    assert_eq!(bytes, [DIM as u64, 4 * DIM as u64]);
}
