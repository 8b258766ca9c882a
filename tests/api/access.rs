//! Files mapped and files read: the same answers, other ways to fail; and searches that do not expect what they read in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stratavec::storage::testing::MemDir;
use stratavec::storage::{FileKind, FileName};
use stratavec::{
    Access, Background, Codes, Collection, Compact, Compaction, Effort, ErrorKind, Filter, Follower, Hits, IdKind,
    IdRef, Include, IndexKind, IvfOptions, MIN_MEMORY_BUDGET, Metric, OpenOptions, RowFormat, Schema, SearchMode,
    Snapshot, Spill, Verify,
};

const DIM: usize = 24;

fn vector(id: u64) -> Vec<f32> {
    let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..DIM as u64).map(|i| ((id % 13 * 31 + i * 7) % 11) as f32 / 4.0 - 1.2 + draw()).collect()
}

fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn lists_of(codes: Codes, spill: Spill) -> IndexKind {
    IndexKind::Ivf(IvfOptions::auto().nlist(40).codes(codes).spill(spill))
}

fn lists(bits: u8) -> IndexKind {
    lists_of(Codes::Bits(bits), Spill::On)
}

fn fill(c: &Collection) {
    fill_with(c, 1_500);
}

/// Rows in lists, a fifth as many in a file without lists, and some in memory; some are dead; some have payloads.
fn fill_with(c: &Collection, listed: u64) {
    let put = |range: std::ops::Range<u64>| {
        let mut batch = c.batch();
        for id in range {
            let put = match c.schema().id_kind() {
                IdKind::U64 => batch.upsert(id, &vector(id)),
                _ => batch.upsert(format!("row {id}").as_str(), &vector(id)),
            };
            if id % 7 == 0 {
                put.payload(&vec![id as u8; (id % 90) as usize]);
            }
        }
        batch.commit().unwrap();
    };
    let delete = |step: usize, to: u64| {
        let mut batch = c.batch();
        for id in (0..to).step_by(step) {
            match c.schema().id_kind() {
                IdKind::U64 => batch.delete(id),
                _ => batch.delete(format!("row {id}").as_str()),
            };
        }
        batch.commit().unwrap();
    };
    let (flushed, all) = (listed / 5 * 6, listed / 15 * 19);
    put(0..listed);
    c.flush().unwrap();
    delete(5, listed - 100);
    c.compact(Compact::Full).unwrap().wait().unwrap();
    put(listed..flushed);
    c.flush().unwrap();
    delete(17, flushed);
    put(flushed..all);
}

fn follow(disk: &MemDir, access: Access) -> Follower {
    Collection::open_read_only_with_in(Arc::new(disk.clone()), access).unwrap()
}

/// The largest file of a kind.
fn largest(disk: &MemDir, kind: FileKind) -> FileName {
    let of = |name: &FileName| name.kind() == Some(kind);
    disk.names().into_iter().filter(of).max_by_key(|name| disk.file_bytes(*name).unwrap().len()).unwrap()
}

fn queries() -> impl Iterator<Item = Vec<f32>> {
    (0..12).map(|n| vector(1_000_003 + n * 7))
}

const EFFORTS: [Effort; 6] = [
    Effort::Exact,
    Effort::Recall(0.9),
    Effort::Confidence(0.9),
    Effort::Probe { nprobe: 7, patience: usize::MAX },
    Effort::Probe { nprobe: 64, patience: usize::MAX },
    Effort::Probe { nprobe: 40, patience: 3 },
];

/// Everything that two ways to read must agree on.
fn same(one: &Snapshot, other: &Snapshot, what: &str) {
    let everything = Include::VECTOR | Include::PAYLOAD | Include::ATTRIBUTES;
    for effort in EFFORTS {
        let all: Vec<Vec<f32>> = queries().collect();
        let batch = |snapshot: &Snapshot| {
            snapshot.search_batch(&all).k(15).effort(effort).mode(SearchMode::Cold).include(everything).run().unwrap()
        };
        let (found, also) = (batch(one), batch(other));
        for ((query, found), also) in all.iter().zip(&found).zip(&also) {
            let alone =
                one.search(query).k(15).effort(effort).mode(SearchMode::Cold).include(everything).run().unwrap();
            assert_eq!((**found == *alone, **also == *alone), (true, true), "{what}, {effort:?}, together");
            assert_eq!(found.explain(), alone.explain(), "{what}, {effort:?}, together");
        }
    }
    for query in queries() {
        for effort in EFFORTS {
            let ask = |snapshot: &Snapshot, mode: SearchMode| {
                snapshot.search(&query).k(15).effort(effort).mode(mode).include(everything).run().unwrap()
            };
            let found = ask(one, SearchMode::Auto);
            assert_eq!(*found, *ask(other, SearchMode::Auto), "{what}, {effort:?}");
            assert_eq!(*found, *ask(one, SearchMode::Cold), "{what}, {effort:?}, cold");
        }
        let near = |snapshot: &Snapshot| snapshot.search(&query).k(400).max_distance(1.5).run().unwrap();
        assert_eq!(*near(one), *near(other), "{what}, near");
    }
    let items = |snapshot: &Snapshot| snapshot.iter().map(|item| item.unwrap()).collect::<Vec<_>>();
    assert_eq!(items(one), items(other), "{what}");
}

