//! When a commit is durable, and what makes it so.

use std::sync::{Arc, Barrier};

use stratavec::storage::testing::{CrashOptions, MemDir, Op, TraceDir};
use stratavec::{Background, Collection, Durability, ErrorKind, OpenOptions};

use super::scene::{Scene, inline, open, plain};

const V: [f32; 2] = [1.0, 1.0];

/// What is certain to be left after a power cut now: the fewest batches that any image shows.
fn certain(disk: &MemDir) -> u64 {
    let options = CrashOptions { exhaustive_units: 6, random_subsets: 40, ..CrashOptions::default() };
    disk.crash_images(&options).map(|image| open(&image).last_seq()).min().expect("an image")
}

fn put(c: &Collection, id: u64, level: Durability) -> stratavec::Receipt {
    let mut batch = c.batch();
    batch.upsert(id, &V);
    batch.commit_with(level).expect("commit")
}

// [C3]: the receipt says what a power cut leaves.
#[test]
fn sync_and_group_are_durable_at_once_and_os_is_when_something_makes_it_so() {
    let ways: [(&str, fn(&Collection)); 6] = [
        ("sync()", |c| assert_eq!(c.sync().expect("sync"), 4)),
        ("wait_durable()", |c| c.wait_durable(4).expect("wait_durable")),
        ("flush()", |c| c.flush().expect("flush")),
        ("a Group commit", |c| assert!(put(c, 50, Durability::Group).durable)),
        ("a Sync commit", |c| assert!(put(c, 50, Durability::Sync).durable)),
        ("wait_durable() of an older one", |c| c.wait_durable(3).expect("wait_durable")),
    ];
    for (name, make_durable) in ways {
        let s = Scene::new(plain());
        assert!(put(&s.c, 1, Durability::Sync).durable);
        assert!(put(&s.c, 2, Durability::Group).durable);
        assert_eq!((s.c.durable_seq(), certain(&s.disk)), (2, 2));
        for id in [3, 4] {
            let receipt = put(&s.c, id, Durability::Os);
            assert_eq!((receipt.seq, receipt.durable), (id, false));
            assert!(s.c.snapshot().contains(id).expect("contains"), "visible all the same");
        }
        assert_eq!((s.c.durable_seq(), certain(&s.disk)), (2, 2), "before {name}");
        make_durable(&s.c);
        assert!(s.c.durable_seq() >= 3 && certain(&s.disk) >= s.c.durable_seq(), "after {name}");
    }
    // Closing as well.
    let s = Scene::new(plain());
    put(&s.c, 1, Durability::Os);
    s.c.close().expect("close");
    assert_eq!(certain(&s.disk), 1);
}

#[test]
fn the_durability_of_the_handle_is_that_of_its_commits_unless_they_have_their_own() {
    let s = Scene::with(plain(), inline().durability(Durability::Os));
    assert!(!s.c.upsert(1u64, &V).expect("upsert").durable);
    assert!(put(&s.c, 2, Durability::Group).durable);
    assert_eq!(s.c.durable_seq(), 2, "what came before is durable too");
    let s = Scene::new(plain());
    assert!(s.c.upsert(1u64, &V).expect("upsert").durable, "Group, if nothing is said");
}

// [C5]
#[test]
fn what_the_operating_system_has_survives_the_process() {
    let s = Scene::new(plain());
    for id in 1..=20 {
        put(&s.c, id, Durability::Os);
    }
    let left_behind = s.disk.process_crash();
    let c = open(&left_behind);
    assert_eq!((c.last_seq(), c.snapshot().count(), c.durable_seq()), (20, 20, 20), "and is durable after opening");
    assert_eq!(certain(&left_behind), 20);
}

#[test]
fn waiting_for_a_batch_that_is_not_there_is_refused() {
    let s = Scene::new(plain());
    s.c.wait_durable(0).expect("nothing is durable");
    s.c.upsert(1u64, &V).expect("upsert");
    s.refuses("seq", &["is 2", "last batch has 1"], |c| c.wait_durable(2));
    s.refuses("seq", &["is 18446744073709551615"], |c| c.wait_durable(u64::MAX));
    s.c.wait_durable(1).expect("wait");
}

#[test]
fn what_is_durable_already_costs_no_sync() {
    let disk = Arc::new(TraceDir::new(MemDir::new(1)));
    let c = Collection::create_in(disk.clone(), plain(), inline()).expect("create");
    c.upsert(1u64, &V).expect("upsert");
    let syncs = || disk.calls().iter().filter(|traced| traced.call.op == Op::Sync).count();
    let before = syncs();
    c.wait_durable(1).expect("wait");
    assert_eq!(c.sync().expect("sync"), 1);
    assert_eq!(syncs(), before);
    put(&c, 2, Durability::Os);
    assert_eq!(syncs(), before, "Os takes none");
    assert_eq!(c.sync().expect("sync"), 2);
    assert_eq!(syncs(), before + 1);
}

// Group: many threads share syncs, one thread never waits for others.
#[test]
fn threads_share_syncs_under_group_and_not_under_sync() {
    const EACH: u64 = 40;
    for (level, shared) in [(Durability::Group, true), (Durability::Sync, false)] {
        let disk = super::slow_disk::SlowDisk::new(MemDir::new(3));
        disk.syncs_take(std::time::Duration::from_millis(1));
        let options = OpenOptions::new().background(Background::Inline).durability(level);
        let c = Collection::create_in(disk.clone(), plain(), options).expect("create");
        // Those that begin before others are there share with few.
        let all = Barrier::new(8);
        std::thread::scope(|scope| {
            for t in 0..8 {
                let (c, all) = (&c, &all);
                scope.spawn(move || {
                    all.wait();
                    (0..EACH).for_each(|i| assert!(c.upsert(t * 1000 + i, &V).expect("upsert").durable));
                });
            }
        });
        let stats = c.stats();
        assert_eq!((stats.batches, stats.durable_seq), (8 * EACH, 8 * EACH));
        match shared {
            true => assert!(stats.log_syncs <= 8 * EACH / 2, "{} syncs of {} batches", stats.log_syncs, 8 * EACH),
            false => assert_eq!(stats.log_syncs, 8 * EACH),
        }
    }
}

#[test]
fn a_kind_of_error_is_told_by_its_name() {
    // Fronts map these names; they must not change.
    let names = [
        (ErrorKind::InvalidArgument, "invalid_argument"),
        (ErrorKind::AlreadyExists, "already_exists"),
        (ErrorKind::NotFound, "not_found"),
        (ErrorKind::SchemaMismatch, "schema_mismatch"),
        (ErrorKind::BatchTooLarge, "batch_too_large"),
        (ErrorKind::Locked, "locked"),
        (ErrorKind::Busy, "busy"),
        (ErrorKind::Corrupt, "corrupt"),
        (ErrorKind::UnsupportedVersion, "unsupported_version"),
        (ErrorKind::NoSpace, "no_space"),
        (ErrorKind::Io, "io"),
        (ErrorKind::Poisoned, "poisoned"),
        (ErrorKind::Closed, "closed"),
        (ErrorKind::Cancelled, "cancelled"),
    ];
    names.iter().for_each(|(kind, name)| assert_eq!(kind.name(), *name));
}
