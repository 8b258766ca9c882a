//! A query as the code kernels want it: one table for the sign bits, two planes of small integers for the rest.
//!
//! **Table.** Components `4m .. 4m + 4` form group `m`; the nibble of a code in that group (bit 3 is component `4m`) selects one
//! of 16 sums of query components. Sums are stored as bytes: each group's smallest sum is taken off and collected in one bias,
//! and the unit is chosen so that the bytes of groups `8i + t` and `8i + 4 + t` together never pass 255. Kernels may therefore
//! add two bytes before they widen.
//!
//! **Planes.** `q_i` is about `plane_unit * (128 high_i + low_i)`, with both in a signed byte. The high plane alone has an error
//! of half a percent, which is enough for up to five bits per component.

use super::super::lanes::{LANES, Lanes, sum1};
use super::SIGMA;

/// Largest magnitude of a plane value: 125 * 128.
const LIMIT: f32 = 16_000.0;

/// Sixty-four bytes at an address divisible by 64: one line of the table.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in crate::kernel) struct Line(pub [u8; 64]);

/// Tables of one rotated query.
#[derive(Clone, Default)]
pub struct QueryTables {
    padded: usize,
    /// Sixteen bytes per group of four components, in order.
    pub(in crate::kernel) lines: Vec<Line>,
    /// What one unit of a table byte is worth.
    pub(in crate::kernel) unit: f32,
    /// `<q, g>` of the sign code is `unit * sum of bytes + bias`.
    pub(in crate::kernel) bias: f32,
    pub(in crate::kernel) high: Vec<i8>,
    pub(in crate::kernel) low: Vec<i8>,
    pub(in crate::kernel) plane_unit: f32,
    pub(in crate::kernel) high_sum: i32,
    pub(in crate::kernel) low_sum: i32,
    norm_squared: f32,
    /// Standard error of a scan's estimates in units of `fr |q - c|`.
    pub(in crate::kernel) ratio: f32,
}

impl QueryTables {
    /// Empty tables; fill them with [`Kernels::prepare_query`](crate::kernel::Kernels::prepare_query).
    pub fn new() -> Self {
        QueryTables::default()
    }

    /// Becomes the tables of any 16 numbers per group, whose smallest and largest are given: each group's smallest is taken off, and the
    /// unit is chosen as for signs.
    #[inline(always)]
    pub(super) fn set_entries<L: Lanes>(&mut self, lanes: L, groups: &[[f32; LANES]], ends: &[(f32, f32)]) {
        let range = |at: usize| ends.get(at).map_or(0.0, |(least, most)| most - least);
        // Groups of a pair of lines: 8 i + t and 8 i + 4 + t.
        let both = |at: usize| range(at) + range(at + 4);
        let widest = (0..groups.len()).filter(|at| at % 8 < 4).map(both).fold(0.0, f32::max);
        self.unit = normal(widest / 254.0);
        let inverse = lanes.splat(if self.unit > 0.0 { 1.0 / self.unit } else { 0.0 });
        self.padded = (groups.len() * 4).next_multiple_of(64);
        (self.ratio, self.bias) = (0.0, 0.0);
        self.lines.clear();
        self.lines.resize(self.padded / 16, Line([0; 64]));
        let places = self.lines.iter_mut().flat_map(|line| line.0.as_chunks_mut::<16>().0);
        for ((place, group), (least, _)) in places.zip(groups).zip(ends) {
            let above = lanes.mul(lanes.sub(lanes.load(group), lanes.splat(*least)), inverse);
            *place = lanes.low_bytes(lanes.nearest(above));
            self.bias += least;
        }
    }

    /// The same with another standard error.
    pub(super) fn with_ratio(&self, ratio: f32) -> QueryTables {
        QueryTables { ratio, ..self.clone() }
    }

    /// Components of the query these tables were made from.
    pub fn padded_dim(&self) -> usize {
        self.padded
    }

    /// `|q|^2` of the rotated query.
    pub fn norm_squared(&self) -> f32 {
        self.norm_squared
    }

    /// Bytes of the table, 16 per group: for tests and golden files.
    pub fn table_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.0).collect()
    }

    /// The inner product with a sign code whose table bytes add to `sum`.
    #[inline(always)]
    pub fn sign_product(&self, sum: u32) -> f32 {
        self.unit * sum as f32 + self.bias
    }

    /// Standard error of a sum of table bytes, in units of the product.
    pub fn table_error(&self) -> f32 {
        let groups = self.padded as f32 / 4.0;
        self.unit * (groups / 12.0).sqrt()
    }

    /// Unit and bias of [`sign_product`](QueryTables::sign_product).
    pub fn sign_terms(&self) -> (f32, f32) {
        (self.unit, self.bias)
    }

    /// The two planes, their unit and the sums of their components.
    pub fn planes(&self) -> (&[i8], &[i8], f32, i32, i32) {
        (&self.high, &self.low, self.plane_unit, self.high_sum, self.low_sum)
    }
}

