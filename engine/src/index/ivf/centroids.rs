//! Centroids as bytes, and the choice of the lists a query looks at.

use super::doubt::Doubt;
use super::frame::Frame;
use super::search::{QueryState, Scratch};
use super::waves::{FIRST_WAVE, WAVE};
use super::{Stage, Trace};
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::{Coded, Coding};
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::{ScanTerms, SignList};
use crate::kernel::code::sign_block::append_blocks;
use crate::kernel::{Kernels, LANES, Op, RECORDS, RECORDS_AHEAD, Selection};

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
        CentroidBytes::after(kernels, frame, None, values, stride)
    }

    /// The same behind the centroids of a model with that frame, whose records stay as they are.
    pub(crate) fn after(
        kernels: &Kernels,
        frame: &Frame,
        first: Option<&CentroidSet<'_>>,
        values: &[f32],
        stride: usize,
    ) -> CentroidBytes {
        let mut inside = Vec::new();
        let mut all = Centroids::new(kernels, frame, stride);
        first.into_iter().for_each(|first| (0..first.count).for_each(|list| all.keep(first, list)));
        for centroid in values.chunks_exact(frame.dim()) {
            frame.enter(kernels, centroid, 1.0, &mut inside);
            all.push(&mut inside);
        }
        all.into_bytes()
    }

    /// Some centroids of a model with that frame, whose records stay as they are, and behind them others that are in the frame.
    pub(crate) fn after_some(
        kernels: &Kernels,
        frame: &Frame,
        (first, lists): (&CentroidSet<'_>, &[u32]),
        inside: &[f32],
        stride: usize,
    ) -> CentroidBytes {
        let mut all = Centroids::new(kernels, frame, stride);
        lists.iter().for_each(|list| all.keep(first, *list as usize));
        inside.chunks_exact(frame.padded()).for_each(|centroid| all.push(&mut centroid.to_vec()));
        all.into_bytes()
    }

    /// The centroids alone, for whoever does not scan.
    pub(crate) fn records(&self, stride: usize) -> CentroidSet<'_> {
        let count = self.centroids.len() / stride.max(1);
        CentroidSet { count, bytes: &self.centroids, stride, signs: &[], factors: &[] }
    }
}

/// Centroids that become bytes.
struct Centroids<'a> {
    kernels: &'a Kernels,
    frame: &'a Frame,
    stride: usize,
    zero: Vec<f32>,
    bytes: Vec<u8>,
    coded: Vec<Coded>,
}

impl<'a> Centroids<'a> {
    fn new(kernels: &'a Kernels, frame: &'a Frame, stride: usize) -> Self {
        Centroids { kernels, frame, stride, zero: vec![0.0; frame.padded()], bytes: Vec::new(), coded: Vec::new() }
    }

    /// Takes one of a model as it is.
    fn keep(&mut self, from: &CentroidSet<'_>, list: usize) {
        let Some(record) = from.record(list) else { return };
        self.bytes.extend_from_slice(record);
        let mut inside = Vec::new();
        from.centroid(list, self.frame.padded(), &mut inside);
        self.code(&inside);
    }

    /// Takes one in the frame, and leaves there what its bytes stand for.
    fn push(&mut self, inside: &mut [f32]) {
        append_centroid(inside, self.stride, &mut self.bytes);
        self.code(inside);
    }

    fn code(&mut self, inside: &[f32]) {
        let coding = Coding { bits: 1, op: self.frame.op(), scale: self.frame.scale() };
        let mut entry = Coded::default();
        self.kernels.encode(&coding, inside, &self.zero, 0.0, &mut entry);
        self.coded.push(entry);
    }