// [C16]
#[test]
fn answers_are_the_same_whether_files_are_mapped_or_read() {
    for (metric, rows, ids, index) in [
        (Metric::L2, RowFormat::F32, IdKind::U64, lists(4)),
        (Metric::Cosine, RowFormat::F16, IdKind::Bytes, lists(1)),
        (Metric::InnerProduct, RowFormat::Bf16, IdKind::U64, lists(8)),
        (Metric::Cosine, RowFormat::F32, IdKind::Bytes, IndexKind::Flat),
        (Metric::L2, RowFormat::Bf16, IdKind::U64, IndexKind::Flat),
        (Metric::L2, RowFormat::I8, IdKind::U64, lists(2)),
        (Metric::Cosine, RowFormat::None, IdKind::U64, lists(3)),
        (Metric::InnerProduct, RowFormat::None, IdKind::Bytes, lists(1)),
    ] {
        let what = format!("{metric:?} {rows:?} {ids:?} {index:?}");
        // Both ways write the same collection too.
        let made = [Access::Mmap, Access::Pread].map(|access| {
            let disk = MemDir::new(1);
            let schema = Schema::new(DIM, metric).rows(rows).ids(ids).index(index);
            let c = Collection::create_in(Arc::new(disk.clone()), schema, manual().access(access)).unwrap();
            fill(&c);
            assert!(Collection::verify_in(&disk, Verify::Full).unwrap().is_sound(), "{what}");
            (c, disk)
        });
        let [(mapped, disk), (read, _)] = &made;
        same(&mapped.snapshot(), &read.snapshot(), &what);
        let [mapped, read] = [Access::Mmap, Access::Pread].map(|access| follow(disk, access));
        same(&mapped.snapshot(), &read.snapshot(), &what);
    }
}

// [C16]
#[test]
fn lists_of_every_kind_of_codes_answer_the_same_whether_they_are_mapped_or_read() {
    let product = |m: u32, codebook_size: u32| Codes::Product { m, codebook_size };
    let metrics = [Metric::L2, Metric::Cosine, Metric::InnerProduct];
    let kinds = [Codes::Bits(3), Codes::None, product(16, 16), product(8, 64), product(8, 512)];
    for (i, codes) in kinds.into_iter().enumerate() {
        for (j, metric) in metrics.into_iter().enumerate() {
            for spill in [Spill::On, Spill::Off] {
                let rows = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16][(i + j) % 3];
                let written = [Access::Mmap, Access::Pread][(i + j) % 2];
                let schema = Schema::new(DIM, metric).rows(rows).ids(IdKind::U64).index(lists_of(codes, spill));
                let disk = MemDir::new(1);
                let c = Collection::create_in(Arc::new(disk.clone()), schema, manual().access(written)).unwrap();
                // Too few for efforts to be measured, which would take longer than all else here.
                fill_with(&c, 750);
                assert!(c.stats().models == 1, "{codes:?}");
                let [mapped, read] = [Access::Mmap, Access::Pread].map(|access| follow(&disk, access).snapshot());
                same(&mapped, &read, &format!("{metric:?} {codes:?} {spill:?}"));
            }
        }
    }
}

#[test]
fn filters_batches_and_single_rows_are_the_same_too() {
    for codes in [Codes::Bits(4), Codes::None, Codes::Product { m: 16, codebook_size: 16 }] {
        let disk = MemDir::new(1);
        let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists_of(codes, Spill::On));
        let c = Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap();
        fill(&c);
        let [mapped, read] = [Access::Mmap, Access::Pread].map(|access| follow(&disk, access).snapshot());
        filters_and_batches(&mapped, &read);
        for id in 0..2_000u64 {
            assert_eq!(mapped.get(id).unwrap(), read.get(id).unwrap());
        }
    }
}