/// Fills `tables` from `query`, whose length is a multiple of 64.
#[inline(always)]
pub(in crate::kernel) fn prepare<L: Lanes>(lanes: L, query: &[f32], tables: &mut QueryTables) {
    tables.padded = query.len();
    tables.lines.resize(query.len() / 16, Line([0; 64]));
    tables.high.resize(query.len(), 0);
    tables.low.resize(query.len(), 0);
    tables.ratio = SIGMA[1];
    tables.norm_squared = sum1(lanes, query, |q| lanes.mul(q, q));
    tables.unit = normal(table_unit(query));
    let zero = lanes.splat(0.0);
    tables.bias = sum1(lanes, query, |q| lanes.min(q, zero)) - 0.5 * sum1(lanes, query, |q| q);
    let inverse = if tables.unit > 0.0 { 1.0 / tables.unit } else { 0.0 };
    // Not by `map`: where that is not inlined, the masks go through memory.
    let [a, b, c, d] = &SELECTED;
    let selected = [
        lanes.not_negative(lanes.load(a)),
        lanes.not_negative(lanes.load(b)),
        lanes.not_negative(lanes.load(c)),
        lanes.not_negative(lanes.load(d)),
    ];
    for (line, sixteen) in tables.lines.iter_mut().zip(query.as_chunks::<16>().0) {
        for (entries, four) in line.0.as_chunks_mut::<16>().0.iter_mut().zip(sixteen.as_chunks::<4>().0) {
            *entries = table(lanes, four, inverse, selected);
        }
    }
    fill_planes(lanes, query, tables);
}

/// `x`, or 0 where its inverse would not be finite: such a query is as good as zero.
#[inline(always)]
fn normal(x: f32) -> f32 {
    if x >= f32::MIN_POSITIVE { x } else { 0.0 }
}

/// The largest range of two groups that are added as bytes, in 254ths: one part is left for rounding.
#[inline(always)]
fn table_unit(query: &[f32]) -> f32 {
    let range = |group: &[f32; 4]| (group[0].abs() + group[1].abs()) + (group[2].abs() + group[3].abs());
    let mut widest = [0.0_f32; 4];
    for pair in query.as_chunks::<32>().0 {
        let groups = pair.as_chunks::<4>().0;
        for t in 0..4 {
            let both = range(&groups[t]) + range(&groups[t + 4]);
            widest[t] = if both > widest[t] { both } else { widest[t] };
        }
    }
    widest.into_iter().fold(0.0, f32::max) / 254.0
}

/// For each component of a group: 0 at the codes that select it, -1 at the others.
const SELECTED: [[f32; LANES]; 4] = {
    let mut bits = [[-1.0; LANES]; 4];
    let mut at = 0;
    while at < 4 * LANES {
        if ((at % LANES) >> (3 - at / LANES)) & 1 == 1 {
            bits[at / LANES][at % LANES] = 0.0;
        }
        at += 1;
    }
    bits
};

/// The sixteen sums of one group, from its smallest up, in units.
#[inline(always)]
fn table<L: Lanes>(lanes: L, group: &[f32; 4], inverse: f32, selected: [L::Mask; 4]) -> [u8; LANES] {
    let y = group.map(|q| q * inverse);
    let negative = y.map(|y| if y < 0.0 { y } else { 0.0 });
    let zero = lanes.splat(0.0);
    let mut sums = lanes.splat(-((negative[0] + negative[1]) + (negative[2] + negative[3])));
    for (y, mask) in y.into_iter().zip(selected) {
        sums = lanes.add(sums, lanes.select(mask, lanes.splat(y), zero));
    }
    lanes.low_bytes(lanes.nearest(lanes.max(sums, zero)))
}

#[inline(always)]
fn fill_planes<L: Lanes>(lanes: L, query: &[f32], tables: &mut QueryTables) {
    let mut largest = lanes.splat(0.0);
    for chunk in query.as_chunks::<LANES>().0 {
        largest = lanes.max(lanes.abs(lanes.load(chunk)), largest);
    }
    let mut sizes = [0.0; LANES];
    lanes.store(largest, &mut sizes);
    tables.plane_unit = normal(sizes.into_iter().fold(0.0, f32::max) / LIMIT);
    let inverse = lanes.splat(if tables.plane_unit > 0.0 { 1.0 / tables.plane_unit } else { 0.0 });
    let (limit, half, step) = (lanes.splat(LIMIT), lanes.splat(64.0), lanes.splat(128.0));
    let (mut high_sum, mut low_sum) = (lanes.splat(0.0), lanes.splat(0.0));
    let planes = tables.high.as_chunks_mut::<LANES>().0.iter_mut().zip(tables.low.as_chunks_mut::<LANES>().0);
    for (q, (high, low)) in query.as_chunks::<LANES>().0.iter().zip(planes) {
        let scaled = lanes.mul(lanes.load(q), inverse);
        let value = lanes.nearest(lanes.max(lanes.min(scaled, limit), lanes.negate(limit)));
        let upper = lanes.floor(lanes.mul(lanes.add(value, half), lanes.splat(1.0 / 128.0)));
        let lower = lanes.sub(value, lanes.mul(upper, step));
        *high = lanes.low_bytes(upper).map(u8::cast_signed);
        *low = lanes.low_bytes(lower).map(u8::cast_signed);
        high_sum = lanes.add(high_sum, upper);
        low_sum = lanes.add(low_sum, lower);
    }
    // Integers below 2^24 in every lane and fold: exact.
    tables.high_sum = lanes.fold(high_sum) as i32;
    tables.low_sum = lanes.fold(low_sum) as i32;
}
