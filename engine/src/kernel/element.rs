//! Components as bytes, little-endian: f32, IEEE half and bfloat16, rounded to nearest even, signed bytes with a step, and bytes that are
//! numbers of their own.
//!
//! A row of bytes is the components divided by its step, rounded to nearest even, and then the step as an f32. The step is the largest
//! magnitude divided by 127, rounded up to a significand of 17 bits. So a byte times the step is a float without rounding, the byte of the
//! largest component is 127, and a row that was read back is stored as the same bytes again.

use half::{bf16, f16};

use crate::metric::Element;

/// Whether each of `vector` is a number that `element` has: encoded and decoded it is the same, to the bit. None is one with a step.
pub fn holds(element: Element, vector: &[f32]) -> bool {
    match element {
        Element::F32 => true,
        Element::F16 => all(vector, is_half),
        Element::Bf16 => all(vector, |bits| bits & 0xFFFF == 0),
        Element::I8 => false,
        Element::U8 => all(vector, |bits| bits == f32::from(f32::from_bits(bits) as u8).to_bits()),
    }
}

/// Whether all of a vector's bits are such; 64 components at a time, without a way out between them.
fn all(vector: &[f32], such: impl Fn(u32) -> bool) -> bool {
    vector.chunks(64).all(|some| some.iter().fold(true, |all, x| all & such(x.to_bits())))
}

/// Whether a float is a finite half. Below 2^-14 halves are the multiples of 2^-24.
fn is_half(bits: u32) -> bool {
    let magnitude = bits & 0x7FFF_FFFF;
    let multiple = f32::from_bits(magnitude) * 16_777_216.0;
    let is_small = magnitude < 0x3880_0000;
    (is_small & (multiple.trunc() == multiple)) | (!is_small & (bits & 0x1FFF == 0) & (magnitude <= 0x477F_E000))
}

/// Rows whose largest component is smaller are stored as zeros: steps stay normal floats. Far below the shortest vector of a cosine.
const SMALLEST: f32 = 1.0 / (1_u128 << 100) as f32;
/// Largest byte of a row of bytes.
const LARGEST_BYTE: f32 = 127.0;
/// The bits of an f32 that the step of a row does not use.
const STEP_REST: u32 = 0x7F;

/// Appends `vector` to `out` in `element`, `element.vector_bytes(vector.len())` bytes. Components too large for f16 become
/// infinite, as IEEE rounding has it; the caller refuses such vectors. What is no number from 0 to 255 becomes one of them; the caller asks
/// [`holds`] before.
pub fn encode_row(element: Element, vector: &[f32], out: &mut Vec<u8>) {
    out.reserve(element.vector_bytes(vector.len()));
    match element {
        Element::F32 => out.extend_from_slice(bytemuck::cast_slice(vector)),
        Element::F16 => out.extend(vector.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes())),
        Element::Bf16 => out.extend(vector.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes())),
        Element::I8 => {
            let step = step_of(vector);
            let inside = |x: &f32| if step > 0.0 { (x / step).round_ties_even() as i8 } else { 0 };
            out.extend(vector.iter().map(|x| inside(x).cast_unsigned()));
            out.extend_from_slice(&step.to_le_bytes());
        }
        Element::U8 => out.extend(vector.iter().map(|x| *x as u8)),
    }
}

/// The step of a row of bytes; 0 for a row of zeros.
fn step_of(vector: &[f32]) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    match largest < SMALLEST {
        true => 0.0,
        false => f32::from_bits(((largest / LARGEST_BYTE).to_bits() + STEP_REST) & !STEP_REST),
    }
}

/// The step that stands behind the bytes of a stored row; NaN if it is too short.
fn stored_step(row: &[u8], dim: usize) -> f32 {
    row.get(dim..).and_then(|rest| rest.first_chunk()).map_or(f32::NAN, |step| f32::from_le_bytes(*step))
}