    fn into_bytes(self) -> CentroidBytes {
        let (mut codes, mut factors) = (Vec::new(), Vec::new());
        append_blocks(self.frame.padded(), &self.coded, &mut codes, &mut factors);
        codes.extend_from_slice(&factors);
        CentroidBytes { centroids: self.bytes, codes }
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

    /// The record of a centroid.
    pub(crate) fn record(&self, list: usize) -> Option<&[u8]> {
        self.bytes.get(list.checked_mul(self.stride)?..)?.get(..self.stride)
    }

    /// Leaves in `scratch.probes` the `nprobe` best lists for a query, those of the first wave first, or all `sorted`, best first.
    pub(super) fn rank<T: Trace>(
        &self,
        kernels: &Kernels,
        frame: &Frame,
        query: &QueryState,
        nprobe: usize,
        sorted: bool,
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
        scratch.offsets.extend(chosen.iter().map(|list| *list as usize * self.stride));
        trace.ended(Stage::Centroids);
        self.refine(kernels, op, &query.tables, 0, scratch);
        let nprobe = nprobe.min(scratch.offsets.len());
        // Once more after those without an estimate were set aside: what they hid may be doubtful too.
        let mut again = true;
        while again && scratch.offsets.len() < self.count {
            let first = scratch.offsets.len();
            let Some((doubtful, hid)) = self.doubtful(kernels, op, &query.tables, nprobe, wanted, scratch) else {
                break;
            };
            let Scratch { estimates, selection, offsets, .. } = scratch;
            self.append_between(kernels, estimates, doubtful, selection, offsets);
            self.refine(kernels, op, &query.tables, first, scratch);
            again = hid;
        }
        self.arrange(kernels, nprobe, sorted, scratch);
        scratch.probes.clear();
        for slot in &scratch.slots {
            let slot = *slot as usize;
            let (Some(rank), Some(offset)) = (scratch.refined.get(slot), scratch.offsets.get(slot)) else { continue };
            let distance = match op {
                Op::L2 => *rank,
                Op::Dot => 2.0 * rank + square + self.norm_at(*offset, query.tables.padded_dim()),
            };
            let list = offset.checked_div(self.stride).unwrap_or(0) as u32;
            scratch.probes.push(Probed { list, rank: *rank, reach: distance.max(0.0).sqrt() });
        }
        trace.ended(Stage::Refine);
    }

    /// Appends where the records of lists start whose estimates are in `(above, up_to]`.
    pub(super) fn append_between(
        &self,
        kernels: &Kernels,
        estimates: &[f32],
        (above, up_to): (f32, f32),
        selection: &mut Selection,
        offsets: &mut Vec<usize>,
    ) {
        let near = kernels.select_up_to(estimates, up_to, selection).iter().map(|list| *list as usize);
        let others = near.filter(|list| estimates.get(*list).is_some_and(|estimate| *estimate > above));
        offsets.extend(others.map(|list| list * self.stride));
    }

    /// Computes in `scratch.refined` the ranks of the lists in `scratch.offsets` from the `first` on.
    fn refine(&self, kernels: &Kernels, op: Op, query: &QueryTables, first: usize, scratch: &mut Scratch) {
        let Scratch { offsets, refined, .. } = scratch;
        let (count, offsets) = (offsets.len(), offsets.get(first..).unwrap_or_default());
        refined.truncate(first);
        refined.resize(count.next_multiple_of(LANES), f32::NAN);
        for offset in offsets.iter().take(RECORDS * RECORDS_AHEAD) {
            kernels.prefetch(self.bytes.get(*offset..offset + self.stride).unwrap_or_default());
        }
        let square = query.norm_squared();
        let coding = RowCoding { bits: 8, op: Op::L2 };
        let terms = ScanTerms { op: Op::L2, base: square, reach: square.sqrt(), scale: 1.0 };
        let refined = refined.get_mut(first..count).unwrap_or_default();
        kernels.estimate_row_codes(query, &coding, &terms, self.bytes, offsets, refined);
        if op == Op::Dot {
            // Under L2 the squared distance is the rank; else half of it less both squares is the negated inner product.
            for (offset, distance) in offsets.iter().zip(refined) {
                *distance = 0.5 * (*distance - square - self.norm_at(*offset, query.padded_dim()));
            }
        }
    }

    /// Between which estimates lists are that were not refined and may be among the `nprobe` best all the same; `None` if there are none. Of those that have
    /// an estimate at least as many as were `wanted` are looked at: true if that is why.
    fn doubtful(
        &self,
        kernels: &Kernels,
        op: Op,
        query: &QueryTables,
        nprobe: usize,
        wanted: usize,
        scratch: &mut Scratch,
    ) -> Option<((f32, f32), bool)> {
        let Scratch { estimates, offsets, refined, selection, .. } = scratch;
        let mut doubt = Doubt::default();
        for (offset, rank) in offsets.iter().zip(&*refined) {
            let distance = match op {
                Op::L2 => *rank,
                // What is missing from the largest product that there can be.
                Op::Dot => rank + query.norm_squared().sqrt() * self.norm_at(*offset, query.padded_dim()).sqrt(),
            };
            doubt.saw(*estimates.get(offset.checked_div(self.stride)?)?, *rank, distance);
        }
        if doubt.unknown() > 0 {
            set_aside(estimates);
            return Some((doubt.up_to(kernels.near(estimates, wanted, selection))?, true));
        }
        let last = kernels.front(refined, nprobe).unwrap_or_else(|| kernels.near(refined, nprobe, selection));
        doubt.range(last).map(|range| (range, false))
    }

    /// `|c|^2` of the centroid whose record starts at `offset`.
    fn norm_at(&self, offset: usize, padded: usize) -> f32 {
        self.bytes.get(offset..).map_or(0.0, |record| tail(record, padded).0)
    }

    /// Leaves in `scratch.slots` the places in `scratch.refined` of the `nprobe` smallest. What one wave looks at needs no order, and
    /// what comes after the second finds the bound where it will stay: unless everything is to be `sorted`, the lists of the first wave
    /// come first, then those of the second, then the others, by number.
    fn arrange(&self, kernels: &Kernels, nprobe: usize, sorted: bool, scratch: &mut Scratch) {
        let Scratch { refined, slots, .. } = scratch;
        slots.clear();
        if !sorted && nprobe < scratch.offsets.len() {
            let mut above = f32::NEG_INFINITY;
            let waves = [FIRST_WAVE, FIRST_WAVE + WAVE].into_iter().filter(|end| *end < nprobe);
            for end in waves.chain([nprobe]) {
                let Some(limit) = kernels.front(refined, end) else { break };
                append_between(refined, above, limit, slots);
                above = limit;
            }
        }
        if slots.len() != nprobe {
            slots.clear();
            slots.extend(0..scratch.offsets.len() as u32);
            let at = |slot: u32| refined.get(slot as usize).copied().unwrap_or(f32::NAN);
            slots.sort_unstable_by(|a, b| at(*a).total_cmp(&at(*b)).then(a.cmp(b)));
            slots.truncate(nprobe);
        }
    }
}

/// Takes out of estimates those that are none, when their centroids were looked at: they would come before all others again.
pub(super) fn set_aside(estimates: &mut [f32]) {
    estimates.iter_mut().filter(|estimate| **estimate == f32::NEG_INFINITY).for_each(|estimate| *estimate = f32::NAN);
}

/// Appends the places of values in `(above, up_to]`, in order: each is written, and the end moves on if it was meant.
fn append_between(values: &[f32], above: f32, up_to: f32, slots: &mut Vec<u32>) {
    let mut end = slots.len();
    slots.resize(end + values.len() + 1, 0);
    for (slot, value) in (0..).zip(values) {
        if let Some(place) = slots.get_mut(end) {
            *place = slot;
        }
        end += usize::from(*value > above && *value <= up_to);
    }
    slots.truncate(end);
}

/// `|c|^2` and the step of a record.
fn tail(record: &[u8], padded: usize) -> (f32, f32) {
    let number = |at: usize| {
        let bytes = record.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
    };
    (number(padded), number(padded + 4))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::frame::Frame;
    use super::super::search::{QueryState, Scratch};
    use super::*;
    use crate::kernel::{SplitMix64, kernels};
    use crate::metric::Metric;

    const DIM: usize = 16;
    const STRIDE: usize = 80;
    pub(crate) const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

    fn draw(count: usize, place: f32, spread: f32, seed: u64) -> Vec<f32> {
        let mut draw = SplitMix64::new(seed);
        let mut component = || (draw.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0;
        (0..count * DIM).map(|_| place + spread * component()).collect()
    }

    fn length(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    /// Where a kind of rows is: three standard deviations away, and beyond what estimates can tell at all.
    pub(crate) const PLACES: [f32; 2] = [6.0, 80.0];

    /// Lists around the mean of all rows that a model was trained on, and behind them lists of a kind that came later: all far from that mean, and
    /// near each other. And rows of that kind. Under the inner product all are of one length, which says nothing then.
    pub(crate) fn two_kinds(metric: Metric, place: f32) -> (Frame, CentroidBytes, Vec<Vec<f32>>) {
        let frame = Frame::new(metric, vec![0.0; DIM], 5, 1.0);
        let mut values = [draw(900, 0.0, 2.0, 1), draw(120, place, 1.0, 2)].concat();
        let mut rows = draw(200, place, 1.0, 3);
        if metric != Metric::L2 {
            values.chunks_exact_mut(DIM).chain(rows.chunks_exact_mut(DIM)).for_each(|vector| {
                let length = length(vector);
                vector.iter_mut().for_each(|x| *x /= length);
            });
        }
        let bytes = CentroidBytes::new(kernels(), &frame, &values, STRIDE);
        (frame, bytes, rows.chunks_exact(DIM).map(<[f32]>::to_vec).collect())
    }

    pub(crate) fn set_of<'a>(bytes: &'a CentroidBytes, frame: &Frame) -> CentroidSet<'a> {
        let count = bytes.centroids.len() / STRIDE;
        let signs = count.div_ceil(32) * 32 * frame.padded() / 8;
        let (signs, factors) = bytes.codes.split_at(signs);
        CentroidSet { count, bytes: &bytes.centroids, stride: STRIDE, signs, factors }
    }

    /// All lists, the nearest first, by their squared distances or else by the products.
    pub(crate) fn in_order(set: &CentroidSet<'_>, frame: &Frame, inside: &[f32], op: Op) -> Vec<u32> {
        let mut centroid = Vec::new();
        let mut all: Vec<(f32, u32)> = Vec::new();
        for list in 0..set.count {
            set.centroid(list, frame.padded(), &mut centroid);
            let pairs = inside.iter().zip(&centroid);
            let rank = match op {
                Op::L2 => pairs.map(|(q, c)| (q - c) * (q - c)).sum::<f32>(),
                Op::Dot => -pairs.map(|(q, c)| q * c).sum::<f32>(),
            };
            all.push((rank, list as u32));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().map(|(_, list)| list).collect()
    }

    /// Of the ten lists nearest to each of some queries, how many are not looked at; `scale` is that of the queries.
    fn missed(metric: Metric, place: f32, scale: f32) -> usize {
        let (frame, bytes, queries) = two_kinds(metric, place);
        let set = set_of(&bytes, &frame);
        let (mut scratch, mut state, mut missed) = (Scratch::default(), QueryState::default(), 0);
        for query in &queries {
            let query: Vec<f32> = query.iter().map(|x| x * scale).collect();
            frame.enter_query(kernels(), &query, length(&query), &mut state.rotated);
            kernels().prepare_query(&state.rotated, &mut state.tables);
            set.rank(kernels(), &frame, &state, 10, false, &mut scratch, &mut ());
            let nearest = in_order(&set, &frame, &state.rotated, frame.op());
            let mut probed: Vec<u32> = scratch.probes.iter().map(|probed| probed.list).collect();
            probed.sort_unstable();
            probed.dedup();
            assert_eq!(probed.len(), 10);
            missed += nearest[..10].iter().filter(|list| !probed.contains(list)).count();
        }
        missed
    }

    #[test]
    fn a_query_far_from_the_mean_looks_at_the_nearest_lists_of_its_kind() {
        for metric in METRICS {
            for place in PLACES.into_iter().take(if metric == Metric::L2 { 2 } else { 1 }) {
                let missed = missed(metric, place, 1.0);
                assert!(missed <= 40, "{metric:?} {place}: {missed} of 2000 lists");
            }
        }
    }

    #[test]
    fn how_long_a_query_is_changes_no_inner_product() {
        for scale in [0.01, 0.1, 10.0, 100.0] {
            let missed = missed(Metric::InnerProduct, 6.0, scale);
            assert!(missed <= 40, "{scale}: {missed} of 2000 lists");
        }
    }

    /// A kind without estimates hides no list of the others, and does not make more of them be looked at.
    #[test]
    fn queries_near_the_mean_look_at_lists_that_have_estimates() {
        let (frame, with, _) = two_kinds(Metric::L2, PLACES[1]);
        let without = CentroidBytes::new(kernels(), &frame, &draw(900, 0.0, 2.0, 1), STRIDE);
        let [(missed, measured), (usual, usually)] = [with, without].map(|bytes| {
            let set = set_of(&bytes, &frame);
            let (mut scratch, mut state, mut missed, mut measured) = (Scratch::default(), QueryState::default(), 0, 0);
            for query in draw(100, 0.0, 2.0, 9).chunks_exact(DIM) {
                frame.enter_query(kernels(), query, length(query), &mut state.rotated);
                kernels().prepare_query(&state.rotated, &mut state.tables);
                set.rank(kernels(), &frame, &state, 10, false, &mut scratch, &mut ());
                let nearest = in_order(&set, &frame, &state.rotated, frame.op());
                let looked = |list: &&u32| scratch.probes.iter().any(|probed| probed.list == **list);
                missed += 10 - nearest[..10].iter().filter(looked).count();
                measured += scratch.offsets.iter().filter(|offset| **offset < 900 * STRIDE).count();
            }
            (missed, measured)
        });
        assert!(missed <= usual + 10 && usual < 60, "{missed} and {usual} of 1000 lists");
        assert!(measured < usually + usually / 4, "{measured} and {usually} lists measured");
    }
}
