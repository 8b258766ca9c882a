//! Entries become vectors again, as well as their codes know them.
//!
//! A code knows where a vector is up to an error that has nothing to do with any query. What it decodes to is not the most likely vector,
//! which would be too near to the centroid, but the one whose products with others are right on average; it is longer than the vector was, by
//! [`Decoded::excess`].

use super::centroids::CentroidSet;
use super::encoder::Coder;
use super::entries::{EntryLayout, take_entry};
use super::frame::Frame;
use crate::kernel::Op;
use crate::kernel::code::extra::{code_bytes, record_bytes, take_code, take_factors};
use crate::kernel::code::residual::{Factors, gain_of};

/// The entries of a list, as a segment keeps them.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub(crate) layout: EntryLayout,
    pub(crate) signs: &'a [u8],
    pub(crate) factors: &'a [u8],
    pub(crate) records: &'a [u8],
    /// Bytes between the starts of two records.
    pub(crate) stride: usize,
}

/// What is known of a vector beside where it seems to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Decoded {
    /// Its squared distance from the centroid of its list.
    pub(crate) energy: f32,
    /// What the squared distance of the decoded one from anywhere is more than its own, on average; 0 of one that was not coded.
    pub(crate) excess: f32,
}

/// Mean squared cosine of a residual and its code, by bits.
const LIKENESS: [f32; 6] = [0.0, std::f32::consts::FRAC_2_PI, 0.8825, 0.9655, 0.9905, 0.9975];

/// Decodes entries of one list after the other.
pub(crate) struct EntryDecoder<'a> {
    frame: &'a Frame,
    centroids: CentroidSet<'a>,
    coder: Coder<'a>,
    list: Option<usize>,
    centroid: Vec<f32>,
    code: Vec<u8>,
    further: Vec<u8>,
}

impl<'a> EntryDecoder<'a> {
    pub(crate) fn new(frame: &'a Frame, centroids: CentroidSet<'a>, coder: Coder<'a>) -> Self {
        let (centroid, code, further) = (Vec::new(), Vec::new(), Vec::new());
        EntryDecoder { frame, centroids, coder, list: None, centroid, code, further }
    }

    /// Leaves in `out` the vector of an entry of `list`, in the frame. `None` if there is no such entry, or it has no code.
    pub(crate) fn decode(
        &mut self,
        list: usize,
        entries: &Entries<'_>,
        position: usize,
        out: &mut Vec<f32>,
    ) -> Option<Decoded> {
        if self.list.replace(list) != Some(list) {
            self.centroids.centroid(list, self.frame.padded(), &mut self.centroid);
        }
        let stored = take_entry(entries.layout, entries.signs, entries.factors, position, &mut self.code)?;
        let mut factors = stored.factors(self.frame.scale());
        match self.coder {
            Coder::None => return None,
            Coder::Bits(bits) => factors = self.grid(bits, factors, entries, position, out)?,
            Coder::Product(book) => book.decode(&self.code, out),
        }
        let (mut square, mut product) = (0.0_f64, 0.0_f64);
        for (g, c) in out.iter().zip(&self.centroid) {
            square += f64::from(*g) * f64::from(*g);
            product += f64::from(*g) * f64::from(*c);
        }
        let (square, product) = (square as f32, product as f32);
        let length = factors.rescale * factors.rescale * square;
        let likely = match self.coder {
            Coder::Product(_) => factors.rescale * square,
            Coder::Bits(bits) => length * LIKENESS.get(bits).copied().unwrap_or(1.0),
            Coder::None => 0.0,
        };
        let energy = match self.frame.op() {
            Op::L2 => factors.add - gain_of(Op::L2) * factors.rescale * product,
            Op::Dot => likely,
        };
        // No code is longer than what it stands for by more than this, nor shorter; rounded factors say so where little is left of them.
        let energy = if energy.is_finite() { energy.clamp(length / 4.0, length) } else { likely };
        out.iter_mut().zip(&self.centroid).for_each(|(x, c)| *x = c + factors.rescale * *x);
        out.iter().all(|x| x.is_finite()).then_some(Decoded { energy, excess: length - energy })
    }

    /// What the bits of an entry stand for, and the factors of all of them.
    fn grid(
        &mut self,
        bits: usize,
        signs_alone: Factors,
        entries: &Entries<'_>,
        position: usize,
        out: &mut Vec<f32>,
    ) -> Option<Factors> {
        let padded = self.frame.padded();
        let (further, mut factors) = (bits.saturating_sub(1), signs_alone);
        self.further.clear();
        self.further.resize(padded, 0);
        if further > 0 {
            let start = position.checked_mul(entries.stride)?;
            let record = entries.records.get(start..)?.get(..record_bytes(padded, further))?;
            take_code(record.get(..code_bytes(padded, further))?, further, &mut self.further);
            factors = take_factors(record);
        }
        let middle = ((1_u32 << bits) - 1) as f32 / 2.0;
        let value = |(at, further_bits): (usize, &u8)| {
            let positive = self.code.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            f32::from(u16::from(positive) << further | u16::from(*further_bits)) - middle
        };
        out.clear();
        out.extend(self.further.iter().enumerate().map(value));
        Some(factors)
    }
}