/// Reads a row of `out.len()` components back: `out[i]` is the stored value of component `i`, without error. What `row` does not have is left
/// as it was.
pub fn decode_row(element: Element, row: &[u8], out: &mut [f32]) {
    match element {
        Element::F32 => decode::<4>(row, out, f32::from_le_bytes),
        Element::F16 => decode::<2>(row, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Element::Bf16 => decode::<2>(row, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Element::I8 => {
            let step = stored_step(row, out.len());
            decode::<1>(row, out, |[byte]| f32::from(byte.cast_signed()) * step);
        }
        Element::U8 => decode::<1>(row, out, |[byte]| f32::from(byte)),
    }
}

fn decode<const WIDTH: usize>(row: &[u8], out: &mut [f32], value: impl Fn([u8; WIDTH]) -> f32) {
    let (components, _) = row.as_chunks::<WIDTH>();
    for (to, from) in out.iter_mut().zip(components) {
        *to = value(*from);
    }
}

/// Squared length of a stored row in f64: eight partial sums (component `i` goes to sum `i % 8`), added pairwise, without
/// fused operations. The order is part of the file format, since norms are stored.
pub(super) fn norm_squared(element: Element, row: &[u8]) -> f64 {
    let decode_chunk = |bytes: &[u8], out: &mut [f32]| decode_row(element, bytes, out);
    match element {
        Element::F32 => squares(row, 4, decode_chunk),
        Element::F16 | Element::Bf16 => squares(row, 2, decode_chunk),
        Element::U8 => squares(row, 1, decode_chunk),
        Element::I8 => {
            let dim = row.len().saturating_sub(4);
            let step = stored_step(row, dim);
            squares(row.get(..dim).unwrap_or_default(), 1, |bytes, out| {
                decode::<1>(bytes, out, |[byte]| f32::from(byte.cast_signed()) * step);
            })
        }
    }
}

/// The sum of the squares of components of `width` bytes, which `read` reads.
fn squares(components: &[u8], width: usize, read: impl Fn(&[u8], &mut [f32])) -> f64 {
    let mut sums = [0.0_f64; 8];
    let mut chunk = [0.0_f32; 64];
    for bytes in components.chunks(64 * width) {
        let count = bytes.len() / width;
        read(bytes, &mut chunk[..count]);
        chunk[count..].fill(0.0);
        for eight in chunk.as_chunks::<8>().0 {
            for (sum, x) in sums.iter_mut().zip(eight) {
                *sum += f64::from(*x) * f64::from(*x);
            }
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Eight sums side by side: several times the speed of one.
#[inline(always)]
pub(super) fn squared_length(vector: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (eights, rest) = vector.as_chunks::<8>();
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    sums.iter().chain(&rest.iter().fold([0.0], |[sum], x| [sum + f64::from(*x) * f64::from(*x)])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Element; 4] = [Element::F32, Element::F16, Element::Bf16, Element::I8];

    // [ROW-12]
    #[test]
    fn what_an_element_holds_comes_back_to_the_bit() {
        let around = |x: f32| [x, -x, f32::from_bits(x.to_bits() + 1), f32::from_bits(x.to_bits().saturating_sub(1))];
        let edges =
            [0.0, 1.0, 255.0, 256.0, 0.5, 6.103_515_6e-5, 65_504.0, 65_520.0, 1.0e-7, 3.0e38, f32::INFINITY, f32::NAN];
        let bytes = (0..=256_u16).map(f32::from);
        let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
        let brains = (0..=u16::MAX).map(|bits| bf16::from_bits(bits).to_f32());
        let mut held = [0; 5];
        for x in edges.into_iter().flat_map(around).chain(bytes).chain(halves).chain(brains) {
            for (element, held) in Element::ALL.into_iter().zip(&mut held) {
                let (mut stored, mut back) = (Vec::new(), [9.0]);
                encode_row(element, &[x], &mut stored);
                decode_row(element, &stored, &mut back);
                let same = back[0].to_bits() == x.to_bits();
                assert!(same || !holds(element, &[x]), "{element:?} does not hold {x}");
                *held += usize::from(holds(element, &[x]));
                if matches!(element, Element::U8 | Element::F16) && x.is_finite() {
                    assert_eq!(same, holds(element, &[x]), "{element:?} {x}");
                }
            }
        }
        // Finite halves, all there are and some again; nothing has a step.
        assert!(held[1] >= 2 * 31 * 1024 && held[2] >= 65_024 && held[3] == 0 && held[4] >= 256, "{held:?}");
    }

    #[test]
    fn one_component_that_an_element_does_not_hold_is_enough() {
        for place in [0, 15, 16, 40] {
            for (element, x) in [(Element::U8, 256.0), (Element::U8, -0.0), (Element::F16, 0.1), (Element::Bf16, 257.0)]
            {
                let mut vector = [3.0; 41];
                assert!(holds(element, &vector));
                vector[place] = x;
                assert!(!holds(element, &vector), "{element:?} {place}");
            }
        }
    }

    #[test]
    fn rows_come_back_as_rounded_and_rounding_again_changes_nothing() {
        let vector = [0.0, -0.0, 1.0, -1.5, 0.1, 3.3e-5, 65504.0, 1e-8, -7.25];
        let largest = 65504.0_f32;
        for element in FORMATS {
            let mut bytes = Vec::new();
            encode_row(element, &vector, &mut bytes);
            assert_eq!(bytes.len(), element.vector_bytes(vector.len()));
            let mut back = [9.0; 9];
            decode_row(element, &bytes, &mut back);
            let mut again = Vec::new();
            encode_row(element, &back, &mut again);
            assert_eq!(bytes, again);
            for (x, y) in vector.iter().zip(back) {
                let tolerance = match element {
                    Element::F32 => 0.0,
                    Element::F16 => (x.abs() / 2048.0).max(3.0e-8),
                    Element::Bf16 => x.abs() / 256.0,
                    Element::I8 | Element::U8 => largest / 253.9,
                };
                assert!((x - y).abs() <= tolerance, "{element:?}: {x} came back as {y}");
            }
        }
    }

    #[test]
    fn halves_between_two_values_go_to_the_even_one() {
        let mut bytes = Vec::new();
        encode_row(Element::F16, &[2049.0, 2051.0], &mut bytes);
        encode_row(Element::Bf16, &[257.0, 259.0], &mut bytes);
        let mut back = [0.0; 2];
        decode_row(Element::F16, &bytes[..4], &mut back);
        assert_eq!(back, [2048.0, 2052.0]);
        decode_row(Element::Bf16, &bytes[4..], &mut back);
        assert_eq!(back, [256.0, 260.0]);
    }

    #[test]
    fn the_squared_length_is_that_of_the_stored_components_for_any_dimension() {
        for dim in [0, 1, 7, 8, 63, 64, 65, 200] {
            let vector: Vec<f32> = (0..dim).map(|i| (i as f32 - 3.0) * 0.37).collect();
            for element in FORMATS {
                let mut bytes = Vec::new();
                encode_row(element, &vector, &mut bytes);
                let mut stored = vec![0.0; dim];
                decode_row(element, &bytes, &mut stored);
                let plain: f64 = stored.iter().map(|x| f64::from(*x).powi(2)).sum();
                assert!((norm_squared(element, &bytes) - plain).abs() <= plain * 1e-14);
            }
        }
    }

    // [ROW-10]
    #[test]
    fn bytes_that_were_read_back_are_stored_as_the_same_bytes() {
        let mut draw = crate::kernel::SplitMix64::new(3);
        for dim in [1, 2, 16, 63, 384] {
            for scale in [1.0e-29, 1.0e-12, 0.7, 3.0e5, 1.0e18] {
                let vector: Vec<f32> =
                    (0..dim).map(|_| ((draw.next_u64() >> 40) as f32 / 8388608.0 - 1.0) * scale).collect();
                let (mut bytes, mut again, mut back) = (Vec::new(), Vec::new(), vec![0.0; dim]);
                encode_row(Element::I8, &vector, &mut bytes);
                decode_row(Element::I8, &bytes, &mut back);
                encode_row(Element::I8, &back, &mut again);
                assert_eq!(bytes, again, "{dim} {scale}");
                let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                assert!(vector.iter().zip(&back).all(|(x, y)| (x - y).abs() <= largest / 253.9), "{dim} {scale}");
            }
        }
    }

    #[test]
    fn vectors_too_small_for_a_step_are_zeros_and_damaged_steps_give_no_number() {
        let mut bytes = Vec::new();
        encode_row(Element::I8, &[1.0e-40, -3.0e-31, 0.0], &mut bytes);
        assert_eq!(bytes, [0; 7]);
        let mut back = [1.0; 3];
        decode_row(Element::I8, &[127, 1, 2], &mut back);
        assert!(back.iter().all(|x| x.is_nan()));
    }
}
