//! Right bytes in the wrong place: blocks that went astray, stale blocks, files exchanged, files that grew.

use stratavec::storage::FileName;
use stratavec::storage::testing::MemDir;
use stratavec_fuzz_targets::fixture::all;

use crate::subject::{Outcome, Subject, Tally, on_both_cores};

/// Files and offsets of all whole blocks.
fn blocks(subject: &Subject, size: usize) -> Vec<(FileName, usize)> {
    let files = subject.fixture.files();
    let of = |(name, bytes): (&FileName, &Vec<u8>)| {
        let (name, count) = (*name, bytes.len() / size);
        (0..count).map(move |i| (name, i * size))
    };
    files.iter().flat_map(of).collect()
}

fn in_last_group(subject: &Subject, (name, at): (FileName, usize), size: usize) -> bool {
    name == subject.last_log && at + size > subject.last_group
}

/// Every two blocks of a size exchanged, and each written over the other. Returns what came of it; equal blocks are left out.
fn exchange(subject: &Subject, size: usize, claimed: &mut dyn Iterator<Item = usize>) -> Tally {
    let blocks = blocks(subject, size);
    let mut tally = Tally::default();
    for case in claimed {
        let (one, two) = (blocks[case / blocks.len()], blocks[case % blocks.len()]);
        let bytes =
            |(name, at): (FileName, usize)| subject.fixture.dir.file_bytes(name).unwrap()[at..at + size].to_vec();
        if one == two || bytes(one) == bytes(two) {
            continue;
        }
        // Each pair once as an exchange, twice as a write that went astray.
        let dir = subject.fixture.dir.fork();
        let (what, tail) = match one < two {
            true => {
                assert!(dir.swap_ranges(one, two, size));
                ("exchanged with", in_last_group(subject, one, size) || in_last_group(subject, two, size))
            }
            false => {
                let astray = bytes(two);
                dir.corrupt(one.0, |bytes| bytes[one.1..one.1 + size].copy_from_slice(&astray));
                ("overwritten by", in_last_group(subject, one, size))
            }
        };
        let what = || format!("{}: {size} bytes of {one:?} {what} {two:?}", subject.fixture.name);
        let outcome = subject.judge(dir, tail, &what);
        assert!(outcome != Outcome::Harmless, "{}: nobody notices", what());
        tally.add(outcome);
    }
    tally
}

/// [C14] Blocks in the wrong place, of the same or of another file, are damage: the checksum knows file and offset.
#[test]
fn blocks_in_the_wrong_place_are_named() {
    for subject in all().into_iter().map(Subject::new) {
        for size in [512, 4096] {
            let cases = blocks(&subject, size).len().pow(2);
            let tally = Tally::total(on_both_cores(cases, |claimed| exchange(&subject, size, claimed)));
            println!("{}: blocks of {size} bytes: {tally:?}", subject.fixture.name);
            assert!(tally.found > 0 && tally.harmless == 0);
        }
    }
}

/// [C14] A block that keeps what it held before, or holds zeros or what another collection had there, is damage.
#[test]
fn stale_blocks_are_named() {
    let subjects: Vec<Subject> = all().into_iter().map(Subject::new).collect();
    let mut tally = Tally::default();
    for (subject, other) in subjects.iter().zip(subjects.iter().cycle().skip(1)) {
        let strangers = other.fixture.files();
        for (name, at) in blocks(subject, 512) {
            let stranger = strangers.iter().find(|(other, _)| other.kind() == name.kind()).map(|(_, bytes)| bytes);
            let stale = |fill: &dyn Fn(&mut [u8])| {
                let dir = subject.fixture.dir.fork();
                dir.corrupt(name, |bytes| fill(&mut bytes[at..at + 512]));
                dir
            };
            let zeros = stale(&|block| block.fill(0));
            let ones = stale(&|block| block.fill(0xFF));
            let foreign = stale(&|block| match stranger.and_then(|bytes| bytes.get(at..at + 512)) {
                Some(bytes) => block.copy_from_slice(bytes),
                None => block.reverse(),
            });
            let older = subject.fixture.dir.fork();
            older.stale_sector(name, at as u64 / 512);
            for (dir, kind) in [(zeros, "zeros"), (ones, "ones"), (foreign, "another collection's"), (older, "older")] {
                if dir.file_bytes(name) == subject.fixture.dir.file_bytes(name) {
                    continue;
                }
                let what = || format!("{}: block at {at} of {name} holds {kind}", subject.fixture.name);
                let outcome = subject.judge(dir, in_last_group(subject, (name, at), 512), &what);
                assert!(outcome != Outcome::Harmless, "{}: nobody notices", what());
                tally.add(outcome);
            }
        }
    }
    println!("stale blocks: {tally:?}");
    assert!(tally.found > 200);
}

/// [C14] Two files exchanged, of one collection or of two, are each in the wrong place.
#[test]
fn exchanged_files_are_named() {
    let subjects: Vec<Subject> = all().into_iter().map(Subject::new).collect();
    let mut tally = Tally::default();
    for subject in &subjects {
        let files = subject.fixture.files();
        for (one, a) in &files {
            for (two, b) in files.range(one..).skip(1) {
                let dir = subject.fixture.dir.fork();
                dir.put_raw(*one, b.clone());
                dir.put_raw(*two, a.clone());
                tally.add(named(subject, dir, &format!("{one} and {two} exchanged")));
            }
            for other in subjects.iter().filter(|other| other.fixture.name != subject.fixture.name) {
                for (stranger, bytes) in other.fixture.files().iter().filter(|(name, _)| name.kind() == one.kind()) {
                    let dir = subject.fixture.dir.fork();
                    dir.put_raw(*one, bytes.clone());
                    tally.add(named(subject, dir, &format!("{one} is {stranger} of another collection")));
                }
            }
        }
    }
    println!("exchanged files: {tally:?}");
    assert!(tally.found > 100 && tally.found == tally.cases());
}

fn named(subject: &Subject, dir: MemDir, what: &str) -> Outcome {
    let outcome = subject.judge(dir, false, &|| format!("{}: {what}", subject.fixture.name));
    assert!(outcome.is_found(), "{}: {what}: nobody notices", subject.fixture.name);
    outcome
}

/// [C14] A file that became longer is damage. Behind the last record of a log, where a torn write may lie, the bytes are dropped and
/// counted, and no batch is lost.
#[test]
fn longer_files_are_named_and_longer_logs_lose_nothing() {
    let mut tally = Tally::default();
    for subject in all().into_iter().map(Subject::new) {
        for (name, content) in subject.fixture.files() {
            let is_log = subject.fixture.logs().contains(&name);
            for extra in (1..=33).chain([63, 64, 128, 160, 511, 512, 4095, 4096, 5000, 65_536]) {
                for fill in [0u8, 0xFF, 0x5A] {
                    let dir = subject.fixture.dir.fork();
                    dir.corrupt(name, |bytes| match fill {
                        0x5A => bytes.extend(content.iter().cycle().take(extra)),
                        _ => bytes.resize(content.len() + extra, fill),
                    });
                    let what = || format!("{}: {name} longer by {extra} bytes {fill:#x}", subject.fixture.name);
                    let outcome = subject.judge(dir, is_log, &what);
                    match is_log {
                        true => assert_eq!(outcome, Outcome::Tail { batches_lost: 0 }, "{}", what()),
                        false => assert!(outcome.is_found(), "{}: nobody notices", what()),
                    }
                    tally.add(outcome);
                }
            }
        }
    }
    println!("longer files: {tally:?}");
}
