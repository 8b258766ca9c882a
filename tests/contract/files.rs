//! Names, hostile bytes, writers and versions: C17 to C20.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::storage::{FileKind, Storage};
use stratavec::{Collection, ErrorKind, OpenOptions, Repair, Verify};

use super::{create, inline, open, rows, schema};

/// [C17] foreign names stay as they are; what only looks like ours is refused and not followed.
#[test]
pub fn foreign_files_are_left_alone_and_links_are_not_followed() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    fs::create_dir(&path).expect("a folder");
    fs::write(path.join("README"), "mine").expect("write");
    let error = Collection::create(&path, schema(), inline()).expect_err("not empty");
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
    assert_eq!(fs::read_dir(&path).expect("list").count(), 1, "nothing was made beside it");
    fs::remove_file(path.join("README")).expect("remove");

    let c = Collection::create(&path, schema(), inline()).expect("create");
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    drop(c);
    let outside = place.path().join("outside");
    fs::write(&outside, "precious").expect("write");
    let foreign = ["notes.txt", "row-short", "WAL-00000000000000000000000000000001", "man-000000000000000A"];
    foreign.iter().for_each(|name| fs::write(path.join(name), name).expect("write"));
    symlink(&outside, path.join("tmp-000000000000fffe0000000000000001")).expect("link");
    let manifest = path.join("man-00000000000000ff");
    symlink(&outside, &manifest).expect("link");
    let error = Collection::open(&path, inline()).expect_err("the newest manifest is a link");
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some("man-00000000000000ff")));
    let report = Collection::verify(&path, Verify::Full).expect("verify");
    assert!(report.findings.iter().any(|f| f.file() == Some("man-00000000000000ff")), "a link with our name is named");
    fs::remove_file(&manifest).expect("remove");
    Collection::open(&path, inline()).expect("open").close().expect("close");
    for name in foreign {
        assert_eq!(fs::read_to_string(path.join(name)).expect("still there"), name);
    }
    assert_eq!(fs::read_to_string(&outside).expect("still there"), "precious");
    let report = Collection::verify(&path, Verify::Full).expect("verify");
    assert!(foreign.iter().all(|name| report.notes.iter().any(|note| note.contains(name))), "{:?}", report.notes);
}

/// [C18] files of noise, of zeros and of each other's bytes end in an error, not in a panic.
#[test]
pub fn nonsense_in_any_file_is_an_error() {
    let disk = MemDir::new(18);
    let c = create(&disk);
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    c.flush().expect("flush");
    c.delete(1u64).expect("delete");
    c.upsert(2u64, &[2.0; 2]).expect("commit");
    c.flush().expect("flush");
    c.upsert(3u64, &[3.0; 2]).expect("commit");
    drop(c);
    let names: Vec<_> = disk.names().into_iter().filter(|name| name.to_string() != "LOCK").collect();
    let noise: Vec<u8> = (0..9_000u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8).collect();
    for name in &names {
        let other = disk.file_bytes(*names.iter().find(|other| *other != name).expect("two files")).expect("bytes");
        for bytes in [Vec::new(), vec![0; 5_000], vec![0xFF; 5_000], noise.clone(), other] {
            let image = disk.fork();
            image.put_raw(*name, bytes);
            let opened = Collection::open_in(Arc::new(image.clone()), inline()).map(|c| rows(&c.snapshot()));
            let report = Collection::verify_in(&image, Verify::Full);
            let is_old = name.kind() == Some(FileKind::Manifest) && opened.is_ok();
            assert!(is_old || opened.is_err(), "{name} of nonsense was read as {opened:?}");
            assert!(report.is_err() || report.is_ok_and(|r| !r.findings.is_empty() || is_old), "{name}");
        }
    }
}

/// [C19] a second writer is refused at once and told who the first is; the lock ends with the handle.
#[test]
pub fn there_is_one_writer_and_no_stale_lock() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    let c = Collection::create(&path, schema(), OpenOptions::default()).expect("create");
    let error = Collection::open(&path, OpenOptions::default()).expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    drop(c);
    assert!(path.join("LOCK").exists(), "the file stays; it is the lock on it that ends");
    drop(Collection::open(&path, OpenOptions::default()).expect("open"));
}

/// [C19] every method may be called from any thread.
#[test]
pub fn handles_and_snapshots_go_from_thread_to_thread() {
    fn shareable<T: Send + Sync>(_: &T) {}
    let disk = MemDir::new(19);
    let c = create(&disk);
    shareable(&c);
    shareable(&c.snapshot());
    std::thread::scope(|scope| {
        for id in 0..4u64 {
            let c = &c;
            scope.spawn(move || c.upsert(id, &[id as f32; 2]).expect("commit"));
        }
    });
    assert_eq!(c.snapshot().count(), 4);
}

/// [C20] a newer version is named as such, and its files are not touched.
#[test]
pub fn a_newer_format_is_refused_untouched() {
    let disk = MemDir::new(20);
    let c = create(&disk);
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    c.flush().expect("flush");
    drop(c);
    let names = disk.names();
    let newest = names.iter().filter(|n| n.kind() == Some(FileKind::Manifest)).max().copied().expect("a manifest");
    disk.corrupt(newest, |bytes| stratavec_tests::reseal_manifest(bytes, newest, |copy| copy[8] = 1));
    let hash = disk.image_hash();
    let error = Collection::open_in(Arc::new(disk.clone()), inline()).expect_err("a newer version");
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
    let refused = [
        Collection::upgrade_in(&disk).map(drop),
        Collection::repair_in(&disk, &MemDir::new(1), Repair::KeepProven).map(drop),
    ];
    for outcome in refused {
        assert_eq!(outcome.expect_err("a newer version").kind(), ErrorKind::UnsupportedVersion);
    }
    assert_eq!(disk.image_hash(), hash, "the files were touched");
    assert!(disk.list().expect("list").len() == names.len());
}

/// [C5] [C19] after a handle is gone, the next one in the same process works at once.
#[test]
pub fn closing_and_opening_again_needs_no_waiting() {
    let disk = MemDir::new(21);
    for round in 0..5u64 {
        let c = if round == 0 { create(&disk) } else { open(&disk) };
        c.upsert(round, &[round as f32; 2]).expect("commit");
        if round % 2 == 0 {
            c.close().expect("close");
        }
    }
    assert_eq!(open(&disk).snapshot().count(), 5);
}
