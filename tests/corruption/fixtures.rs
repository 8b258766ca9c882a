//! The collections that the suite damages: they are sound, and hold everything that there is to damage.

use std::collections::BTreeSet;
use std::sync::Arc;

use stratavec::storage::FileKind;
use stratavec::{Collection, Verify};
use stratavec_fuzz_targets::fixture::{all, all_lists, options};
use stratavec_fuzz_targets::reading::{Questions, read_everything};
use stratavec_fuzz_targets::seal::{dir_of, seal_all, sections};

#[test]
fn the_fixtures_are_sound_and_hold_every_kind_of_file_and_section() {
    let (mut kinds, mut section_kinds) = (BTreeSet::new(), BTreeSet::new());
    let mut bytes = 0;
    for fixture in all().into_iter().chain(all_lists()) {
        let report = Collection::verify_in(&fixture.dir, Verify::Full).unwrap();
        assert!(report.is_sound(), "{}: {:?}", fixture.name, report.findings);
        assert!(report.log.batches_replayed >= 2, "{}: {:?}", fixture.name, report.log);
        let files = fixture.files();
        println!("{}: {} files, {} bytes", fixture.name, files.len(), fixture.bytes());
        for (name, content) in &files {
            println!("  {name} {}", content.len());
            kinds.insert(name.kind());
            if content.starts_with(b"STVSEG") {
                section_kinds.extend(sections(content).iter().map(|section| section.kind));
            }
        }
        bytes += fixture.bytes();
        let c = Collection::open_in(Arc::new(fixture.dir.fork()), options()).unwrap();
        let answers = Questions::new(fixture.schema.dim(), &fixture.ids).ask(&c.snapshot());
        assert!(answers.iter().all(Result::is_ok));
        assert!(read_everything(&fixture.dir.fork(), &fixture.ids).sound);
    }
    let wanted = [
        FileKind::Manifest,
        FileKind::Wal,
        FileKind::Row,
        FileKind::IdTable,
        FileKind::Tombstone,
        FileKind::Model,
        FileKind::List,
    ];
    assert_eq!(kinds, wanted.map(Some).into());
    let wanted = [
        0x101, 0x102, 0x103, 0x104, 0x106, 0x107, 0x108, 0x109, 0x10A, 0x10B, 0x10C, 0x201, 0x202, 0x203, 0x204, 0x301,
        0x302, 0x303, 0x401, 0x402, 0x403, 0x404, 0x406, 0x501, 0x502, 0x503, 0x504,
    ];
    assert_eq!(section_kinds, wanted.into());
    assert!(bytes >= 64 << 10, "{bytes} bytes");
}

/// The forger's checksums are the engine's: sealing what is sound changes nothing.
#[test]
fn sealing_intact_files_changes_no_byte() {
    for fixture in all() {
        let mut files = fixture.files();
        let before = files.clone();
        seal_all(&mut files);
        for (name, bytes) in &before {
            assert!(files[name] == *bytes, "{}: {name} changed", fixture.name);
        }
        assert!(read_everything(&dir_of(&files), &fixture.ids).sound);
    }
}
