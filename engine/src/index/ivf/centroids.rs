//! Centroids as bytes, and the choice of the lists a query looks at.

use super::frame::Frame;
use super::search::{QueryState, Scratch};
use super::{Stage, Trace};
use crate::kernel::code::residual::{Coded, Coding};
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::{ScanTerms, SignList};
use crate::kernel::code::sign_block::append_blocks;
use crate::kernel::{Chosen, Kernels, Op, RECORDS, RECORDS_AHEAD};

/// Centroids and their scan codes, as a model keeps them.
pub(crate) struct CentroidBytes {
    /// A byte per component, then `|c|^2` and the step as f32, then zeros; `stride` bytes each.
    pub(crate) centroids: Vec<u8>,
    /// Sign blocks of all centroids around zero, then their factors.
    pub(crate) codes: Vec<u8>,
}

impl CentroidBytes {
    /// The bytes of centroids given in the space of vectors (under cosine: near the unit sphere), end to end.
    pub(crate) fn new(kernels: &Kernels, frame: &Frame, values: &[f32], stride: usize) -> CentroidBytes {
        let coding = Coding { bits: 1, op: frame.op(), scale: frame.scale() };
        let zero = vec![0.0; frame.padded()];
        let (mut inside, mut bytes) = (Vec::new(), Vec::new());
        let mut coded = Vec::new();
        for centroid in values.chunks_exact(frame.dim()) {
            frame.enter(kernels, centroid, 1.0, &mut inside);
            append_centroid(&mut inside, stride, &mut bytes);
            let mut entry = Coded::default();
            kernels.encode(&coding, &inside, &zero, 0.0, &mut entry);
            coded.push(entry);
        }
        let (mut codes, mut factors) = (Vec::new(), Vec::new());
        append_blocks(frame.padded(), &coded, &mut codes, &mut factors);
        codes.extend_from_slice(&factors);
        CentroidBytes { centroids: bytes, codes }
    }

    /// The centroids alone, for whoever does not scan.
    pub(crate) fn records(&self, stride: usize) -> CentroidSet<'_> {
        let count = self.centroids.len() / stride.max(1);
        CentroidSet { count, bytes: &self.centroids, stride, signs: &[], factors: &[] }
    }
}

/// Appends a centroid as bytes and leaves in `inside` what those bytes stand for.
fn append_centroid(inside: &mut [f32], stride: usize, out: &mut Vec<u8>) {
    let largest = inside.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let step = largest / 127.5;
    let inverse = if step >= f32::MIN_POSITIVE { 1.0 / step } else { 0.0 };
    let end = out.len() + stride;
    for x in inside.iter_mut() {
        let byte = (*x * inverse + 127.5).round_ties_even().clamp(0.0, 255.0) as u8;
        *x = step * (f32::from(byte) - 127.5);
        out.push(byte);
    }
    let norm: f64 = inside.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    out.extend_from_slice(&(norm as f32).to_le_bytes());
    out.extend_from_slice(&step.to_le_bytes());
    out.resize(end, 0);
}

/// Centroids in borrowed bytes: as many as `signs`, `factors` and `bytes` have room for, which the owner has proven.
#[derive(Clone, Copy)]
pub(crate) struct CentroidSet<'a> {
    /// Number of lists.
    pub(crate) count: usize,
    /// Records, `stride` bytes each.
    pub(crate) bytes: &'a [u8],
    /// Bytes between the starts of two records.
    pub(crate) stride: usize,
    /// Sign blocks.
    pub(crate) signs: &'a [u8],
    /// Factors of the sign blocks.
    pub(crate) factors: &'a [u8],
}

/// A list to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probed {
    /// Its number.
    pub(crate) list: u32,
    /// What the order of probing follows: smaller is better.
    pub(crate) rank: f32,
    /// `|q - c|`.
    pub(crate) reach: f32,
}

/// Centroids refined beyond half as many again as are probed.
const REFINED_BEYOND: usize = 12;

