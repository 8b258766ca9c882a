//! Components as bytes, little-endian: f32, IEEE half and bfloat16, rounded to nearest even, and signed bytes with a step.
//!
//! A row of bytes is the components divided by its step, rounded to nearest even, and then the step as an f32. The step is the largest
//! magnitude divided by 127, rounded up to a significand of 17 bits. So a byte times the step is a float without rounding, the byte of the
//! largest component is 127, and a row that was read back is stored as the same bytes again.

use half::{bf16, f16};

use crate::metric::RowFormat;

/// Rows whose largest component is smaller are stored as zeros: steps stay normal floats. Far below the shortest vector of a cosine.
const SMALLEST: f32 = 1.0 / (1_u128 << 100) as f32;
/// Largest byte of a row of bytes.
const LARGEST_BYTE: f32 = 127.0;
/// The bits of an f32 that the step of a row does not use.
const STEP_REST: u32 = 0x7F;

/// Appends `vector` to `out` in `format`, `format.vector_bytes(vector.len())` bytes. Components too large for f16 become
/// infinite, as IEEE rounding has it; the caller refuses such vectors.
pub fn encode_row(format: RowFormat, vector: &[f32], out: &mut Vec<u8>) {
    out.reserve(format.vector_bytes(vector.len()));
    match format {
        RowFormat::F32 => out.extend_from_slice(bytemuck::cast_slice(vector)),
        RowFormat::F16 => out.extend(vector.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes())),
        RowFormat::Bf16 => out.extend(vector.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes())),
        RowFormat::I8 | RowFormat::None => {
            let step = step_of(vector);
            let inside = |x: &f32| if step > 0.0 { (x / step).round_ties_even() as i8 } else { 0 };
            out.extend(vector.iter().map(|x| inside(x).cast_unsigned()));
            out.extend_from_slice(&step.to_le_bytes());
        }
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
pub fn decode_row(format: RowFormat, row: &[u8], out: &mut [f32]) {
    match format {
        RowFormat::F32 => decode::<4>(row, out, f32::from_le_bytes),
        RowFormat::F16 => decode::<2>(row, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        RowFormat::Bf16 => decode::<2>(row, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        RowFormat::I8 | RowFormat::None => {
            let step = stored_step(row, out.len());
            decode::<1>(row, out, |[byte]| f32::from(byte.cast_signed()) * step);
        }
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
pub(super) fn norm_squared(format: RowFormat, row: &[u8]) -> f64 {
    let decode_chunk = |bytes: &[u8], out: &mut [f32]| decode_row(format, bytes, out);
    match format {
        RowFormat::F32 => squares(row, 4, decode_chunk),
        RowFormat::F16 | RowFormat::Bf16 => squares(row, 2, decode_chunk),
        RowFormat::I8 | RowFormat::None => {
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

    const FORMATS: [RowFormat; 4] = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8];

    #[test]
    fn rows_come_back_as_rounded_and_rounding_again_changes_nothing() {
        let vector = [0.0, -0.0, 1.0, -1.5, 0.1, 3.3e-5, 65504.0, 1e-8, -7.25];
        let largest = 65504.0_f32;
        for format in FORMATS {
            let mut bytes = Vec::new();
            encode_row(format, &vector, &mut bytes);
            assert_eq!(bytes.len(), format.vector_bytes(vector.len()));
            let mut back = [9.0; 9];
            decode_row(format, &bytes, &mut back);
            let mut again = Vec::new();
            encode_row(format, &back, &mut again);
            assert_eq!(bytes, again);
            for (x, y) in vector.iter().zip(back) {
                let tolerance = match format {
                    RowFormat::F32 => 0.0,
                    RowFormat::F16 => (x.abs() / 2048.0).max(3.0e-8),
                    RowFormat::Bf16 => x.abs() / 256.0,
                    RowFormat::I8 | RowFormat::None => largest / 253.9,
                };
                assert!((x - y).abs() <= tolerance, "{format:?}: {x} came back as {y}");
            }
        }
    }

    #[test]
    fn halves_between_two_values_go_to_the_even_one() {
        let mut bytes = Vec::new();
        encode_row(RowFormat::F16, &[2049.0, 2051.0], &mut bytes);
        encode_row(RowFormat::Bf16, &[257.0, 259.0], &mut bytes);
        let mut back = [0.0; 2];
        decode_row(RowFormat::F16, &bytes[..4], &mut back);
        assert_eq!(back, [2048.0, 2052.0]);
        decode_row(RowFormat::Bf16, &bytes[4..], &mut back);
        assert_eq!(back, [256.0, 260.0]);
    }

    #[test]
    fn the_squared_length_is_that_of_the_stored_components_for_any_dimension() {
        for dim in [0, 1, 7, 8, 63, 64, 65, 200] {
            let vector: Vec<f32> = (0..dim).map(|i| (i as f32 - 3.0) * 0.37).collect();
            for format in FORMATS {
                let mut bytes = Vec::new();
                encode_row(format, &vector, &mut bytes);
                let mut stored = vec![0.0; dim];
                decode_row(format, &bytes, &mut stored);
                let plain: f64 = stored.iter().map(|x| f64::from(*x).powi(2)).sum();
                assert!((norm_squared(format, &bytes) - plain).abs() <= plain * 1e-14);
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
                encode_row(RowFormat::I8, &vector, &mut bytes);
                decode_row(RowFormat::I8, &bytes, &mut back);
                encode_row(RowFormat::I8, &back, &mut again);
                assert_eq!(bytes, again, "{dim} {scale}");
                let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                assert!(vector.iter().zip(&back).all(|(x, y)| (x - y).abs() <= largest / 253.9), "{dim} {scale}");
            }
        }
    }

    #[test]
    fn vectors_too_small_for_a_step_are_zeros_and_damaged_steps_give_no_number() {
        let mut bytes = Vec::new();
        encode_row(RowFormat::I8, &[1.0e-40, -3.0e-31, 0.0], &mut bytes);
        assert_eq!(bytes, [0; 7]);
        let mut back = [1.0; 3];
        decode_row(RowFormat::I8, &[127, 1, 2], &mut back);
        assert!(back.iter().all(|x| x.is_nan()));
    }
}
