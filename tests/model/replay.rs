//! Cases that failed once, and a proof that failures are found, shrunk and printed as something to put here.

use stratavec::planted::{self, Bug};

use crate::operation::{Operation, Settings};
use crate::place::Place;
use crate::proof::find_failure;
use crate::random_operations::{Case, cases};
use crate::session::play;
use crate::space::any_space;

#[test]
fn a_wrong_engine_is_found_and_the_case_shrinks_to_a_few_operations() {
    let strategy = cases(any_space(), 40);
    // The switch of a planted bug belongs to this thread, so the handle must not use another one.
    let on_this_thread = |case: &Case| Settings { thread: false, ..case.settings };
    let found = planted::with(Bug::SplitUpsert, || {
        find_failure(1, 200, &strategy, |case| {
            play(case.space, on_this_thread(case), Place::memory(), &case.operations).map(drop)
        })
    });
    let found = found.expect("an upsert that is written as two records shows in the sequence numbers");
    let commits = found.case.operations.iter().filter(|op| matches!(op, Operation::Commit(..))).count();
    assert!(found.case.operations.len() <= 3 && commits <= 2, "not shrunk: {:?}", found.case);
    assert!(format!("{:?}", found.case).contains("operations: ["), "the case prints as it is written");
}
