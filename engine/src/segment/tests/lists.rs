//! Models and list segments: everything comes back, damage and lies are found, nothing panics.

use zerocopy::FromBytes;

use super::bytes_dir::BytesDir;
use super::reseal::reseal;
use super::sample::{COLLECTION, Draw, FILE, ORIGIN};
use crate::error::Result;
use crate::format::checksum::{file_seed, unit_crc};
use crate::format::container::{FOOTER_BYTES, Footer};
use crate::format::facts::FileFacts;
use crate::format::list::{ListCode, ListHeader, ListShape};
use crate::format::model::{centroid_stride, code_block_bytes};
use crate::format::section::SectionEntry;
use crate::metric::Metric;
use crate::segment::{
    CodebookFacts, ListFile, ListFileHead, ListInput, ListSource, ModelContent, ModelFile, write_lists, write_model,
};
use crate::storage::{FileKind, FileName};

const LIST_NAME: FileName = FileName::File(FileKind::List, FILE);
const MODEL_NAME: FileName = FileName::File(FileKind::Model, FILE);
const MODEL: [u8; 32] = [0xAB; 32];
const PADDED: usize = 64;

/// One list: rows (first copies in front), how many are first copies, and the bytes of its parts.
#[derive(Clone)]
struct OneList {
    rows: Vec<u64>,
    primary: usize,
    signs: Vec<u8>,
    factors: Vec<u8>,
    records: Vec<u8>,
}

struct Source(Vec<OneList>);

impl ListSource for Source {
    fn lists(&self) -> usize {
        self.0.len()
    }
    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()> {
        take(&self.0[list].rows, self.0[list].primary);
        Ok(())
    }
    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()> {
        let OneList { rows, signs, factors, records, .. } = &self.0[list];
        take(ListInput { rows, signs, factors, records })
    }
}

/// Codes that are neither bits nor vectors.
const OTHERS: [ListCode; 4] = [
    ListCode::Rows,
    ListCode::Product { parts: 8, size: 32 },
    ListCode::Product { parts: 4, size: 16 },
    ListCode::Product { parts: 2, size: 512 },
];

fn shape(code: ListCode) -> ListShape {
    ListShape::new(PADDED, code).unwrap()
}

/// Lists with so many entries each; every third row has a second copy in the next list.
fn lists(shape: &ListShape, sizes: &[usize]) -> Source {
    let mut draw = Draw(9);
    let mut next = 0;
    let firsts: Vec<Vec<u64>> = sizes
        .iter()
        .map(|size| {
            (0..*size)
                .map(|_| {
                    next += 1 + draw.below(3) * draw.below(900);
                    next
                })
                .collect()
        })
        .collect();
    let fill = |draw: &mut Draw, count: usize| (0..count).map(|_| draw.next() as u8).collect::<Vec<u8>>();
    let all = (0..sizes.len())
        .map(|list| {
            let before = &firsts[(list + sizes.len() - 1) % sizes.len()];
            let mut rows = firsts[list].clone();
            let primary = rows.len();
            rows.extend(before.iter().step_by(3).filter(|_| sizes.len() > 1));
            let parts = shape.parts(rows.len() as u32);
            let signs = fill(&mut draw, parts.signs().len());
            let factors = fill(&mut draw, parts.factors().len());
            let records = fill(&mut draw, rows.len() * shape.record_len());
            OneList { rows, primary, signs, factors, records }
        })
        .collect();
    Source(all)
}

fn head(shape: ListShape) -> ListFileHead {
    ListFileHead { collection: COLLECTION, origin: ORIGIN, shape, model: MODEL, seqs: (3, 9) }
}

fn write(dir: &BytesDir, code: ListCode, sizes: &[usize]) -> (Source, FileFacts) {
    let mut source = lists(&shape(code), sizes);
    let facts = write_lists(dir, FILE, &head(shape(code)), &mut source).unwrap();
    (source, facts)
}

