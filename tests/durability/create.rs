//! Two that create a collection in one directory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, ErrorKind, IdKind, Metric, OpenOptions, Schema};
use stratavec_tests::MeddledDir;

fn schema() -> Schema {
    Schema::new(2, Metric::L2).ids(IdKind::U64)
}

/// [C19] Whichever call of a `create` a whole other one comes before: one of the two makes the collection, the other is refused, and what
/// was committed stays.
#[test]
fn of_two_creates_one_succeeds() {
    let (mut number, mut lost) = (0, 0);
    loop {
        let disk = MemDir::new(number + 1);
        let meddled = Arc::new(MeddledDir::new(disk.clone()));
        let rival = Rc::new(RefCell::new(None));
        let (told, place) = (rival.clone(), disk.clone());
        let meddler = move |call: u64| {
            if call == number {
                *told.borrow_mut() =
                    Some(Collection::create_in(Arc::new(place.clone()), schema(), OpenOptions::new()).and_then(|c| {
                        let mut batch = c.batch();
                        batch.upsert(7, &[1.0, 2.0]);
                        batch.commit()?;
                        c.close()
                    }));
            }
        };
        let (ours, calls) =
            meddled.meddle(meddler, || Collection::create_in(meddled.clone(), schema(), OpenOptions::new()));
        if number >= calls {
            break;
        }
        let rival = rival.borrow_mut().take().expect("the other was made");
        match (&ours, &rival) {
            (Ok(_), Err(_)) => {}
            (Err(error), Ok(())) => {
                lost += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidArgument, "call {number}: {error:?}");
                let c = Collection::open_in(Arc::new(disk), OpenOptions::new()).expect("the other's collection");
                assert!(c.snapshot().contains(7).expect("its row"), "call {number}");
            }
            both => panic!("call {number}: {both:?}"),
        }
        number += 1;
    }
    // Before the first look at the directory, and between that and the lock.
    assert!(lost >= 2 && number > lost, "{lost} of {number}");
}
