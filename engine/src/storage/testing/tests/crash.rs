use std::collections::BTreeSet;

use super::*;
use crate::storage::testing::MemDir;
use crate::storage::{FileId, FileKind, FileName, Storage};

fn row(number: u64) -> FileName {
    FileName::File(FileKind::Row, FileId { number, epoch: 7 })
}

/// What a crash may leave of row file 1, `None` if not even its name.
fn images(dir: &MemDir) -> BTreeSet<Option<Vec<u8>>> {
    dir.crash_images(&CrashOptions::default()).map(|image| image.file_bytes(row(1))).collect()
}

#[test]
fn a_new_file_is_absent_empty_zero_or_whole() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    assert_eq!(images(&dir), BTreeSet::from([None, Some(vec![])]));
    file.write_at(&[7; 100], 0).unwrap();
    assert_eq!(dir.pending_units(), 3, "name, length, sector");
    let all = BTreeSet::from([None, Some(vec![]), Some(vec![0; 100]), Some(vec![7; 100])]);
    assert_eq!(images(&dir), all);
    assert_eq!(dir.crash_set(&CrashOptions::default()).len(), 4);
    file.sync().unwrap();
    assert_eq!(images(&dir), BTreeSet::from([None, Some(vec![7; 100])]));
    dir.sync_dir().unwrap();
    assert_eq!(images(&dir), BTreeSet::from([Some(vec![7; 100])]));
}

#[test]
fn each_sector_of_an_overwrite_is_old_or_new() {
    let dir = MemDir::new(1);
    dir.put_raw(row(1), vec![0; 1536]);
    assert_eq!(dir.crash_set(&CrashOptions::default()).len(), 1);
    // A raw file has no writing handle: write through a fresh name instead.
    let file = dir.create(row(2)).unwrap();
    file.write_at(&[1; 1536], 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file.write_at(&[2; 1000], 300).unwrap();
    let set = dir.crash_set(&CrashOptions::default());
    assert_eq!((set.units(), set.len()), (3, 8));
    for image in set.iter() {
        let bytes = image.build().file_bytes(row(2)).unwrap();
        let pieces = [300..512, 512..1024, 1024..1300];
        let new: Vec<usize> = (0..3).filter(|p| bytes[pieces[*p].clone()].iter().all(|b| *b == 2)).collect();
        assert_eq!(new, image.mask().iter().collect::<Vec<_>>());
        assert_eq!(bytes.iter().filter(|b| **b == 2).count(), new.iter().map(|p| pieces[*p].len()).sum::<usize>());
    }
}

#[test]
fn a_truncation_and_a_later_write_are_independent() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abcdef", 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file.truncate(2).unwrap();
    file.write_at(b"XY", 2).unwrap();
    let found = images(&dir);
    let expected = [&b"abcdef"[..], b"ab", b"abXYef", b"abXY", b"ab\0\0"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_write_beyond_the_end_leaves_zeros_in_between() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"end", 600).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    let only = images(&dir).into_iter().next().flatten().unwrap();
    assert_eq!((only.len(), &only[600..]), (603, &b"end"[..]));
    assert!(only[..600].iter().all(|b| *b == 0));
}

#[test]
fn names_survive_in_any_combination() {
    let dir = MemDir::new(1);
    for number in 0..5 {
        dir.create(row(number)).unwrap();
    }
    let set = dir.crash_set(&CrashOptions::default());
    assert_eq!((set.units(), set.len()), (5, 32));
    let kept: BTreeSet<Vec<FileName>> = set.iter().map(|image| image.build().names()).collect();
    assert_eq!(kept.len(), 32);
}

#[test]
fn hashes_tell_images_apart_and_equal_those_of_the_built_directories() {
    let dir = MemDir::new(1);
    let one = dir.create(row(1)).unwrap();
    one.write_at(&[1; 700], 0).unwrap();
    one.write_at(&[2; 700], 700).unwrap();
    dir.create(row(2)).unwrap().write_at(b"abc", 0).unwrap();
    let set = dir.crash_set(&CrashOptions::default());
    let mut contents = BTreeSet::new();
    for image in set.iter() {
        let built = image.build();
        assert_eq!(built.image_hash(), image.hash());
        assert_eq!(built.pending_units(), 0, "an image holds nothing that could still be lost");
        let listing: Vec<_> = built.names().into_iter().map(|name| (name, built.file_bytes(name))).collect();
        assert!(contents.insert(listing), "two images are the same");
        assert_eq!(set.build_mask(&UnitMask::parse(&image.mask().to_string()).unwrap()).image_hash(), image.hash());
    }
}

