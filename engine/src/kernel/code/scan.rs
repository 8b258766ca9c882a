//! The scan over sign blocks: a lower bound for every entry of a list, and the entries whose bound is below a threshold.

use super::super::distance::Op;
use super::super::lanes::{LANES, Lanes};
use super::SIGMA;
use super::query::QueryTables;
use super::residual::gain;
use super::sign_block::{BLOCK, ENTRY, FACTOR_BYTES, block_bytes};

/// Sign codes and first-stage factors of one list.
#[derive(Clone, Copy)]
pub struct SignList<'a> {
    /// Blocks of `4 P` bytes.
    pub codes: &'a [u8],
    /// [`FACTOR_BYTES`] per block.
    pub factors: &'a [u8],
    /// Entries in use; the rest of the last block is padding.
    pub count: usize,
}

impl SignList<'_> {
    /// # Panics
    /// If the slices are too short for `count` entries of `padded` components.
    pub(in crate::kernel) fn check(&self, padded: usize) {
        let blocks = self.count.div_ceil(BLOCK);
        let whole =
            self.codes.len() / block_bytes(padded).max(1) >= blocks && self.factors.len() / FACTOR_BYTES >= blocks;
        assert!(whole, "fewer blocks than entries need");
    }
}

/// A list among those that one call scans.
#[derive(Clone, Copy)]
pub struct ScanTurn<'a> {
    /// What is scanned.
    pub list: SignList<'a>,
    /// What its estimates are made of.
    pub terms: ScanTerms,
    /// What is asked for meanwhile: a list to be scanned later.
    pub ahead: &'a [u8],
}

/// Most lists of one call.
pub const MAX_TURNS: usize = 64;
/// Bits of a place that are the position in the list; the number of the turn stands above them.
pub const PLACE_BITS: u32 = 26;

/// Turn and position of a place.
#[inline(always)]
pub fn place_parts(place: u32) -> (usize, usize) {
    ((place >> PLACE_BITS) as usize, (place & ((1 << PLACE_BITS) - 1)) as usize)
}

/// What is common to the estimates of one list.
#[derive(Clone, Copy, Debug)]
pub struct ScanTerms {
    /// Which sum the distance is made of.
    pub op: Op,
    /// Added to every estimate: `|q - c|^2` for L2, `-<q, c> - <q, mean>` for the inner product.
    pub base: f32,
    /// `|q - c|`: errors are proportional to it.
    pub reach: f32,
    /// Unit of the stored first-stage `F`.
    pub scale: f32,
}

impl ScanTerms {
    /// Standard error of the estimate of an entry with factor `rescale` and `bits` per component: the error of the code, and the
    /// rounding of the query's table, which the further bits of a code multiply.
    pub fn sigma(&self, query: &QueryTables, bits: usize, rescale: f32) -> f32 {
        let code = SIGMA[bits] * self.reach;
        let table = (1 << (bits - 1)) as f32 * query.table_error();
        gain(self.op) * rescale * (code * code + table * table).sqrt()
    }
}

impl ScanTerms {
    /// With the [rounding of the query's table](QueryTables::table_error) in `reach`, so that a scan takes off both errors.
    pub fn with_rounding(self, table_error: f32) -> ScanTerms {
        let table = table_error / SIGMA[1];
        ScanTerms { reach: (self.reach * self.reach + table * table).sqrt(), ..self }
    }

    /// The standard error that a scan takes for that of an entry with factor `rescale`.
    pub fn sign_error(&self, rescale: f32) -> f32 {
        gain(self.op) * rescale * (SIGMA[1] * self.reach)
    }
}

/// The four numbers the loop needs: `bound = (F * scale + base) - fr * (sum * slope + shift)`.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Line {
    pub scale: f32,
    pub base: f32,
    pub slope: f32,
    pub shift: f32,
}

impl Line {
    /// With `z` standard errors taken off.
    pub(in crate::kernel) fn new(query: &QueryTables, terms: &ScanTerms, z: f32) -> Self {
        let (unit, bias) = query.sign_terms();
        let k = gain(terms.op);
        Line {
            scale: terms.scale,
            base: terms.base,
            slope: k * unit,
            shift: k * bias + k * z * (query.ratio * terms.reach),
        }
    }