impl CentroidSet<'_> {
    /// The centroid of a list, in the frame.
    pub(crate) fn centroid(&self, list: usize, padded: usize, out: &mut Vec<f32>) {
        out.clear();
        let Some(record) = self.record(list) else { return };
        let (_, step) = tail(record, padded);
        out.extend(record.iter().take(padded).map(|byte| step * (f32::from(*byte) - 127.5)));
    }

    /// `|c|^2` of a centroid.
    pub(super) fn square(&self, list: usize, padded: usize) -> f32 {
        self.record(list).map_or(0.0, |record| tail(record, padded).0)
    }

    fn record(&self, list: usize) -> Option<&[u8]> {
        self.bytes.get(list.checked_mul(self.stride)?..)?.get(..self.stride)
    }

    /// Leaves in `scratch.probes` the `nprobe` best lists for a query, best first.
    pub(super) fn rank<T: Trace>(
        &self,
        kernels: &Kernels,
        frame: &Frame,
        query: &QueryState,
        nprobe: usize,
        scratch: &mut Scratch,
        trace: &mut T,
    ) {
        let square = query.tables.norm_squared();
        let op = frame.op();
        let base = if op == Op::L2 { square } else { 0.0 };
        let terms = ScanTerms { op, base, reach: square.sqrt(), scale: frame.scale() };
        let list = SignList { codes: self.signs, factors: self.factors, count: self.count };
        scratch.estimates.resize(self.count, 0.0);
        kernels.estimate(&query.tables, &list, &terms, &mut scratch.estimates);
        let wanted = (nprobe + nprobe / 2 + REFINED_BEYOND).min(self.count);
        let chosen = kernels.select_near(&scratch.estimates, wanted, &mut scratch.selection);
        scratch.offsets.clear();
        scratch.offsets.extend(chosen.iter().map(|chosen| chosen.index() * self.stride));
        scratch.refined.resize(scratch.offsets.len(), 0.0);
        trace.ended(Stage::Centroids);
        for offset in scratch.offsets.iter().take(RECORDS * RECORDS_AHEAD) {
            kernels.prefetch(self.bytes.get(*offset..offset + self.stride).unwrap_or_default());
        }
        let coding = RowCoding { bits: 8, op: Op::L2 };
        let terms = ScanTerms { op: Op::L2, base: square, reach: square.sqrt(), scale: 1.0 };
        let (offsets, refined) = (&scratch.offsets, &mut scratch.refined);
        kernels.estimate_row_codes(&query.tables, &coding, &terms, self.bytes, offsets, refined);
        let chosen = scratch.selection.chosen_mut();
        for (chosen, distance) in chosen.iter_mut().zip(&mut scratch.refined) {
            let list = chosen.index();
            // Under L2 the squared distance is the rank; else half of it less both squares is the negated inner product.
            if op == Op::Dot {
                let (norm, _) = self.record(list).map_or((0.0, 0.0), |r| tail(r, query.tables.padded_dim()));
                *distance = 0.5 * (*distance - square - norm);
            }
            *chosen = Chosen::new(*distance, list as u32);
        }
        let nprobe = nprobe.min(chosen.len());
        let chosen = match nprobe {
            few if few < chosen.len() && few > 0 => chosen.select_nth_unstable(few).0,
            _ => chosen,
        };
        chosen.sort_unstable();
        scratch.probes.clear();
        scratch.probes.extend(chosen.iter().map(|chosen| {
            let (list, rank) = (chosen.index() as u32, chosen.estimate());
            let distance = match op {
                Op::L2 => rank,
                Op::Dot => {
                    let (norm, _) =
                        self.record(list as usize).map_or((0.0, 0.0), |r| tail(r, query.tables.padded_dim()));
                    2.0 * rank + square + norm
                }
            };
            Probed { list, rank, reach: distance.max(0.0).sqrt() }
        }));
        trace.ended(Stage::Refine);
    }
}

/// `|c|^2` and the step of a record.
fn tail(record: &[u8], padded: usize) -> (f32, f32) {
    let number = |at: usize| {
        let bytes = record.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
    };
    (number(padded), number(padded + 4))
}