fn open(dir: &BytesDir, facts: &FileFacts) -> Result<ListFile> {
    ListFile::open(dir, FILE, COLLECTION, ORIGIN, &MODEL, facts)
}

fn model_content(lists: usize) -> (Vec<f32>, Vec<u8>, Vec<u8>) {
    let mut draw = Draw(4);
    let mut centroids = Vec::new();
    for _ in 0..lists {
        centroids.extend((0..PADDED).map(|_| draw.next() as u8));
        centroids.extend_from_slice(&(draw.below(100) as f32).to_le_bytes());
        centroids.extend_from_slice(&0.25_f32.to_le_bytes());
        centroids.resize(centroids.len().next_multiple_of(centroid_stride(PADDED)), 0);
    }
    let codes = (0..lists.div_ceil(32) * code_block_bytes(PADDED)).map(|_| draw.next() as u8).collect();
    ((0..50).map(|i| i as f32 / 7.0).collect(), centroids, codes)
}

fn model(dir: &BytesDir, lists: usize) -> FileFacts {
    model_with(dir, lists, None)
}

fn model_with(dir: &BytesDir, lists: usize, codebook: Option<(CodebookFacts, &[f32])>) -> FileFacts {
    let (mean, centroids, codes) = model_content(lists);
    let content = ModelContent {
        metric: Metric::Cosine,
        seed: 77,
        scale: 0.5,
        mean: &mean,
        centroids: &centroids,
        codes: &codes,
        codebook,
    };
    write_model(dir, FILE, COLLECTION, ORIGIN, &content).unwrap()
}

fn open_model(dir: &BytesDir, facts: &FileFacts) -> Result<ModelFile> {
    ModelFile::open(dir, FILE, COLLECTION, ORIGIN, facts)
}

/// Opens a file and reads everything; the number of errors, each of a kind that damage gives.
fn read_all(dir: &BytesDir, name: FileName, facts: &FileFacts) -> usize {
    let mut errors = 0;
    let mut note = |error: crate::Error| {
        let kind = error.kind();
        assert!(matches!(kind, crate::ErrorKind::Corrupt | crate::ErrorKind::UnsupportedVersion), "{error:?}");
        errors += 1;
    };
    if name == MODEL_NAME {
        match open_model(dir, facts) {
            Ok(model) => {
                assert_eq!(model.codes().1.len(), model.lists().div_ceil(32) * 128);
                model.verify(&mut note);
            }
            Err(error) => note(error),
        }
        return errors;
    }
    let file = match open(dir, facts) {
        Ok(file) => file,
        Err(error) => {
            note(error);
            return errors;
        }
    };
    for list in (0..file.lists().min(50)).chain([file.lists(), usize::MAX]) {
        match file.load(list) {
            Ok(loaded) => {
                let bytes = loaded.bytes();
                let parts = file.shape().parts(bytes.count);
                assert_eq!(bytes.signs.len() + bytes.factors.len() + bytes.rows.len(), parts.scan_bytes());
                assert_eq!(bytes.records.len(), parts.record_bytes());
                for word in bytes.rows.as_chunks::<4>().0.iter().take(bytes.count as usize) {
                    let _ = file.row(u32::from_le_bytes(*word)).map_err(&mut note);
                }
                if file.shape().stride() > 0 {
                    for at in 0..bytes.count.min(5_000) {
                        let _ = file.prove_record(list, at).map_err(&mut note);
                    }
                }
                assert!(file.prove_record(list, u32::MAX).is_err());
            }
            Err(error) if list < file.lists() => note(error),
            Err(_) => {}
        }
    }
    file.verify(&mut note);
    errors
}

