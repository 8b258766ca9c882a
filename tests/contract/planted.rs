//! The scenes can fail: each of these bugs, switched on, must break the scene that is about it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stratavec::planted::{Bug, with};

use super::{commits, failures, followers, reads};

#[test]
fn planted_bugs_break_the_scenes_that_are_about_them() {
    let scenes: [(Bug, &str, fn()); 13] = [
        (Bug::SkipWalSync, "C3", commits::acknowledged_batches_survive_as_their_durability_says),
        (Bug::AckBeforeSync, "C4", commits::a_failed_commit_says_what_it_left),
        (Bug::SkipDirSyncAfterPublish, "C9", reads::a_flush_does_not_show_even_if_it_is_cut_short),
        (Bug::PublishBeforeSync, "C9", reads::a_flush_does_not_show_even_if_it_is_cut_short),
        (Bug::PublishBeforeSync, "C11", failures::recovery_may_be_interrupted_and_repeated),
        (Bug::RemoveBeforeDirSync, "C9", reads::a_flush_does_not_show_even_if_it_is_cut_short),
        (Bug::RetryFailedSync, "C12", failures::a_failed_sync_ends_writing_and_is_never_tried_again),
        (Bug::ServeFailedBatch, "C12", failures::a_failed_sync_ends_writing_and_is_never_tried_again),
        (Bug::AcceptBadCrc, "C14", failures::damage_is_named_with_file_and_offset),
        (Bug::IgnoreSyncedTo, "C15", failures::damage_to_the_last_group_is_a_reported_tail),
        (Bug::ApplyBeforeLog, "C4", commits::a_failed_commit_says_what_it_left),
        (Bug::IgnoreShortWrite, "C4", commits::a_failed_commit_says_what_it_left),
        (Bug::FollowerTriesOnce, "C10", followers::a_follower_sees_everything_acknowledged_and_only_reads),
    ];
    for (bug, promise, scene) in scenes {
        let held = catch_unwind(AssertUnwindSafe(|| with(bug, scene))).is_ok();
        assert!(!held, "{bug:?} is switched on, and the scene of {promise} does not notice");
    }
}
