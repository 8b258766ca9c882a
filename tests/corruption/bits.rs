//! Every bit of every file, one at a time.

use std::time::Instant;

use stratavec::storage::{FileKind, FileName};
use stratavec_fuzz_targets::fixture::{Fixture, all, all_lists};

use crate::draw::Draw;
use crate::subject::{Outcome, Subject, Tally, on_both_cores};

#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    flips: usize,
    found: usize,
    opened: usize,
    refused: usize,
    tail: usize,
    tail_lost: usize,
}

/// [C14] [C15] Every flipped bit is named by `verify`, but for those of the last group of the last log, which are reported as dropped
/// bytes; and no search or look-up gives another answer than before: the same, or `Corrupt`.
#[test]
fn every_flipped_bit_is_named_and_never_answers_wrongly() {
    let start = Instant::now();
    let subjects: Vec<Subject> = fixtures().map(Subject::new).collect();
    let mut cases: Vec<(usize, FileName, u64)> = Vec::new();
    let of_lists: Vec<&str> = all_lists().iter().map(|fixture| fixture.name).collect();
    for (i, subject) in subjects.iter().enumerate() {
        for (name, bytes) in subject.fixture.files() {
            if of_lists.contains(&subject.fixture.name) && !says_of_lists(name) {
                continue;
            }
            cases.extend((0..bytes.len() as u64 * 8).map(|bit| (i, name, bit)));
        }
    }
    // Neighbouring bits cost alike: spread them over the threads.
    let counts = on_both_cores(cases.len(), |claimed| {
        let mut counts = Counts::default();
        for (i, name, bit) in claimed.map(|case| cases[case]) {
            flip(&subjects[i], name, bit, &mut counts);
        }
        counts
    });
    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>();
    let (flips, found, tail) = (sum(|c| c.flips), sum(|c| c.found), sum(|c| c.tail));
    println!(
        "{flips} bits flipped in {:.0} s: {found} found by verify ({} of them opened, {} reads refused), {tail} dropped tails of the \
         last group ({} lost batches), 0 silent wrong answers",
        start.elapsed().as_secs_f64(),
        sum(|c| c.opened),
        sum(|c| c.refused),
        sum(|c| c.tail_lost),
    );
    assert!(flips >= 524_288 && found + tail == flips);
    let group_bits: usize = subjects.iter().map(last_group_bits).sum();
    assert!(tail <= group_bits, "{tail} dropped tails, {group_bits} bits in last groups");
}

/// Files that only a collection with lists has, or has with other tables: its others are as those of the other fixtures.
fn says_of_lists(name: FileName) -> bool {
    matches!(name.kind(), None | Some(FileKind::Manifest | FileKind::List | FileKind::Model))
}

fn fixtures() -> impl Iterator<Item = Fixture> {
    all().into_iter().chain(all_lists())
}

fn last_group_bits(subject: &Subject) -> usize {
    (subject.fixture.dir.file_bytes(subject.last_log).map_or(0, |bytes| bytes.len()) - subject.last_group) * 8
}

fn flip(subject: &Subject, name: FileName, bit: u64, counts: &mut Counts) {
    let dir = subject.fixture.dir.fork();
    assert!(dir.flip_bit(name, bit));
    let in_last_group = name == subject.last_log && bit / 8 >= subject.last_group as u64;
    let what = || format!("{}, {name}, byte {}, bit {}", subject.fixture.name, bit / 8, bit % 8);
    counts.flips += 1;
    match subject.judge(dir, in_last_group, &what) {
        Outcome::Found { opened, refused } => {
            counts.found += 1;
            counts.opened += usize::from(opened);
            counts.refused += refused;
        }
        Outcome::Tail { batches_lost } => {
            counts.tail += 1;
            counts.tail_lost += batches_lost;
        }
        Outcome::Harmless => panic!("{}: a flipped bit that nobody notices", what()),
    }
}

/// [C14] Every burst of up to 32 bits, beginning at any second byte, is named; so is any number of bursts.
#[test]
fn bursts_of_flipped_bits_are_named() {
    let subjects: Vec<Subject> = fixtures().map(Subject::new).collect();
    let mut cases: Vec<(usize, FileName, usize)> = Vec::new();
    for (i, subject) in subjects.iter().enumerate() {
        for (name, bytes) in subject.fixture.files() {
            cases.extend((0..bytes.len() - 5).step_by(2).map(|at| (i, name, at)));
        }
    }
    let tally = Tally::total(on_both_cores(cases.len(), |claimed| {
        let mut tally = Tally::default();
        for case in claimed {
            let (i, name, at) = cases[case];
            tally.add(bursts(&subjects[i], name, at, &mut Draw(case as u64)));
        }
        tally
    }));
    println!("{} bursts: {tally:?}", cases.len());
    assert_eq!(tally.harmless, 0);
}

/// Flips 2 to 32 bits from a bit of this byte on, the first and the last of them for certain; in every fourth case more such bursts
/// elsewhere in the file.
fn bursts(subject: &Subject, name: FileName, at: usize, draw: &mut Draw) -> Outcome {
    let dir = subject.fixture.dir.fork();
    let count = if draw.below(4) == 0 { 1 + draw.below(5) } else { 1 };
    dir.corrupt(name, |bytes| {
        let mut at = at;
        for _ in 0..count {
            let bits = 2 + draw.below(31);
            let pattern = (draw.next() & ((1 << bits) - 1)) | 1 | 1 << (bits - 1);
            let shifted = pattern << draw.below(8);
            bytes[at..at + 5].iter_mut().zip(shifted.to_le_bytes()).for_each(|(byte, mask)| *byte ^= mask);
            at = draw.below(bytes.len() - 5);
        }
    });
    // Several bursts may meet and undo each other.
    if dir.file_bytes(name) == subject.fixture.dir.file_bytes(name) {
        return Outcome::Tail { batches_lost: 0 };
    }
    let in_log = name == subject.last_log;
    let what = || format!("{}, {name}, burst at byte {at}", subject.fixture.name);
    let outcome = subject.judge(dir, in_log, &what);
    // The bytes that prove that a group was durable may be hit as well: by another burst, or by one that reaches into the last group.
    let hidden = in_log && (count > 1 || at + 5 > subject.last_group);
    assert!(outcome.is_found() || hidden, "{}: nobody notices", what());
    outcome
}