/// [LIST-1]
#[test]
fn lists_of_every_code_come_back() {
    let bits = [1, 4, 7, 8].map(ListCode::Bits).into_iter().chain([ListCode::Raw(264)]);
    for code in bits.chain(OTHERS) {
        let dir = BytesDir::default();
        let (source, facts) = write(&dir, code, &[3, 0, 40, 1_500]);
        let file = open(&dir, &facts).unwrap();
        assert_eq!((file.lists(), file.shape(), facts.rows), (4, &shape(code), 1_543));
        for (list, expected) in source.0.iter().enumerate() {
            let loaded = file.load(list).unwrap();
            let bytes = loaded.bytes();
            assert_eq!((bytes.count as usize, bytes.primary as usize), (expected.rows.len(), expected.primary));
            assert!(bytes.signs == expected.signs && bytes.factors == expected.factors);
            let records = bytes.records.chunks_exact(shape(code).stride().max(1)).take(expected.rows.len());
            let records: Vec<u8> = records.flat_map(|record| &record[..shape(code).record_len()]).copied().collect();
            assert!(records == expected.records);
            let words = bytes.rows.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
            let rows: Vec<u64> = words.take(expected.rows.len()).map(|word| file.row(word).unwrap()).collect();
            assert_eq!(rows, expected.rows);
            assert_eq!(file.scan_piece(list).as_ptr().align_offset(8), 0);
        }
        assert_eq!(read_all(&dir, LIST_NAME, &facts), 0, "{code:?}");
    }
}

#[test]
fn a_model_comes_back_under_the_hash_of_its_content() {
    let (dir, other) = (BytesDir::default(), BytesDir::default());
    let facts = model(&dir, 37);
    let file = open_model(&dir, &facts).unwrap();
    let (mean, centroids, codes) = model_content(37);
    assert_eq!((file.lists(), file.padded(), file.metric(), file.seed()), (37, PADDED, Metric::Cosine, 77));
    assert_eq!((file.scale(), file.mean(), file.centroids()), (0.5, &mean[..], &centroids[..]));
    assert_eq!([file.codes().0, file.codes().1].concat(), codes);
    let again = open_model(&other, &model(&other, 36)).unwrap();
    assert_ne!(file.hash(), again.hash());
    assert_eq!(read_all(&dir, MODEL_NAME, &facts), 0);
}

/// [LIST-2] [MODEL-1]
#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let dir = BytesDir::default();
    let (_, list_facts) = write(&dir, ListCode::Bits(2), &[3, 0, 2]);
    let model_facts = model(&dir, 2);
    for (name, facts) in [(LIST_NAME, list_facts), (MODEL_NAME, model_facts)] {
        let good = dir.bytes(name);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            dir.put(name, bytes);
            assert!(read_all(&dir, name, &facts) > 0, "{name}: bit {bit} of {} bytes", good.len());
        }
        for len in (0..good.len()).step_by(7) {
            dir.put(name, good[..len].to_vec());
            let stated = FileFacts { len: len as u64, ..facts };
            assert!(read_all(&dir, name, &facts) > 0 && read_all(&dir, name, &stated) > 0, "{name} cut to {len}");
        }
        dir.put(name, good);
    }
}

/// A damaged record fails by itself: other records under other checksums, and the scan, can still be read.
#[test]
fn damage_is_found_at_first_touch_and_only_there() {
    let dir = BytesDir::default();
    let (_, facts) = write(&dir, ListCode::Bits(8), &[3_000, 4]);
    let mut bytes = dir.bytes(LIST_NAME);
    let records = section(&bytes, 0x0404).offset.get() as usize;
    bytes[records] ^= 1;
    dir.put(LIST_NAME, bytes);
    let file = open(&dir, &facts).unwrap();
    assert!(file.load(0).is_ok() && file.load(1).is_ok());
    assert!(file.prove_record(0, 0).is_err() && file.prove_record(0, 2_999).is_ok() && file.prove_record(1, 3).is_ok());
}

/// [LIST-3]
#[test]
fn lists_of_another_model_are_refused() {
    let dir = BytesDir::default();
    let (_, facts) = write(&dir, ListCode::Bits(4), &[3]);
    assert!(ListFile::open(&dir, FILE, COLLECTION, ORIGIN, &[1; 32], &facts).is_err());
}