fn filters_and_batches(mapped: &Snapshot, read: &Snapshot) {
    let filters: [Filter; 3] =
        [Filter::ids((0..900u64).step_by(3)), Filter::ids([1u64, 7, 9]), !Filter::ids((0..1_000u64).step_by(2))];
    for query in queries() {
        for filter in &filters {
            for _ in 0..3 {
                let ask = |snapshot: &Snapshot| snapshot.search(&query).k(9).filter(filter.clone()).run().unwrap();
                assert_eq!(*ask(mapped), *ask(read));
            }
        }
    }
    let all: Vec<Vec<f32>> = queries().collect();
    let all: Vec<&[f32]> = all.iter().map(|query| &query[..]).collect();
    let found = |hits: Vec<Hits>| hits.into_iter().map(|hits| hits.into_iter().collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(found(mapped.search_batch(&all).run().unwrap()), found(read.search_batch(&all).run().unwrap()));
}

#[test]
fn a_search_that_expects_nothing_in_memory_finds_the_same_and_tells_what_it_asked_for() {
    let c = Collection::create_in(
        Arc::new(MemDir::new(1)),
        Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(4)),
        manual().access(Access::Mmap),
    )
    .unwrap();
    fill(&c);
    let snapshot = c.snapshot();
    for query in queries() {
        let ask = |mode: SearchMode, nprobe: usize| {
            let effort = Effort::Probe { nprobe, patience: usize::MAX };
            snapshot.search(&query).k(10).effort(effort).mode(mode).run().unwrap()
        };
        for nprobe in [1, 4, 5, 20, 21, 38] {
            let (hot, cold) = (ask(SearchMode::Hot, nprobe), ask(SearchMode::Cold, nprobe));
            assert_eq!(*hot, *cold, "{nprobe}");
            let (hot, cold) = (hot.explain().clone(), cold.explain().clone());
            assert!(!hot.cold && cold.cold && hot.reads == 0);
            assert_eq!((hot.lists_probed, cold.lists_probed), (nprobe as u64, nprobe as u64));
            assert!(cold.reads > nprobe as u64 && cold.bytes_read > hot.bytes_read);
        }
        assert!(!ask(SearchMode::Auto, 4).explain().cold, "without a budget maps are expected in memory");
    }
    drop(snapshot);
    drop(c);
}

/// As many queries as several threads share out, in an order that none of them needs.
fn many() -> Vec<Vec<f32>> {
    (0..200).map(|n| vector(2_000_003 + n * 7)).collect()
}

#[test]
fn many_queries_that_wait_for_the_disk_are_answered_as_each_alone() {
    let asked = many();
    for (access, metric, codes, spill) in [
        (Access::Mmap, Metric::L2, Codes::Bits(4), Spill::On),
        (Access::Pread, Metric::L2, Codes::Bits(1), Spill::Off),
        (Access::Pread, Metric::Cosine, Codes::Product { m: 16, codebook_size: 16 }, Spill::On),
        (Access::Mmap, Metric::InnerProduct, Codes::None, Spill::On),
        (Access::Pread, Metric::InnerProduct, Codes::Bits(2), Spill::On),
        (Access::Pread, Metric::L2, Codes::Bits(7), Spill::On),
    ] {
        let what = format!("{access:?} {metric:?} {codes:?}");
        let schema = Schema::new(DIM, metric).ids(IdKind::U64).index(lists_of(codes, spill));
        let c = Collection::create_in(Arc::new(MemDir::new(1)), schema, manual().access(access)).unwrap();
        fill(&c);
        let snapshot = c.snapshot();
        let none = Filter::ids([3_000_000u64]);
        let filters = [
            None,
            Some(Filter::ids((0..1_900u64).step_by(2))),
            Some(Filter::ids((0..1_900u64).step_by(190))),
            Some(Filter::by(|id| matches!(id, IdRef::U64(id) if id % 50 == 1))),
            Some(none),
        ];
        for (filter, effort) in filters.iter().zip([Effort::Probe { nprobe: 7, patience: usize::MAX }; 5]) {
            // What a set of ids names is known from the second search on, and from the first of a batch on.
            for filter in filter.iter().cycle().take(filter.iter().count() * 2) {
                snapshot.search(&asked[0]).filter(filter.clone()).run().unwrap();
            }
            let alone = asked.iter().map(|query| {
                let search = snapshot.search(query).k(9).effort(effort).mode(SearchMode::Cold).max_distance(9.0);
                filter.iter().fold(search, |search, filter| search.filter(filter.clone())).run().unwrap()
            });
            let alone: Vec<Hits> = alone.collect();
            for threads in [1, 3] {
                let batch = snapshot.search_batch(&asked).k(9).effort(effort).mode(SearchMode::Cold).max_distance(9.0);
                let batch = filter.iter().fold(batch, |batch, filter| batch.filter(filter.clone()));
                let found = batch.threads(threads).run().unwrap();
                assert_eq!(found.len(), asked.len());
                for (found, alone) in found.iter().zip(&alone) {
                    assert_eq!((&**found, found.explain()), (&**alone, alone.explain()), "{what}, {filter:?}");
                }
            }
        }
        assert!(snapshot.search_batch(&asked).mode(SearchMode::Cold).run().unwrap()[0].explain().cold);
        // A query that is refused is named, wherever in the batch it stands.
        let mut bad = asked.clone();
        bad.extend([vec![f32::NAN; DIM], vec![1.0]]);
        let error = snapshot.search_batch(&bad).mode(SearchMode::Cold).threads(2).run().unwrap_err();
        assert_eq!(error.argument_name(), Some("query"));
        assert!(error.to_string().contains("NaN"), "the first that is refused: {error}");
        c.close().unwrap();
    }
}