    /// Of estimates from bytes worth `unit`, with nothing taken off.
    pub(in crate::kernel) fn of(unit: f32, bias: f32, terms: &ScanTerms) -> Self {
        let k = gain(terms.op);
        Line { scale: terms.scale, base: terms.base, slope: k * unit, shift: k * bias }
    }

    /// The bound of one entry.
    #[inline(always)]
    pub(in crate::kernel) fn bound(&self, add: f32, rescale: f32, sum: u32) -> f32 {
        (add * self.scale + self.base) - rescale * (sum as f32 * self.slope + self.shift)
    }
}

/// Entries that passed: three columns of equal length, and room that is kept between lists and queries.
#[derive(Default)]
pub struct Survivors {
    len: usize,
    pub(in crate::kernel) positions: Vec<u32>,
    pub(in crate::kernel) bounds: Vec<f32>,
    pub(in crate::kernel) sums: Vec<u32>,
}

/// Kernels write whole vectors: up to this many places behind the last survivor.
pub(in crate::kernel) const SLACK: usize = 16;

impl Survivors {
    /// None yet.
    pub fn new() -> Self {
        Survivors::default()
    }

    /// Forgets all, keeps the room.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Position of each in its list; in a scan of several lists its place, see [`place_parts`].
    pub fn positions(&self) -> &[u32] {
        &self.positions[..self.len]
    }

    /// Lower bound of each distance.
    pub fn bounds(&self) -> &[f32] {
        &self.bounds[..self.len]
    }

    /// Sum of table bytes of each: what the second stage needs of the first.
    pub fn sums(&self) -> &[u32] {
        &self.sums[..self.len]
    }

    /// Makes room for `count` more, and the slack.
    pub(in crate::kernel) fn reserve(&mut self, count: usize) {
        let wanted = self.len + count + SLACK;
        if self.positions.len() < wanted {
            self.positions.resize(wanted, 0);
            self.bounds.resize(wanted, 0.0);
            self.sums.resize(wanted, 0);
        }
    }

    /// Says that the kernel wrote up to `len`.
    pub(in crate::kernel) fn set_len(&mut self, len: usize) {
        assert!(len + SLACK <= self.positions.len(), "a kernel wrote past the room it had");
        self.len = len;
    }
}

/// The survivors with bounds in `(above, up_to]`, in order; all that are no larger than `up_to` if `above` is minus infinity,
/// none if it is not a number. `out` has room for all of `survivors`; returns how many it got.
#[inline(always)]
pub(in crate::kernel) fn sift<L: Lanes>(
    lanes: L,
    survivors: &Survivors,
    above: f32,
    up_to: f32,
    out: &mut Survivors,
) -> usize {
    let (bounds, rest) = survivors.bounds().as_chunks::<LANES>();
    let (low, high) = (lanes.splat(above), lanes.splat(up_to));
    let skipped = if above == f32::NEG_INFINITY { 0 } else { u16::MAX };
    let mut len = 0;
    let mut keep = |i: usize| {
        (out.positions[len], out.bounds[len], out.sums[len]) =
            (survivors.positions[i], survivors.bounds[i], survivors.sums[i]);
        len += 1;
    };
    for (i, sixteen) in bounds.iter().enumerate() {
        let x = lanes.load(sixteen);
        let mut passed = lanes.bits(lanes.at_most(x, high)) & !(lanes.bits(lanes.at_most(x, low)) & skipped);
        while passed != 0 {
            keep(i * LANES + passed.trailing_zeros() as usize);
            passed &= passed - 1;
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        if *x <= up_to && (skipped == 0 || *x > above) {
            keep(bounds.len() * LANES + lane);
        }
    }
    len
}

/// The sums of table bytes of the 32 entries of a block: the oracle of the vector versions.
pub(in crate::kernel) fn block_sums(query: &QueryTables, block: &[u8]) -> [u32; BLOCK] {
    let mut sums = [0; BLOCK];
    let tables = query.lines.iter().flat_map(|line| line.0.as_chunks::<16>().0);
    for (codes, table) in block.as_chunks::<16>().0.iter().zip(tables) {
        for (code, entry) in codes.iter().zip(ENTRY) {
            sums[entry] += u32::from(table[usize::from(code & 15)]);
            sums[entry + 16] += u32::from(table[usize::from(code >> 4)]);
        }
    }
    sums
}
