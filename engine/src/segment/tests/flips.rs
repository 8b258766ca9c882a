//! Damage without malice: flipped bits and cut files.

use super::sample::*;
use crate::format::facts::FileFacts;
use crate::storage::FileName;

fn each_file(files: &Files) -> [(FileName, FileFacts); 3] {
    [(ROW_NAME, files.row_facts), (ID_NAME, files.id_facts), (DEAD_NAME, files.dead_facts)]
}

/// [SUM-2]
#[test]
fn every_flipped_bit_is_found() {
    // The second set has holes, so that bitmaps are there; both have a section with a page of padding in front.
    for numbers in [vec![4, 5, 6], vec![1, 3, 4100, 4102, 70_000]] {
        let files = Files::new(&numbers);
        for (name, facts) in each_file(&files) {
            let good = files.dir.bytes(name);
            assert_eq!(files.verify(name, &facts), 0);
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                files.dir.put(name, bytes);
                assert!(files.verify(name, &facts) > 0, "{name}: bit {bit} of {} bytes", good.len());
            }
            files.dir.put(name, good);
        }
    }
}

/// [FRAME-7]
#[test]
fn every_cut_is_found_also_if_the_manifest_states_the_new_length() {
    let files = Files::new(&[1, 3, 4100, 4102]);
    for (name, facts) in each_file(&files) {
        let good = files.dir.bytes(name);
        for len in 0..good.len() {
            files.dir.put(name, good[..len].to_vec());
            let stated = FileFacts { len: len as u64, ..facts };
            assert!(files.verify(name, &facts) > 0 && files.verify(name, &stated) > 0, "{name} cut to {len}");
        }
        let mut longer = good.clone();
        longer.push(0);
        files.dir.put(name, longer);
        assert!(files.verify(name, &facts) > 0 && files.verify(name, &FileFacts { len: facts.len + 1, ..facts }) > 0);
    }
}

#[cfg(feature = "testing")]
mod planted_bugs {
    use super::*;
    use crate::format::container::HEADER_BYTES;
    use crate::planted::{Bug, with};

    /// The bug must make a difference, otherwise its call site is missing.
    #[test]
    fn accepting_bad_checksums_lets_a_flip_pass() {
        let files = Files::new(&[4, 5, 6]);
        let mut bytes = files.dir.bytes(ROW_NAME);
        let at = bytes.windows(4).position(|w| w == b"docu").unwrap();
        bytes[at] ^= 1;
        files.dir.put(ROW_NAME, bytes);
        assert!(files.verify(ROW_NAME, &files.row_facts) > 0);
        assert_eq!(with(Bug::AcceptBadCrc, || files.verify(ROW_NAME, &files.row_facts)), 0);
    }

    /// Two files of one shape, written under different ids: a unit of one, put into the other, must be found.
    #[test]
    fn checksums_without_the_file_id_let_a_foreign_unit_pass() {
        let swapped_is_found = || {
            let (a, b) = (Files::new(&[4, 5, 6]), Files::new(&[4, 5, 6]));
            let mut foreign = Rows::new(SMALL, [4, 5, 6], true);
            foreign.rows.iter_mut().for_each(|row| row.vector.reverse());
            let other = crate::storage::FileId { number: 8, epoch: 1 };
            crate::segment::write_row_file(&b.dir, other, COLLECTION, ORIGIN, &SMALL, &foreign).unwrap();
            let name = FileName::File(crate::storage::FileKind::Row, other);
            let (mut mine, theirs) = (a.dir.bytes(ROW_NAME), b.dir.bytes(name));
            let vectors = HEADER_BYTES + 128..HEADER_BYTES + 128 + 3 * SMALL.stride();
            assert_ne!(mine[vectors.clone()], theirs[vectors.clone()]);
            mine[vectors.clone()].copy_from_slice(&theirs[vectors]);
            a.dir.put(ROW_NAME, mine);
            a.verify(ROW_NAME, &a.row_facts) > 0
        };
        assert!(swapped_is_found());
        assert!(!with(Bug::CrcWithoutFileId, swapped_is_found));
    }
}