#[test]
fn many_queries_that_wait_for_the_disk_take_no_more_memory_than_there_is() {
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(4));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap();
    fill_with(&c, 30_000);
    c.flush().unwrap();
    c.close().unwrap();
    let tight = manual().access(Access::Pread).memory_budget(MIN_MEMORY_BUDGET);
    let c = Collection::open_in(Arc::new(disk), tight).unwrap();
    let snapshot = c.snapshot();
    // One fits, two do not: rows wanted are what a search takes memory for.
    let (effort, asked) = (Effort::Probe { nprobe: 12, patience: usize::MAX }, &many()[..9]);
    let alone = |k: usize| {
        let one = |query: &Vec<f32>| snapshot.search(query).k(k).effort(effort).run();
        asked.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    let fits = |k: &usize| alone(*k).is_ok();
    let most = (1..=38).rev().map(|thousand| thousand * 1_000).find(fits).expect("few rows fit");
    let found = snapshot.search_batch(asked).k(most).effort(effort).run().unwrap();
    for (found, alone) in found.iter().zip(alone(most).unwrap()) {
        assert_eq!((&**found, found.explain()), (&*alone, alone.explain()));
    }
    assert!(c.stats().memory.peak <= MIN_MEMORY_BUDGET, "{:?}", c.stats().memory);
    // Nor so much that others find none: here a search for as many rows, by a filter.
    let (asks, inner) = (Arc::new(AtomicUsize::new(0)), snapshot.clone());
    let asked_for = asks.clone();
    let filter = Filter::by(move |_| {
        if asked_for.fetch_add(1, Ordering::Relaxed).is_multiple_of(4_000) {
            inner.search(&vector(1)).k(most / 4).effort(effort).run().unwrap();
        }
        true
    });
    let found = snapshot.search_batch(asked).k(most / 4).effort(effort).filter(filter).run().unwrap();
    assert!(found.len() == asked.len() && asks.load(Ordering::Relaxed) > 4_000);
    drop((found, snapshot));
    c.close().unwrap();
}

#[test]
fn a_batch_that_cannot_be_read_fails_and_the_next_one_does_not() {
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(4));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual().access(Access::Pread)).unwrap();
    fill(&c);
    let snapshot = c.snapshot();
    let effort = Effort::Probe { nprobe: 20, patience: usize::MAX };
    let ask = |threads: usize| snapshot.search_batch(&many()).k(5).effort(effort).threads(threads).run();
    let before = ask(1).unwrap();
    for kind in [FileKind::List, FileKind::Row] {
        let name = largest(&disk, kind);
        let len = disk.file_bytes(name).unwrap().len() as u64;
        disk.set_unreadable(name, len / 4..len / 4 * 3);
        for threads in [1, 2] {
            let error = ask(threads).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(error.to_string().contains(&name.to_string()), "{error}");
        }
        disk.set_unreadable(name, 0..0);
        let found = ask(2).unwrap();
        assert!(found.iter().zip(&before).all(|(found, before)| **found == **before));
    }
}