#[cfg(test)]
mod tests {
    use super::super::centroids::CentroidBytes;
    use super::super::encoder::EntryEncoder;
    use super::super::entries::EncodedList;
    use super::*;
    use crate::format::model::centroid_stride;
    use crate::kernel::code::product::Codebook;
    use crate::kernel::{SplitMix64, kernels};
    use crate::metric::Metric;

    const DIM: usize = 192;

    fn normal(generator: &mut SplitMix64) -> f32 {
        let mut draw = || (generator.next_u64() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..12).map(|_| draw()).sum()
    }

    fn frame(metric: Metric) -> Frame {
        Frame::new(metric, vec![0.25; DIM], 7, Frame::scale_for(DIM as f64))
    }

    /// Mean of what `of` says of rows that were coded and decoded: the row in the frame, what it became, what is known of it, and its centroid.
    fn mean(coder: Coder<'_>, metric: Metric, of: impl Fn(&[f32], &[f32], &Decoded, &[f32]) -> f64) -> f64 {
        let (frame, mut generator) = (frame(metric), SplitMix64::new(3));
        let mut row = || -> Vec<f32> { (0..DIM).map(|_| normal(&mut generator)).collect() };
        let (stride, centroids) = (centroid_stride(DIM), [row(), row()].concat());
        let bytes = CentroidBytes::new(kernels(), &frame, &centroids, stride);
        let set = bytes.records(stride);
        let layout = match coder {
            Coder::Product(book) => EntryLayout::Columns { parts: book.parts(), width: 1 },
            _ => EntryLayout::Nibbles(DIM),
        };
        let mut encoder = EntryEncoder::new(kernels(), &frame, set, coder);
        encoder.begin(1);
        let (mut list, mut wanted, mut inside) = (EncodedList::new(layout), Vec::new(), Vec::new());
        for n in 0..200 {
            let row = row();
            encoder.push(n, &row, 1.0, &mut list);
            frame.enter(kernels(), &row, 1.0, &mut inside);
            wanted.push(inside.clone());
        }
        let stride = list.records.len() / list.rows.len();
        let entries = Entries { layout, signs: &list.signs, factors: &list.factors, records: &list.records, stride };
        let (mut decoder, mut centroid) = (EntryDecoder::new(&frame, set, coder), Vec::new());
        set.centroid(1, DIM, &mut centroid);
        let sum: f64 = (0..wanted.len())
            .map(|at| {
                let decoded = decoder.decode(1, &entries, at, &mut inside).unwrap();
                of(&wanted[at], &inside, &decoded, &centroid)
            })
            .sum();
        assert_eq!(decoder.decode(1, &entries, 256, &mut inside), None);
        sum / wanted.len() as f64
    }

    fn square(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn more_bits_decode_to_what_is_nearer() {
        for metric in [Metric::L2, Metric::InnerProduct] {
            let error = |bits| {
                mean(Coder::Bits(bits), metric, |row, decoded, _, centroid| {
                    square(row, decoded) / square(row, centroid)
                })
            };
            let (one, two, four, eight) = (error(1), error(2), error(4), error(8));
            assert!((0.54..0.60).contains(&one), "{one}");
            assert!((0.11..0.15).contains(&two), "{two}");
            assert!(four < 0.012 && eight < 1e-4, "{four} {eight}");
        }
    }

    #[test]
    fn distances_are_known_and_by_how_much_those_of_the_decoded_are_larger() {
        for (bits, metric) in [(1, Metric::L2), (3, Metric::L2), (1, Metric::InnerProduct)] {
            let coder = Coder::Bits(bits);
            let distance =
                mean(coder, metric, |row, _, known, centroid| f64::from(known.energy) / square(row, centroid));
            assert!((distance - 1.0).abs() < 0.02, "{bits} bits: {distance}");
            let elsewhere = [1.0; DIM];
            let off = mean(coder, metric, |row, decoded, known, _| {
                (square(decoded, &elsewhere) - f64::from(known.excess)) / square(row, &elsewhere)
            });
            assert!((off - 1.0).abs() < 0.02, "{bits} bits: {off}");
        }
    }

    #[test]
    fn numbers_of_codewords_decode_too() {
        let mut generator = SplitMix64::new(5);
        let words = (0..DIM * 64).map(|_| normal(&mut generator)).collect();
        let book = Codebook::new(DIM, 96, 64, words).unwrap();
        let error = mean(Coder::Product(&book), Metric::L2, |row, decoded, _, _| {
            let length = square(row, &[0.0; DIM]);
            square(row, decoded) / length
        });
        assert!(error < 0.3, "{error}");
    }
}