#[test]
fn lists_that_no_segment_can_have_are_refused_and_leave_no_file() {
    let dir = BytesDir::default();
    let shape = shape(ListCode::Bits(4));
    let good = lists(&shape, &[5, 6]);
    let mut twice = good.0.clone();
    twice[1].rows[0] = twice[0].rows[0];
    let mut short = good.0.clone();
    short[0].records.truncate(64);
    let mut long = good.0.clone();
    long[1].records.extend_from_slice(&[0; 32]);
    let mut orphan = good.0.clone();
    *orphan[1].rows.last_mut().unwrap() = 1 << 40;
    let mut greedy = good.0.clone();
    greedy[0].primary = 99;
    for (what, lists) in [
        ("none", Vec::new()),
        ("twice", twice),
        ("short", short),
        ("long", long),
        ("orphan", orphan),
        ("greedy", greedy),
    ] {
        assert!(write_lists(&dir, FILE, &head(shape), &mut Source(lists)).is_err(), "{what}");
        assert!(dir.names().is_empty(), "{what}");
    }
    assert!(write_lists(&dir, FILE, &head(shape), &mut Source(good.0)).is_ok());
}

/// [LIST-2]
#[test]
fn what_follows_a_record_is_zero_even_under_right_checksums() {
    let dir = BytesDir::default();
    let code = ListCode::Bits(7);
    let (_, facts) = write(&dir, code, &[3, 0, 40]);
    let good = dir.bytes(LIST_NAME);
    let range = |kind: u32| {
        let entry = section(&good, kind);
        entry.offset.get() as usize..(entry.offset.get() + entry.length.get()) as usize
    };
    let places = [0x0402, 0x0403, 0x0404, 0x0406].map(range);
    let records = places[2].start;
    assert_eq!((shape(code).record_len(), shape(code).stride()), (56, 64));
    for (at, wrong) in [(56, 1), (63, 128), (64 * 2 + 60, 4), (55, 0), (64, 0)] {
        let mut bytes = good.clone();
        bytes[records + at] ^= wrong.max(1);
        let lied = reseal_lists(&mut bytes, &shape(code), places.clone());
        dir.put(LIST_NAME, bytes);
        assert_eq!(read_all(&dir, LIST_NAME, &lied) > 0, wrong > 0, "byte {at}");
    }
    dir.put(LIST_NAME, good);
    assert_eq!(read_all(&dir, LIST_NAME, &facts), 0);
}

fn section(bytes: &[u8], kind: u32) -> SectionEntry {
    let footer_at = bytes.len() - FOOTER_BYTES;
    let footer = Footer::read_from_bytes(&bytes[footer_at..]).unwrap();
    let entries = <[SectionEntry]>::ref_from_bytes(&bytes[footer.directory_offset.get() as usize..footer_at]).unwrap();
    *entries.iter().find(|entry| entry.kind.get() == kind).unwrap()
}

/// Makes the checksums of all pieces right, as far as the headers make sense; then those around them.
fn reseal_lists(bytes: &mut [u8], shape: &ListShape, places: [std::ops::Range<usize>; 4]) -> FileFacts {
    let seed = file_seed(u128::from_le_bytes(bytes[24..40].try_into().unwrap()));
    let [headers, scan, records, checks] = places;
    let headers: Vec<ListHeader> = <[ListHeader]>::ref_from_bytes(&bytes[headers]).unwrap().to_vec();
    for header in headers.iter().filter(|header| header.n_total.get() < 10_000) {
        let parts = shape.parts(header.n_total.get());
        let chunks = (0..parts.scan_checks())
            .map(|i| (&scan, header.scan_offset.get(), parts.scan_chunk(i)))
            .chain((0..parts.record_checks()).map(|i| (&records, header.record_offset.get(), parts.record_chunk(i))));
        for (i, (section, offset, chunk)) in chunks.enumerate() {
            let at = (section.start as u64).saturating_add(offset).saturating_add(chunk.start as u64);
            let to = checks.start as u64 + 4 * (u64::from(header.first_check.get()) + i as u64);
            let piece = usize::try_from(at).ok().and_then(|at| bytes.get(at..at.saturating_add(chunk.len())));
            let Some(crc) = piece.map(|piece| unit_crc(seed, at, piece)) else { continue };
            if let Some(place) = bytes.get_mut(to as usize..to as usize + 4).filter(|_| (to as usize) < checks.end) {
                place.copy_from_slice(&crc.to_le_bytes());
            }
        }
    }
    reseal(bytes)
}

