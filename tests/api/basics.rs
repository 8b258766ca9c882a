//! Write, search, change, reopen.

use stratavec::{Collection, Durability, ErrorKind, Filter, IdKind, Include, Metric, OpenOptions, RowFormat, Schema};

fn open(path: &std::path::Path) -> Collection {
    Collection::open(path, OpenOptions::default()).expect("open")
}

#[test]
fn a_written_row_is_found_at_once_and_after_reopening() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("c");
            let c = Collection::create(&path, Schema::new(3, metric).rows(rows), OpenOptions::default()).unwrap();
            let mut batch = c.batch();
            batch.upsert("x", &[1.0, 0.0, 0.0]).payload(b"ex");
            batch.upsert("y", &[0.0, 1.0, 0.0]);
            batch.upsert("z", &[0.0, 0.0, 1.0]);
            let receipt = batch.commit().unwrap();
            assert_eq!((receipt.seq, receipt.durable, receipt.inserted), (1, true, 3));
            let hits = c.snapshot().search(&[0.9, 0.1, 0.0]).k(2).include(Include::PAYLOAD).run().unwrap();
            assert_eq!(hits.len(), 2);
            assert_eq!(hits[0].id, "x");
            assert_eq!(hits[1].id, "y");
            assert_eq!(hits[0].payload.as_deref(), Some(&b"ex"[..]));
            drop(c);
            let c = open(&path);
            assert_eq!(c.snapshot().count(), 3);
            assert_eq!(c.recovery().batches_replayed, 1);
            c.close().unwrap();
            let c = open(&path);
            assert!(c.recovery().is_clean(), "{:?}", c.recovery());
            let item = c.snapshot().get("z").unwrap().unwrap();
            assert_eq!(item.approximate, rows == RowFormat::I8);
            let off =
                item.vector.iter().zip([0.0, 0.0, 1.0]).map(|(x, y): (&f32, f32)| (x - y).abs()).fold(0.0, f32::max);
            assert!(off <= if item.approximate { 2.0e-5 } else { 0.0 }, "{metric:?} {rows:?}: {:?}", item.vector);
        }
    }
}

#[test]
fn deletes_and_replacements_hold_across_flush_and_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let schema = Schema::new(2, Metric::L2).ids(IdKind::U64);
    let c = Collection::create(&path, schema, OpenOptions::default()).unwrap();
    for i in 0..100u64 {
        c.upsert(i, &[i as f32, 0.0]).unwrap();
    }
    c.flush().unwrap();
    assert!(c.delete(5u64).unwrap());
    assert!(!c.delete(5u64).unwrap());
    c.upsert(6u64, &[1000.0, 0.0]).unwrap();
    let check = |c: &Collection| {
        let snapshot = c.snapshot();
        assert_eq!(snapshot.count(), 99);
        assert!(snapshot.get(5u64).unwrap().is_none());
        assert_eq!(snapshot.get(6u64).unwrap().unwrap().vector, [1000.0, 0.0]);
        let hits = snapshot.search(&[5.1, 0.0]).k(3).run().unwrap();
        assert_eq!(hits.iter().map(|h| h.id.as_u64().unwrap()).collect::<Vec<_>>(), [4, 7, 3]);
        assert_eq!(snapshot.iter().count(), 99);
        let few = snapshot.search(&[5.1, 0.0]).filter(Filter::ids([5u64, 6, 9])).run().unwrap();
        assert_eq!(few.iter().map(|h| h.id.as_u64().unwrap()).collect::<Vec<_>>(), [9, 6]);
    };
    check(&c);
    c.flush().unwrap();
    check(&c);
    drop(c);
    let c = open(&path);
    check(&c);
    c.delete(7u64).unwrap();
    drop(c);
    let c = open(&path);
    assert_eq!(c.snapshot().count(), 98);
    c.close().unwrap();
    let report = Collection::verify(&path, stratavec::Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.rows, 98);
}

#[test]
fn many_threads_commit_and_all_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64);
    let options = OpenOptions::default().flush_bytes(64 << 10);
    let c = Collection::create(&path, schema, options).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8u64 {
            let c = &c;
            scope.spawn(move || {
                for i in 0..200u64 {
                    let mut batch = c.batch();
                    for j in 0..5 {
                        batch.upsert((t * 1000 + i) * 10 + j, &[t as f32, i as f32, j as f32, 0.0]);
                    }
                    let level = if i % 3 == 0 { Durability::Os } else { Durability::Group };
                    let receipt = batch.commit_with(level).unwrap();
                    assert!(c.snapshot().contains((t * 1000 + i) * 10).unwrap());
                    assert!(receipt.durable || level == Durability::Os);
                }
            });
        }
    });
    assert_eq!(c.snapshot().count(), 8000);
    assert!(c.stats().flushes > 0);
    drop(c);
    let c = open(&path);
    assert_eq!(c.snapshot().count(), 8000);
    for t in 0..8u64 {
        for i in (0..200u64).step_by(37) {
            let item = c.snapshot().get((t * 1000 + i) * 10 + 3).unwrap().unwrap();
            assert_eq!(item.vector, [t as f32, i as f32, 3.0, 0.0]);
        }
    }
}

#[test]
fn an_insert_of_a_present_id_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let c = Collection::create(dir.path().join("c"), Schema::new(1, Metric::L2), OpenOptions::default()).unwrap();
    c.insert("a", &[1.0]).unwrap();
    let mut batch = c.batch();
    batch.upsert("b", &[2.0]);
    batch.insert("a", &[3.0]);
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(c.snapshot().count(), 1);
    assert_eq!(c.last_seq(), 1);
}

#[test]
fn a_second_writer_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let _c = Collection::create(&path, Schema::new(1, Metric::L2), OpenOptions::default()).unwrap();
    let error = Collection::open(&path, OpenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
}
