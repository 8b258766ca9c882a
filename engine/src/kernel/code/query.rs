//! A query as the code kernels want it: one table for the sign bits, two planes of small integers for the rest.
//!
//! **Table.** Components `4m .. 4m + 4` form group `m`; the nibble of a code in that group (bit 3 is component `4m`) selects one
//! of 16 sums of query components. Sums are stored as bytes: each group's smallest sum is taken off and collected in one bias,
//! and the unit is chosen so that the bytes of groups `8i + t` and `8i + 4 + t` together never pass 255. Kernels may therefore
//! add two bytes before they widen.
//!
//! **Planes.** `q_i` is about `plane_unit * (128 high_i + low_i)`, with both in a signed byte. The high plane alone has an error
//! of half a percent, which is enough for up to five bits per component.

use super::super::lanes::{LANES, sum1};

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
}

impl QueryTables {
    /// Empty tables; fill them with [`Kernels::prepare_query`](crate::kernel::Kernels::prepare_query).
    pub fn new() -> Self {
        QueryTables::default()
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
pub(in crate::kernel) fn prepare(query: &[f32], tables: &mut QueryTables) {
    tables.padded = query.len();
    tables.lines.resize(query.len() / 16, Line([0; 64]));
    tables.high.resize(query.len(), 0);
    tables.low.resize(query.len(), 0);
    tables.norm_squared = sum1(query, |q| q * q);
    tables.unit = table_unit(query);
    tables.bias = sum1(query, |q| q.min(0.0)) - 0.5 * sum1(query, |q| q);
    let inverse = if tables.unit > 0.0 { 1.0 / tables.unit } else { 0.0 };
    for (line, sixteen) in tables.lines.iter_mut().zip(query.as_chunks::<16>().0) {
        for (entries, four) in line.0.as_chunks_mut::<16>().0.iter_mut().zip(sixteen.as_chunks::<4>().0) {
            *entries = table(four, inverse);
        }
    }
    fill_planes(query, tables);
}

/// The largest range of two groups that are added as bytes, in 254ths: one part is left for rounding.
#[inline(always)]
fn table_unit(query: &[f32]) -> f32 {
    let range = |group: &[f32]| (group[0].abs() + group[1].abs()) + (group[2].abs() + group[3].abs());
    let mut widest = 0.0_f32;
    for pair in query.as_chunks::<32>().0 {
        for at in [0, 4, 8, 12] {
            widest = widest.max(range(&pair[at..at + 4]) + range(&pair[at + 16..at + 20]));
        }
    }
    widest / 254.0
}

/// The sixteen sums of one group, from its smallest up, in units.
#[inline(always)]
fn table(group: &[f32; 4], inverse: f32) -> [u8; 16] {
    let y = group.map(|q| q * inverse);
    let negative = y.map(|y| y.min(0.0));
    let base = -((negative[0] + negative[1]) + (negative[2] + negative[3]));
    std::array::from_fn(|code| {
        let mut sum = base;
        for (bit, y) in [8, 4, 2, 1].into_iter().zip(y) {
            sum += if code & bit != 0 { y } else { 0.0 };
        }
        nearest(sum.max(0.0)) as u8
    })
}

/// To the nearest integer, halves to even; right for magnitudes below 2^22. Two additions, on every machine.
#[inline(always)]
fn nearest(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[inline(always)]
fn fill_planes(query: &[f32], tables: &mut QueryTables) {
    let mut largest = [0.0_f32; LANES];
    for chunk in query.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            largest[lane] = largest[lane].max(chunk[lane].abs());
        }
    }
    let largest = largest.into_iter().fold(0.0, f32::max);
    tables.plane_unit = largest / 16_000.0;
    let inverse = if tables.plane_unit > 0.0 { 1.0 / tables.plane_unit } else { 0.0 };
    let (mut high_sum, mut low_sum) = (0, 0);
    for ((q, high), low) in query.iter().zip(&mut tables.high).zip(&mut tables.low) {
        let value = nearest((q * inverse).clamp(-16_000.0, 16_000.0));
        let upper = (value + 64) >> 7;
        *high = upper as i8;
        *low = (value - 128 * upper) as i8;
        high_sum += upper;
        low_sum += value - 128 * upper;
    }
    tables.high_sum = high_sum;
    tables.low_sum = low_sum;
}
