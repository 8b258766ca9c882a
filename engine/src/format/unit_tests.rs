use super::super::unit_encoder::{OffsetEncoder, UnitEncoder};
use super::*;

const SEED: u32 = 77;
const AT: u64 = 4096;

fn stream(shape: UnitShape) -> UnitStream {
    UnitStream::new(shape, "f".into(), "s", SEED, AT)
}

fn encode(width: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = UnitEncoder::fixed(SEED, AT, width);
    bytes.chunks(width).for_each(|entry| encoder.push(entry, &mut out));
    encoder.finish(&mut out);
    out
}

/// [UNIT-1]
#[test]
fn entries_of_every_width_come_back_and_never_straddle_units() {
    for width in [1, 2, 7, 8, 12, 64, 528, 4087, 4088] {
        let per_unit = 4088 / width;
        for count in [1, per_unit - 1, per_unit, per_unit + 1, 3 * per_unit + 2].into_iter().filter(|n| *n > 0) {
            let content: Vec<u8> = (0..count * width).map(|i| (i * 31 % 251) as u8).collect();
            let bytes = encode(width, &content);
            let shape = UnitShape::fixed(width, count as u64).unwrap();
            assert_eq!(shape.section_bytes(), Some(bytes.len() as u64), "width {width}, {count} entries");
            let units = stream(shape);
            for (i, entry) in content.chunks(width).enumerate() {
                assert_eq!(units.entry(&bytes, i as u64).unwrap(), entry);
            }
            assert!(units.entry(&bytes, count as u64).is_err());
        }
    }
}

#[test]
fn a_byte_stream_gives_every_range_borrowed_within_a_unit_and_joined_across() {
    let content: Vec<u8> = (0..10_000).map(|i| (i % 253) as u8).collect();
    let bytes = encode(1, &content);
    let units = stream(UnitShape::fixed(1, 10_000).unwrap());
    for range in [0..0, 0..1, 4087..4088, 4087..4089, 100..9_999, 0..10_000, 10_000..10_000] {
        let got = units.bytes(&bytes, range.start as u64..range.end as u64).unwrap();
        assert_eq!(got, &content[range]);
    }
    assert!(matches!(units.bytes(&bytes, 1..4088), Ok(Cow::Borrowed(_))));
    #[expect(clippy::reversed_empty_ranges, reason = "a hostile offset column gives such ranges")]
    let backwards = units.bytes(&bytes, 9..8);
    assert!(backwards.is_err());
    assert!(units.bytes(&bytes, 0..10_001).is_err() && units.bytes(&bytes, u64::MAX..u64::MAX).is_err());
}

/// [UNIT-4]
#[test]
fn an_offset_column_gives_ranges_that_follow_each_other() {
    let lens: Vec<usize> = (0..2_500).map(|i| i * 7 % 90).collect();
    let mut bytes = Vec::new();
    let mut encoder = OffsetEncoder::new(SEED, AT);
    lens.iter().for_each(|len| encoder.push(*len, &mut bytes));
    encoder.finish(&mut bytes);
    let shape = UnitShape::offsets(2_500);
    assert_eq!(shape.section_bytes(), Some(bytes.len() as u64));
    let units = stream(shape);
    let mut at = 0;
    for (i, len) in lens.iter().enumerate() {
        assert_eq!(units.offsets(&bytes, i as u64).unwrap(), at..at + *len as u64);
        at += *len as u64;
    }
    assert!(units.offsets(&bytes, 2_500).is_err());
}

/// [UNIT-3]
#[test]
fn every_bit_of_every_unit_is_covered_and_damage_stays_within_its_unit() {
    let content = vec![9u8; 5_000];
    let good = encode(1, &content);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let units = stream(UnitShape::fixed(1, 5_000).unwrap());
        let damaged = (bit / 8 / UNIT_BYTES) as u64;
        assert!(units.unit(&bytes, damaged).is_err(), "bit {bit}");
        assert!(units.unit(&bytes, 1 - damaged).is_ok(), "bit {bit}");
    }
}

/// [SUM-1]
#[test]
fn a_unit_at_another_place_or_in_another_file_is_damage() {
    let bytes = encode(8, &[5; 8 * 511 * 2]);
    let shape = UnitShape::fixed(8, 1_022).unwrap();
    assert!(stream(shape).unit(&bytes, 0).is_ok());
    let moved = UnitStream::new(shape, "f".into(), "s", SEED, AT + 4096);
    let other_file = UnitStream::new(shape, "f".into(), "s", SEED + 1, AT);
    let mut swapped = bytes.clone();
    swapped.copy_within(4096..8192, 0);
    assert!(moved.unit(&bytes, 0).is_err());
    assert!(other_file.unit(&bytes, 0).is_err());
    assert!(stream(shape).unit(&swapped, 0).is_err());
}

#[test]
fn shapes_of_absurd_counts_have_no_length_and_short_sections_no_units() {
    assert_eq!(UnitShape::fixed(0, 1), None);
    assert_eq!(UnitShape::fixed(4089, 1), None);
    assert_eq!(UnitShape::fixed(4088, u64::MAX).unwrap().section_bytes(), None);
    let units = stream(UnitShape::fixed(8, 1_000).unwrap());
    assert!(units.unit(&[0; 100], 0).is_err() && units.check_unit(&[], 1).is_err());
}
