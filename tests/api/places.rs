//! Paths: where a collection can be made and opened, and what is left alone. [C17]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use stratavec::{Collection, ErrorKind, Repair, Verify};

use super::scene::{inline, plain};

struct Place {
    _root: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = root.path().join("c");
    Place { _root: root, path }
}

/// Names, kinds and contents of everything inside.
fn everything(path: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = fs::read_dir(path)
        .expect("list")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            let content = if kind.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
            (entry.path(), format!("{kind:?} {content:?}"))
        })
        .collect();
    found.sort();
    found
}

fn create(path: &Path) -> stratavec::Result<Collection> {
    Collection::create(path, plain(), inline())
}

fn open(path: &Path) -> stratavec::Result<Collection> {
    Collection::open(path, inline())
}

#[test]
fn what_is_not_there_cannot_be_opened_and_is_not_made() {
    let place = place();
    for error in [
        open(&place.path).expect_err("open"),
        Collection::verify(&place.path, Verify::Full).expect_err("verify"),
        create(&place.path.join("deeper")).expect_err("create without its parent"),
        Collection::open_or_create(place.path.join("deeper"), plain(), inline()).expect_err("open_or_create"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("/c"), "the path is named: {error}");
        assert!(error.hint().is_some());
    }
    assert!(!place.path.exists());
}

#[test]
fn an_empty_or_foreign_folder_is_no_collection_and_stays_as_it_is() {
    let place = place();
    fs::create_dir(&place.path).expect("a folder");
    for content in [None, Some("notes.txt")] {
        if let Some(name) = content {
            fs::write(place.path.join(name), "mine").expect("write");
        }
        let before = everything(&place.path);
        for error in
            [open(&place.path).expect_err("open"), Collection::verify(&place.path, Verify::Quick).expect_err("verify")]
        {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.to_string().contains("no collection in"), "{error}");
        }
        assert_eq!(everything(&place.path), before, "not even a lock file was made");
    }
}

#[test]
fn a_file_is_no_folder() {
    let place = place();
    fs::write(&place.path, "a file").expect("write");
    for error in [
        create(&place.path).expect_err("create"),
        open(&place.path).expect_err("open"),
        Collection::open_or_create(&place.path, plain(), inline()).expect_err("open_or_create"),
        Collection::verify(&place.path, Verify::Full).expect_err("verify"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        let text = error.to_string();
        assert!(text.contains("/c") && text.to_lowercase().contains("not a directory"), "{text}");
    }
    assert_eq!(fs::read_to_string(&place.path).expect("read"), "a file");
}

#[test]
fn creating_refuses_a_folder_in_use_and_says_by_whom() {
    let place = place();
    fs::create_dir(&place.path).expect("a folder");
    fs::write(place.path.join("notes.txt"), "mine").expect("write");
    let before = everything(&place.path);
    let error = create(&place.path).expect_err("in use");
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
    assert!(error.to_string().contains("not empty"), "{error}");
    let error = Collection::open_or_create(&place.path, plain(), inline()).expect_err("in use");
    assert_eq!(error.argument_name(), Some("path"));
    assert_eq!(everything(&place.path), before);

    fs::remove_file(place.path.join("notes.txt")).expect("remove");
    let c = create(&place.path).expect("an empty folder will do");
    c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
    let error = create(&place.path).expect_err("a collection that is open");
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Locked), "{error}");
    c.close().expect("close");
    let before = everything(&place.path);
    let error = create(&place.path).expect_err("a collection");
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
    assert!(error.to_string().contains("already holds a collection"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("open it")));
    assert_eq!(everything(&place.path), before);
}

