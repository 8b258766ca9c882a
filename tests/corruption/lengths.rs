//! Files that were cut, are missing, are there twice, or are no files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use stratavec::storage::{FileId, FileKind, FileName, RealDir};
use stratavec::{Collection, ErrorKind, OpenOptions, Verify};
use stratavec_fuzz_targets::fixture::all;

use crate::subject::{Outcome, Subject, Tally, on_both_cores};

/// [C14] [C15] Every length of every file. A cut is named; in the last log, behind its header, it looks like writes that never came: a
/// whole number of batches is left, and bytes of a batch that is not whole are counted.
#[test]
fn every_cut_of_every_file_is_named_or_leaves_a_prefix() {
    let subjects: Vec<Subject> = all().into_iter().map(Subject::new).collect();
    let mut cases: Vec<(usize, FileName, usize)> = Vec::new();
    for (i, subject) in subjects.iter().enumerate() {
        for (name, bytes) in subject.fixture.files() {
            cases.extend((0..bytes.len()).map(|len| (i, name, len)));
        }
    }
    let tallies = on_both_cores(cases.len(), |claimed| {
        let mut tally = Tally::default();
        for (i, name, len) in claimed.map(|case| cases[case]) {
            tally.add(cut(&subjects[i], name, len));
        }
        tally
    });
    let tally = Tally::total(tallies);
    println!("{} cuts: {tally:?}", cases.len());
    assert_eq!(tally.cases(), cases.len());
    assert!(tally.harmless <= subjects.len(), "only a seal can go without a trace: {tally:?}");
}

fn cut(subject: &Subject, name: FileName, len: usize) -> Outcome {
    let dir = subject.fixture.dir.fork();
    dir.corrupt(name, |bytes| bytes.truncate(len));
    let in_tail = name == subject.last_log && len >= 128;
    let what = || format!("{}: {name} cut to {len} bytes", subject.fixture.name);
    let outcome = subject.judge(dir, in_tail, &what);
    assert!(in_tail || outcome.is_found(), "{}: nobody notices", what());
    outcome
}

/// [C14] Every file but the manifest before the newest is missed.
#[test]
fn missing_files_are_named() {
    let mut harmless = 0;
    for subject in all().into_iter().map(Subject::new) {
        let newest = subject.fixture.files().into_keys().rfind(|name| matches!(name, FileName::Manifest(_)));
        for name in subject.fixture.files().into_keys() {
            let dir = subject.fixture.dir.fork();
            assert!(dir.remove_raw(name));
            let what = || format!("{}: {name} is missing", subject.fixture.name);
            let outcome = subject.judge(dir, false, &what);
            let spare = matches!(name, FileName::Manifest(_)) && Some(name) != newest;
            assert_eq!(outcome.is_found(), !spare, "{}", what());
            harmless += usize::from(spare);
        }
    }
    assert_eq!(harmless, 3);
}

/// [C14] A copy under another name is an orphan, or a manifest that is not the one its name says.
#[test]
fn copies_under_other_names_change_no_answer() {
    let mut tally = Tally::default();
    for subject in all().into_iter().map(Subject::new) {
        for (name, bytes) in subject.fixture.files() {
            let id = name.file_id();
            let other = FileId { number: id.number + 100, epoch: id.epoch };
            let mut names = vec![FileName::File(FileKind::Temp, other)];
            for kind in [FileKind::Wal, FileKind::Row, FileKind::IdTable, FileKind::Tombstone, FileKind::List] {
                names.push(FileName::File(kind, other));
                names.push(FileName::File(kind, FileId { epoch: id.epoch ^ 1, ..id }));
            }
            names.extend([9, 4, u64::MAX].map(FileName::Manifest));
            for copy in names {
                let dir = subject.fixture.dir.fork();
                dir.put_raw(copy, bytes.clone());
                let what = || format!("{}: {name} is there again as {copy}", subject.fixture.name);
                let outcome = subject.judge(dir, false, &what);
                assert_eq!(outcome.is_found(), matches!(copy, FileName::Manifest(_)), "{}: {outcome:?}", what());
                tally.add(outcome);
            }
        }
    }
    println!("copies: {tally:?}");
}

/// What can stand under a name instead of a file.
const SPECIALS: [&str; 5] = ["directory", "FIFO", "link to the file", "dangling link", "socket"];

fn replace(path: &Path, elsewhere: &Path, special: &str) {
    fs::rename(path, elsewhere).unwrap();
    match special {
        "directory" => fs::create_dir(path).unwrap(),
        "FIFO" => {
            let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(status.success());
        }
        "link to the file" => symlink(elsewhere, path).unwrap(),
        "dangling link" => symlink("nowhere", path).unwrap(),
        _ => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    }
}

/// [C17] Links, FIFOs, directories and sockets under our names are refused: not followed, not opened, not removed.
#[test]
fn what_is_no_file_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    for subject in all().into_iter().map(Subject::new) {
        let mut names: Vec<String> = subject.fixture.files().keys().map(ToString::to_string).collect();
        let newest = names.iter().rfind(|name| name.starts_with("man-")).cloned();
        names.push("LOCK".to_owned());
        for special in SPECIALS {
            for name in &names {
                let dir = temp.path().join("c");
                fs::create_dir(&dir).unwrap();
                for (file, bytes) in subject.fixture.files() {
                    fs::write(dir.join(file.to_string()), bytes).unwrap();
                }
                fs::write(dir.join("LOCK"), "").unwrap();
                let elsewhere = temp.path().join("elsewhere");
                replace(&dir.join(name), &elsewhere, special);
                let before = fs::read(&elsewhere).unwrap();
                let what = format!("{}: {name} is a {special}", subject.fixture.name);
                let report = Collection::verify(&dir, Verify::Full).unwrap();
                assert!(!report.is_sound(), "{what}: nobody notices");
                match Collection::open(&dir, OpenOptions::default()) {
                    Err(error) if name == "LOCK" => assert_eq!(error.kind(), ErrorKind::Io, "{what}: {error:?}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
                    Ok(_) => assert!(name.starts_with("man-") && Some(name) != newest.as_ref(), "{what}: opened"),
                }
                assert!(fs::symlink_metadata(dir.join(name)).is_ok_and(|meta| !meta.is_file()), "{what}: removed");
                assert!(fs::read(&elsewhere).unwrap() == before, "{what}: followed");
                fs::remove_dir_all(&dir).unwrap();
                fs::remove_file(&elsewhere).unwrap();
            }
        }
    }
}

/// The same files on a real directory answer as in memory: what the suite finds is not a matter of the simulated disk.
#[test]
fn a_real_directory_is_judged_like_the_simulated_one() {
    let temp = tempfile::tempdir().unwrap();
    for subject in all().into_iter().map(Subject::new) {
        for (damaged, content) in subject.fixture.files() {
            for at in (0..content.len()).step_by(97) {
                let dir = temp.path().join("c");
                fs::create_dir(&dir).unwrap();
                for (name, mut bytes) in subject.fixture.files() {
                    if name == damaged {
                        bytes[at] ^= 0x40;
                    }
                    fs::write(dir.join(name.to_string()), bytes).unwrap();
                }
                let tail = damaged == subject.last_log && at >= subject.last_group;
                let what = || format!("{}: {damaged}, byte {at}", subject.fixture.name);
                let outcome = subject.judge(RealDir::open(&dir).unwrap(), tail, &what);
                assert!(tail || outcome.is_found(), "{}: nobody notices", what());
                fs::remove_dir_all(&dir).unwrap();
            }
        }
    }
}
