//! Readers in other processes: C10. The processes are played by handles that share nothing but a disk; the `durability` suite
//! has real ones.

use std::sync::Arc;

use stratavec::storage::testing::{MemDir, Op, TraceDir};
use stratavec::{Collection, Durability, Follower};
use stratavec_tests::MeddledDir;

use super::{create, open, rows};

/// Every call a follower may make.
const READS: [Op; 5] = [Op::List, Op::Open, Op::Len, Op::ReadAt, Op::Map];

fn follow(disk: &MemDir) -> Follower {
    Collection::open_read_only_in(Arc::new(disk.clone())).expect("open read-only")
}

/// [C10] a reader shows everything that was acknowledged before it looked, also when the writer commits and replaces files
/// between any two of its calls; never less than before; and it writes nothing.
#[test]
pub fn a_follower_sees_everything_acknowledged_and_only_reads() {
    let batch = |c: &Collection, n: u64| {
        let mut batch = c.batch();
        batch.upsert(n, &[n as f32, 0.0]);
        batch.upsert(100u64, &[n as f32, 1.0]);
        batch.commit_with(Durability::Os).expect("commit");
    };
    for call in 0..40 {
        let disk = MemDir::new(10);
        let c = create(&disk);
        batch(&c, 1);
        let place = Arc::new(MeddledDir::new(disk.clone()));
        let traced = Arc::new(TraceDir::new(place.clone()));
        let follower = Collection::open_read_only_in(traced.clone()).expect("open read-only");
        c.flush().expect("flush");
        batch(&c, 2);
        let least = c.last_seq();
        let writer = move |at| {
            if at == call {
                batch(&c, 3);
                c.flush().expect("flush");
                batch(&c, 4);
                c.flush().expect("flush");
            }
        };
        let (seq, calls) = place.meddle(writer, || follower.refresh().expect("refresh"));
        assert!((least..=4).contains(&seq), "{seq} batches at call {call}; {least} were acknowledged");
        let expected: Vec<(u64, f32)> = (1..=seq).map(|n| (n, n as f32)).chain([(100, seq as f32)]).collect();
        assert_eq!(rows(&follower.snapshot()), expected);
        assert!(follower.refresh().expect("refresh again") >= seq);
        assert!(traced.calls().iter().all(|traced| READS.contains(&traced.call.op)), "{:?}", traced.calls());
        if call >= calls {
            return;
        }
    }
    panic!("a refresh has more than 40 calls");
}

/// [C10] a batch whose commit was refused is never shown, and a crash and a recovery take nothing back.
#[test]
pub fn a_follower_shows_no_refused_batch_and_goes_on_after_a_crash() {
    let disk = MemDir::new(11);
    let c = create(&disk);
    c.upsert(1u64, &[1.0, 0.0]).expect("upsert");
    let follower = follow(&disk);
    disk.set_free_bytes(Some(0));
    let mut large = c.batch();
    (0..40_000u64).for_each(|id| {
        large.upsert(id, &[9.0, 9.0]);
    });
    let (watching, other) = (follow(&disk), disk.clone());
    disk.on_call(move |_| {
        assert_eq!(watching.refresh().expect("refresh"), 1);
        assert_eq!(follow(&other).last_seq(), 1);
    });
    large.commit().expect_err("there is no room");
    disk.clear_hook();
    disk.set_free_bytes(None);
    c.upsert(2u64, &[2.0, 0.0]).expect("upsert");
    assert_eq!(follower.refresh().expect("refresh"), 2);
    drop(c);
    let c = open(&disk);
    c.upsert(3u64, &[3.0, 0.0]).expect("upsert");
    assert_eq!(follower.refresh().expect("refresh"), 3);
    assert_eq!(rows(&follower.snapshot()), [(1, 1.0), (2, 2.0), (3, 3.0)]);
}