#[test]
fn a_copy_is_not_made_inside_of_what_it_is_a_copy_of() {
    let place = place();
    let c = create(&place.path).expect("create");
    c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
    c.flush().expect("flush");
    let before = everything(&place.path);
    let elsewhere = place.path.with_file_name("elsewhere");
    symlink(&place.path, &elsewhere).expect("a link");
    let inside = [
        place.path.clone(),
        place.path.join("copy"),
        place.path.join("copy/of/it"),
        place.path.join("../c/copy"),
        elsewhere.clone(),
        elsewhere.join("copy"),
    ];
    for target in inside {
        let error = c.checkpoint(&target).expect_err("inside");
        assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
        assert!(error.to_string().contains("in the collection's own directory"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("outside of it")));
        let error = Collection::repair(&place.path, &target, Repair::KeepProven).expect_err("inside");
        assert!(error.to_string().contains("in the collection's own directory"), "{error}");
    }
    // What is around it holds it, and so is not empty; nor is another collection.
    let around = place.path.parent().expect("the folder around it").to_owned();
    let other = place.path.with_file_name("other");
    create(&other).expect("create").close().expect("close");
    for (target, why) in [(around, "is not empty"), (other, "already holds a collection")] {
        let error = c.checkpoint(&target).expect_err("occupied");
        assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(everything(&place.path), before);
    // A name that only begins the same is another directory.
    c.checkpoint(place.path.with_file_name("c2")).expect("beside it");
}

#[test]
fn a_create_that_was_interrupted_can_be_done_again() {
    // Every moment before the first manifest has its name.
    let disk = stratavec::storage::testing::MemDir::new(4);
    let images = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = images.clone();
    disk.on_call(move |point| seen.lock().expect("lock").push(point.dir.process_crash()));
    let storage = std::sync::Arc::new(disk.clone());
    drop(Collection::create_in(storage, plain(), inline()).expect("create"));
    disk.clear_hook();
    let images = images.lock().expect("lock");
    assert!(images.len() > 8);
    let (mut unfinished, mut whole) = (0, 0);
    for image in images.iter() {
        let storage = std::sync::Arc::new(image.clone());
        match Collection::open_in(storage.clone(), inline()) {
            Ok(c) => {
                whole += 1;
                assert_eq!((c.last_seq(), c.snapshot().count()), (0, 0));
            }
            Err(error) => {
                unfinished += 1;
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                let c = Collection::create_in(storage, plain(), inline()).expect("create over what was left");
                c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
                c.close().expect("close");
                let report = Collection::verify_in(image, Verify::Full).expect("verify");
                assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
            }
        }
    }
    assert!(unfinished > 3 && whole > 0, "{unfinished} unfinished, {whole} whole");
}

#[test]
fn creating_over_leftovers_spares_what_only_has_their_names() {
    let names = ["wal-00000000000000010000000000000001", "tmp-00000000000000020000000000000001", "LOCK"];
    for name in names {
        for odd in ["link", "folder"] {
            let place = place();
            fs::create_dir(&place.path).expect("a folder");
            let outside = place.path.with_extension("outside");
            fs::write(&outside, "precious").expect("write");
            match odd {
                "link" => symlink(&outside, place.path.join(name)).expect("link"),
                _ => fs::create_dir(place.path.join(name)).expect("a folder"),
            }
            let before = everything(&place.path);
            create(&place.path).expect_err("refused");
            assert_eq!(everything(&place.path), before, "{odd} {name}");
            assert_eq!(fs::read_to_string(&outside).expect("read"), "precious");
        }
    }
}

#[test]
fn links_and_folders_with_the_names_of_our_files_are_refused_and_left() {
    let place = place();
    let c = create(&place.path).expect("create");
    for id in 0..3u64 {
        c.upsert(id, &[1.0, 1.0]).expect("upsert");
        c.flush().expect("flush");
    }
    c.close().expect("close");
    let files: Vec<PathBuf> = fs::read_dir(&place.path).expect("list").map(|e| e.expect("an entry").path()).collect();
    let mut refused = 0;
    for file in &files {
        let aside = place.path.with_extension("aside");
        fs::rename(file, &aside).expect("rename");
        symlink(&aside, file).expect("link");
        let before = fs::read(&aside).expect("read");
        let opened = open(&place.path).map(|c| c.snapshot().search(&[0.0, 0.0]).run().map(|hits| hits.len()));
        // The manifest before the newest is not needed, whatever it is.
        match &opened {
            Ok(Ok(3)) => {}
            other => {
                assert!(!matches!(other, Ok(Ok(_))), "{file:?} as a link: {other:?}");
                refused += 1;
            }
        }
        drop(opened);
        assert!(fs::symlink_metadata(file).expect("still there").is_symlink(), "{file:?} was replaced");
        assert_eq!(fs::read(&aside).expect("still there"), before, "{file:?} was written through a link");
        fs::remove_file(file).expect("remove");
        fs::rename(&aside, file).expect("rename back");
    }
    assert!(refused >= 4, "{refused} of {} kinds were needed and refused", files.len());
    assert_eq!(open(&place.path).expect("open").snapshot().count(), 3);
}

#[test]
fn an_open_collection_may_be_renamed_and_reached_by_a_link() {
    let place = place();
    let c = create(&place.path).expect("create");
    c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
    let moved = place.path.with_extension("moved");
    fs::rename(&place.path, &moved).expect("rename");
    c.upsert(2u64, &[1.0, 1.0]).expect("upsert");
    c.flush().expect("flush");
    c.close().expect("close");
    assert!(!place.path.exists(), "files went to the folder, not to its name");
    symlink(&moved, &place.path).expect("link");
    assert_eq!(open(&place.path).expect("the folder itself may be a link").snapshot().count(), 2);
}