/// [LIST-5]
#[test]
fn any_place_may_hold_anything_under_right_checksums() {
    let dir = BytesDir::default();
    let mut draw = Draw(21);
    for code in [1, 4, 7].map(ListCode::Bits).into_iter().chain([ListCode::Raw(16)]).chain(OTHERS) {
        let (_, facts) = write(&dir, code, &[3, 0, 40]);
        let good = dir.bytes(LIST_NAME);
        let range = |kind: u32| {
            let entry = section(&good, kind);
            entry.offset.get() as usize..(entry.offset.get() + entry.length.get()) as usize
        };
        let records = match code {
            ListCode::Bits(1) => 0..0,
            ListCode::Bits(_) => range(0x0404),
            ListCode::Raw(_) => range(0x0405),
            _ => 0..0,
        };
        let places = [range(0x0402), range(0x0403), records, range(0x0406)];
        let mut intact = good.clone();
        assert_eq!(reseal_lists(&mut intact, &shape(code), places.clone()), facts);
        let near = [range(0x0401), range(0x0402), good.len() - 700..good.len() - 8];
        let (mut opened, rounds) = (0, 6_000);
        for round in 0..rounds {
            let mut bytes = good.clone();
            for _ in 0..1 + draw.below(3) {
                let span = if round % 4 == 0 { 64..good.len() - 8 } else { near[draw.below(3) as usize].clone() };
                let size = 1 << draw.below(4);
                let at = span.start + draw.below((span.len() - size) as u64) as usize;
                let value = [0, 1, u64::MAX, u64::MAX / 64, draw.next(), 1 << draw.below(64)][draw.below(6) as usize];
                bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
            let facts = reseal_lists(&mut bytes, &shape(code), places.clone());
            dir.put(LIST_NAME, bytes);
            opened += usize::from(open(&dir, &facts).is_ok());
            read_all(&dir, LIST_NAME, &facts);
        }
        assert!(opened > rounds / 8, "{opened} of {rounds} lies got past the opening of {code:?}");
        dir.put(LIST_NAME, good);
        std::mem::drop(dir.names());
        crate::storage::Storage::remove(&dir, LIST_NAME).unwrap();
    }
}

/// [MODEL-2]
#[test]
fn lies_of_a_model_are_found_when_it_is_opened_or_verified() {
    let dir = BytesDir::default();
    model(&dir, 40);
    let good = dir.bytes(MODEL_NAME);
    let at = |kind: u32| section(&good, kind).offset.get() as usize;
    let nan = f32::NAN.to_le_bytes();
    let lies: [(&str, usize, &[u8]); 8] = [
        ("dimension", at(0x0501), &[51]),
        ("padding", at(0x0501) + 4, &[128]),
        ("rounds", at(0x0501) + 16, &[5]),
        ("metric", at(0x0501) + 20, &[9]),
        ("scale", at(0x0501) + 24, &[1]),
        ("mean", at(0x0501) + 64, &nan),
        ("length of a centroid", at(0x0502) + PADDED, &nan),
        ("a byte of a code", at(0x0503), &[good[at(0x0503)] ^ 1]),
    ];
    for (what, at, patch) in lies {
        let mut bytes = good.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        let facts = reseal(&mut bytes);
        dir.put(MODEL_NAME, bytes);
        assert!(read_all(&dir, MODEL_NAME, &facts) > 0, "{what}");
    }
    let mut draw = Draw(6);
    for _ in 0..4_000 {
        let mut bytes = good.clone();
        let size = 1 << draw.below(4);
        let place = 64 + draw.below((good.len() - 72) as u64) as usize;
        bytes[place..place + size].copy_from_slice(&draw.next().to_le_bytes()[..size]);
        let facts = reseal(&mut bytes);
        dir.put(MODEL_NAME, bytes);
        read_all(&dir, MODEL_NAME, &facts);
    }
}

/// [MODEL-3]
#[test]
fn codewords_come_back_and_lies_about_them_are_found() {
    let dir = BytesDir::default();
    let book = CodebookFacts { parts: 4, size: 16 };
    let words: Vec<f32> = (0..PADDED * book.size).map(|i| i as f32 / 3.0 - 100.0).collect();
    let facts = model_with(&dir, 3, Some((book, &words)));
    let opened = open_model(&dir, &facts).unwrap();
    assert_eq!((opened.codebook(), opened.codewords()), (Some(book), words.clone()));
    assert_eq!(read_all(&dir, MODEL_NAME, &facts), 0);
    let good = dir.bytes(MODEL_NAME);
    let at = section(&good, 0x0504).offset.get() as usize;
    // The fourth parameter of the footer.
    let stated = good.len() - 160 + 104;
    assert_eq!(good[stated..stated + 8], (4_u64 | 4 << 24).to_le_bytes());
    let nan = f32::NAN.to_le_bytes();
    let lies: [(&str, usize, &[u8]); 7] = [
        ("parts", at, &[8]),
        ("size", at + 4, &[32]),
        ("a reserved byte", at + 63, &[1]),
        ("the first codeword", at + 64, &nan),
        ("the last codeword", at + 60 + 4 * words.len(), &nan),
        ("no codewords in the footer", stated, &[0; 8]),
        ("parts of no book in the footer", stated, &[5]),
    ];
    for (what, at, patch) in lies {
        let mut bytes = good.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        let facts = reseal(&mut bytes);
        dir.put(MODEL_NAME, bytes);
        assert!(read_all(&dir, MODEL_NAME, &facts) > 0, "{what}");
    }
    let mut draw = Draw(7);
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        let size = 1 << draw.below(4);
        let place = 64 + draw.below((good.len() - 72) as u64) as usize;
        bytes[place..place + size].copy_from_slice(&draw.next().to_le_bytes()[..size]);
        let facts = reseal(&mut bytes);
        dir.put(MODEL_NAME, bytes);
        read_all(&dir, MODEL_NAME, &facts);
    }
    // One without, and a footer that states some.
    crate::storage::Storage::remove(&dir, MODEL_NAME).unwrap();
    model(&dir, 3);
    let mut bytes = dir.bytes(MODEL_NAME);
    let stated = bytes.len() - 160 + 104;
    bytes[stated..stated + 8].copy_from_slice(&(4_u64 | 4 << 24).to_le_bytes());
    let facts = reseal(&mut bytes);
    dir.put(MODEL_NAME, bytes);
    assert!(open_model(&dir, &facts).is_err());
    let wrong = [CodebookFacts { parts: 5, size: 16 }, CodebookFacts { parts: 4, size: 32 }];
    for book in wrong {
        let (mean, centroids, codes) = model_content(3);
        let (metric, seed, scale) = (Metric::L2, 1, 0.5);
        let codebook = Some((book, &words[..]));
        let content = ModelContent { metric, seed, scale, mean: &mean, centroids: &centroids, codes: &codes, codebook };
        let dir = BytesDir::default();
        assert!(write_model(&dir, FILE, COLLECTION, ORIGIN, &content).is_err(), "{book:?}");
    }
}