#[test]
fn a_large_set_holds_prefixes_singles_gaps_and_splits() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    file.write_at(&[0; 30 * 512], 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file.write_at(&[1; 20 * 512], 0).unwrap();
    file.write_at(&[2; 10 * 512], 20 * 512).unwrap();
    let options = CrashOptions::default();
    let set = dir.crash_set(&options);
    assert_eq!(set.units(), 30);
    let masks: BTreeSet<UnitMask> = set.iter().map(|image| image.mask().clone()).collect();
    for end in 0..=30 {
        assert!(masks.contains(&UnitMask::range(0..end)), "prefix {end}");
    }
    for unit in 0..30 {
        let mut without = UnitMask::range(0..30);
        without.remove(unit);
        assert!(masks.contains(&UnitMask::range(unit..unit + 1)) && masks.contains(&without), "unit {unit}");
    }
    for cut in 20..=30 {
        let mut tail = UnitMask::range(0..20);
        (cut..30).for_each(|unit| tail.insert(unit));
        let parts = [UnitMask::range(20..cut), UnitMask::range(cut..30), tail];
        assert!(parts.iter().all(|part| masks.contains(part)), "split at {cut}");
    }
    // 31 prefixes, 29 more singles, 29 more gaps, 9 + 8 splits on nothing, 8 on everything before. Of the 64 random
    // subsets some are among them.
    let fixed = 31 + 29 + 29 + 9 + 8 + 8;
    assert_eq!(dir.crash_set(&CrashOptions { random_subsets: 0, ..options }).len(), fixed);
    assert!((fixed + 48..=fixed + 64).contains(&set.len()));
    let again: Vec<u128> = dir.crash_set(&options).iter().map(|image| image.hash()).collect();
    assert_eq!(again, set.iter().map(|image| image.hash()).collect::<Vec<_>>(), "the same seed, the same subsets");
    let other = dir.crash_set(&CrashOptions { seed: 2, ..options });
    assert_ne!(again, other.iter().map(|image| image.hash()).collect::<Vec<_>>());
}

#[test]
fn twelve_units_are_exhausted_and_thirteen_are_not() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    file.write_at(&[0; 13 * 512], 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file.write_at(&[1; 12 * 512], 0).unwrap();
    assert_eq!(dir.crash_set(&CrashOptions::default()).len(), 4096);
    file.write_at(&[1; 512], 12 * 512).unwrap();
    assert!(dir.crash_set(&CrashOptions::default()).len() < 200);
}

#[test]
fn a_set_can_be_searched_by_several_threads() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let dir = shared(MemDir::new(1));
    dir.create(row(1)).unwrap().write_at(&[1; 5 * 512], 0).unwrap();
    let set = shared(dir.crash_set(&CrashOptions::default()));
    let hashes = |part: usize| -> BTreeSet<u128> {
        (0..set.len()).filter(|index| index % 2 == part).map(|index| set.build(index).image_hash()).collect()
    };
    let (even, odd) = std::thread::scope(|scope| {
        let other = scope.spawn(|| hashes(1));
        (hashes(0), other.join().unwrap())
    });
    assert_eq!(even.len() + odd.len(), set.len());
    assert!(even.is_disjoint(&odd));
}

#[test]
fn images_of_large_files_are_built_without_keeping_them_all() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    file.write_at(&vec![0; 1 << 20], 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file.write_at(&[1; 7 * 512], 0).unwrap();
    let set = dir.crash_set(&CrashOptions::default());
    assert_eq!(set.len(), 128);
    assert!(set.variants.values().any(|variant| variant.bytes.is_none()), "128 MiB would be kept");
    assert!(set.iter().all(|image| image.build().image_hash() == image.hash()));
}