#[test]
fn a_collection_larger_than_its_budget_is_searched_as_not_in_memory() {
    // Bytes that cannot be packed, so that few rows are enough.
    let payload = |id: u64| -> Vec<u8> {
        let word = move |i: u64| (id << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).to_le_bytes();
        (0..6_200).flat_map(word).collect()
    };
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(2));
    let mut c = Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap();
    for (rows, cold) in [(0..600, false), (600..800, true)] {
        let mut batch = c.batch();
        for id in rows {
            batch.insert(id, &vector(id)).payload(&payload(id));
        }
        batch.commit().unwrap();
        c.flush().unwrap();
        c.compact(Compact::Full).unwrap().wait().unwrap();
        c.close().unwrap();
        let tight = manual().access(Access::Mmap).memory_budget(MIN_MEMORY_BUDGET);
        let held = Collection::open_in(Arc::new(disk.clone()), tight).unwrap();
        let effort = Effort::Probe { nprobe: 8, patience: usize::MAX };
        let hits = held.snapshot().search(&vector(7)).effort(effort).run().unwrap();
        assert_eq!((hits.explain().cold, hits.explain().lists_probed), (cold, 8), "{:?}", hits.explain());
        assert_eq!(hits[0].id, 7u64);
        held.close().unwrap();
        c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
    }
}

// [C16]
#[test]
fn a_medium_that_fails_is_an_error_and_the_rest_can_still_be_read() {
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(4));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap();
    fill(&c);
    c.close().unwrap();
    let options = || manual().access(Access::Pread);
    for kind in [FileKind::Row, FileKind::List, FileKind::IdTable] {
        let disk = disk.fork();
        let name = largest(&disk, kind);
        let c = Collection::open_in(Arc::new(disk.clone()), options()).unwrap();
        let snapshot = c.snapshot();
        // Behind tables, which are in memory, and padding.
        let len = disk.file_bytes(name).unwrap().len() as u64;
        disk.set_unreadable(name, len / 2..len / 4 * 3);
        let (mut failed, mut answered) = (0, 0);
        let mut note = |outcome: Result<(), stratavec::Error>| match outcome {
            Ok(()) => answered += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                assert!(error.to_string().contains(&name.to_string()), "{error}");
                failed += 1;
            }
        };
        for query in queries() {
            note(snapshot.search(&query).effort(Effort::Probe { nprobe: 2, patience: usize::MAX }).run().map(drop));
            note(snapshot.search(&query).effort(Effort::Exact).run().map(drop));
        }
        for id in 0..1_900u64 {
            note(snapshot.get(id).map(drop));
        }
        assert!(failed > 0 && answered > 0, "{kind:?}: {failed} {answered}");
        disk.set_unreadable(name, 0..0);
        assert_eq!(snapshot.search(&vector(11)).k(1).effort(Effort::Exact).run().unwrap()[0].id, 11u64);
    }
}

// [C16] [C14]
#[test]
fn a_flipped_bit_is_found_whenever_it_is_read() {
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists(4));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual().access(Access::Pread)).unwrap();
    fill(&c);
    let snapshot = c.snapshot();
    let exact = |snapshot: &Snapshot| snapshot.search(&vector(11)).k(3).effort(Effort::Exact).run();
    exact(&snapshot).unwrap();
    let name = largest(&disk, FileKind::Row);
    // Read and found right before: a file that is not mapped is checked again.
    let bits = 8 * disk.file_bytes(name).unwrap().len() as u64;
    assert!(disk.flip_bit(name, bits / 3 * 2));
    assert_eq!(exact(&snapshot).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(disk.corrupt(name, |bytes| bytes.truncate(bytes.len() / 2)));
    let error = exact(&snapshot).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("shorter"), "{error}");
}

#[test]
fn what_reading_keeps_is_counted_and_bounded() {
    let disk = MemDir::new(1);
    let schema = Schema::new(DIM, Metric::L2).index(lists(4));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap();
    fill(&c);
    c.close().unwrap();
    let open = |access: Access| {
        Collection::open_in(Arc::new(disk.clone()), manual().access(access).memory_budget(MIN_MEMORY_BUDGET)).unwrap()
    };
    let mapped = open(Access::Mmap).stats().memory.files;
    let c = open(Access::Pread);
    let before = c.stats().memory.files;
    assert!(before > mapped, "tables are in memory: {before} {mapped}");
    let snapshot = c.snapshot();
    for id in 0..1_900u64 {
        snapshot.get(format!("row {id}").as_str()).unwrap();
    }
    let after = c.stats().memory.files;
    assert!(after > before && after - before <= MIN_MEMORY_BUDGET / 16, "{before} {after}");
    assert_eq!(c.stats().memory.used, after);
}
